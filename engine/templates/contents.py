"""The code of what a template's value is made of: lists, objects, `$spread`, `$concat`, `$use`, `$value`.

Contract: an item or an entry that gives nothing is left out. A named template sees the payload and `$index`
of the place that uses it, but no `$let`; one that is unknown, or uses itself, is a finding.
Must not know the directives that choose, repeat or name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import takewhile

from engine.codegen import Atom
from engine.errors import suggestion
from engine.expressions import Scope, Variable
from engine.source import Node
from engine.templates.base import BaseTemplateWriter, Sink
from engine.templates.directives import is_certain, is_output, literal_key


def write_list(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """A list, of the items that give something."""
    result = template.writer.let("[]", "array")
    for element in node.elements():
        template.emit(element, template.into(f"{result.source}.append(", ")"))
    sink(template.writer.item(result))


def write_content(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """The content of a mapping: one directive, or keys and `$spread`."""
    if "$use" in node.value:
        _use(template, node["$use"], sink)
    elif "$concat" in node.value:
        _concat(template, node["$concat"], sink)
    elif "$value" in node.value:
        template.emit(node["$value"], sink)
    else:
        _object(template, node, sink)


# --- Objects ---------------------------------------------------------------------------------------------


def _object(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    entries = [(key, child) for key, child in node.items() if key == "$spread" or is_output(key)]
    first = list(takewhile(lambda entry: is_output(entry[0]) and is_certain(entry[1].value), entries))
    result = _display(template, first)
    for key, child in entries[len(first) :]:
        if key == "$spread":
            _spread(template, child, result)
        else:
            template.writer.weight += len(key) + 4
            template.emit(child, template.into(f"{result.source}[{literal_key(key)!r}] = "))
    sink(template.writer.item(result))


def _spread(template: BaseTemplateWriter, node: Node, result: Atom) -> None:
    """Put what is spread into an object: at once where it is one, or a list that stands here."""

    def put(function: str, atom: Atom) -> None:
        template.writer.use(atom)
        template.writer.place(atom)
        is_object = atom.kind == "object"
        source = f"{result.source}.update(" if is_object else f"{function}({result.source}, "
        template.writer.line(f"{source}{atom.source})")

    if isinstance(node.value, list):
        for child in node.elements():
            template.emit(child, partial(put, "spread_one"))
    else:
        template.emit(node, partial(put, "spread"))


def _display(template: BaseTemplateWriter, entries: list[tuple[str, Node]]) -> Atom:
    """A new object with the entries, each of which gives a value."""
    atoms: dict[str, Atom] = {}
    for key, child in entries:
        template.emit(child, partial(atoms.__setitem__, literal_key(key)))
    for key, atom in atoms.items():
        template.writer.use(atom)
        template.writer.place(atom)
        template.writer.weight += len(key) + 4
    pairs = ", ".join(f"{key!r}: {atom.source}" for key, atom in atoms.items())
    return template.writer.let(f"{{{pairs}}}", "object")


# --- Directives that are content -------------------------------------------------------------------------


def _concat(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    result = template.writer.let("[]", "array")
    if isinstance(node.value, list):
        for child in node.elements():
            template.emit(child, template.into(f"concat_one({result.source}, ", ")"))
    else:
        template.emit(node, template.into(f"concat({result.source}, ", ")"))
    sink(template.writer.item(result))


def _use(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """The named template's code, in place."""
    name, known = node.value, template.templates.named
    found = known.get(name) if isinstance(name, str) else None
    if found is None:
        hint = suggestion(str(name), known)
        template.findings.error("unknown-template", f"unknown template '{name}'", node.span, hint)
    elif name in template.open_templates:
        cycle = " → ".join([*template.open_templates, name])
        template.findings.error("template-cycle", f"a template uses itself: {cycle}", node.span)
    else:
        template.templates.used.add(name)
        template.open_templates.append(name)
        scope = template.scope
        with template.within(Scope(scope.payload, _variables_of_templates(template), scope.told)):
            template.emit(found, sink)
        template.open_templates.pop()


def _variables_of_templates(template: BaseTemplateWriter) -> Mapping[str, Variable]:
    index = template.scope.variables.get("index")
    return {**template.language, "index": index} if index else template.language
