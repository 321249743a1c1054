"""The code of strings: literal text, one expression, or both joined to longer text.

Contract: a string that is one expression has the value of that expression, and no value for null; in longer
text a value becomes text. An invalid expression is a finding at the first invalid character.
Must not know directives.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.language.codegen import NULL, Atom
from engine.language.expressions import (
    Emitter,
    ExpressionSyntaxError,
    Tree,
    charge_text,
    parse,
    report_mistakes,
)
from engine.language.templates.base import BaseTemplateWriter, Sink
from engine.language.templates.strings import Part, split
from engine.language.uses import Derived
from engine.locations import Node


def write_string(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """Write a string: literal text, one expression, or both."""
    try:
        parts = split(node.value)
    except ExpressionSyntaxError as error:
        template.findings.error("bad-expression", error.message, node.span_at(error.offset, 2), error.hint)
        return
    if len(parts) == 1 and parts[0].is_expression:
        _expression(template, node, parts[0], sink)
    elif any(part.is_expression for part in parts):
        sink(joined_text(template, node, parts))
    else:
        sink(template.writer.constant("".join(part.text for part in parts)))


def joined_text(template: BaseTemplateWriter, node: Node, parts: Iterable[Part]) -> Atom:
    """Write literal text and expressions as one string."""
    atoms = [_piece(template, node, part) for part in parts]
    pieces = ", ".join(map(_text_of, atoms))
    origin = Derived(tuple(atom.origin for atom in atoms if atom.origin is not None))
    joined = template.writer.item(template.writer.let(f"''.join(({pieces},))", "string", origin))
    charge_text(template.writer, joined.source, atoms)
    return joined


def bind_expression(template: BaseTemplateWriter, node: Node) -> Atom:
    """Write a string that is one expression, without omitting null."""
    part = split(node.value)[0]
    tree = _parse(template, node, part)
    return NULL if tree is None else _value(template, node, part, tree)


def _expression(template: BaseTemplateWriter, node: Node, part: Part, sink: Sink) -> None:
    tree = _parse(template, node, part)
    if tree is None:
        return
    if _is_nullable(tree):
        sink(_value(template, node, part, tree["children"][0]))
        return
    with template.writer.recording() as read:
        atom = _value(template, node, part, tree)
    if atom.kind == "any":
        template.note_null(atom, read)
        with template.writer.block(f"if {atom.source} is not None"):
            sink(atom)
    elif atom.kind != "null":
        sink(atom)


def _is_nullable(tree: Tree) -> bool:
    is_call = tree["type"] == "function_expression"
    return is_call and tree["value"] == "nullable" and len(tree["children"]) == 1


def _piece(template: BaseTemplateWriter, node: Node, part: Part) -> Atom:
    """Write one part of longer text."""
    if not part.is_expression:
        return template.writer.constant(part.text)
    tree = _parse(template, node, part)
    if tree is None:
        return NULL
    atom = _value(template, node, part, tree)
    if atom.kind != "string" and not template.writer.is_bounded(atom):
        template.writer.line(f"if type({atom.source}) in CONTAINERS: check_value(x, {atom.source})")
    return atom


def _text_of(atom: Atom) -> str:
    """Python source that converts a part of longer text to a string."""
    if atom.kind == "string":
        return atom.source
    return f"{atom.source} if type({atom.source}) is str else text({atom.source})"


def _parse(template: BaseTemplateWriter, node: Node, part: Part) -> Tree | None:
    try:
        return parse(part.text)
    except ExpressionSyntaxError as error:
        span = node.span_at(part.offset + error.offset)
        template.findings.error("bad-expression", error.message, span, error.hint)
        return None


def _value(template: BaseTemplateWriter, node: Node, part: Part, tree: Tree) -> Atom:
    emitter = Emitter(template.scope, template.writer, template.findings, node, part.offset)
    report_mistakes(emitter, tree, part.text)
    return emitter.emit(tree)
