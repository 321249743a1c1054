"""The code of the directives that choose, repeat and name: `$each`, `$let`, `$with`, `$if`, `$switch`.

Contract: they apply as if nested in that order, the content innermost. The code of a branch runs only if the
branch is taken, and counts it if coverage is measured.
Must not know what content is made of.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.language.codegen import Atom
from engine.language.expressions import Variable, truth
from engine.language.templates.base import BaseTemplateWriter, Sink
from engine.language.templates.contents import collecting, write_content
from engine.language.templates.directives import check_directives, misused
from engine.language.templates.mistakes import report_mistakes
from engine.language.templates.strings import is_static
from engine.language.uses import ITEM
from engine.locations import Node


def write_mapping(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """Write a mapping: directives around content."""
    check_directives(node, template.language, template.findings)
    report_mistakes(node, template.findings)
    if "$each" in node.value:
        _each(template, node, sink)
    else:
        _one(template, node, sink)


# --- Repeating -------------------------------------------------------------------------------------------


def _each(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    with template.writer.recording() as read:
        source = template.bind(node["$each"])
    if source.kind == "any":
        template.note_null(source, read)
        with template.writer.block(f"if {source.source} is not None"):
            _collect(template, node, source, sink)
    elif source.kind in ("array", "object"):
        _collect(template, node, source, sink)
    elif source.kind != "null":
        message = f"'$each' takes a list or an object, not a {source.kind}"
        text = node["$each"].value
        hint = f"write '${{ {text} }}'" if isinstance(text, str) and is_static(text) else None
        misused(node["$each"], message, template.findings, hint)


def _collect(template: BaseTemplateWriter, node: Node, source: Atom, sink: Sink) -> None:
    """Write a list of the mapping's values for each item."""
    with collecting(template, sink) as item:
        write_loop(template, node["$each"], source, lambda: _one(template, node, item))


def write_loop(template: BaseTemplateWriter, node: Node, source: Atom, act: Callable[[], None]) -> None:
    """Write a loop over the items of `source`, the value of `node`; `act` writes its body, with the item as
    payload."""
    writer, items = template.writer, source.source
    if source.kind != "array":
        with writer.at(node.span):
            items = writer.let(f"{items} if type({items}) is list else each({items})").source
    index, item = writer.fresh("i"), Atom(writer.fresh("v"), origin=source.inside(ITEM), loop=source.loop)
    writer.use_presence(item)
    is_bounded = writer.is_bounded(source)
    scope = template.scope.with_variables({"index": Atom(index, "number")})
    with writer.at(node.span), writer.counted_loop(index, item.source, items):
        payload = writer.item(item) if is_bounded else item
        with template.within(scope.with_payload(payload)):
            act()


# --- Naming ----------------------------------------------------------------------------------------------


def _one(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """Write a mapping without its `$each`: `$let`, then `$with`, then the choice, then the content."""
    with template.within(template.scope.with_variables(_let(template, node.get("$let")))):
        if "$with" in node.value:
            template.emit(node["$with"], lambda payload: _with(template, node, payload, sink))
        else:
            _choice(template, node, sink)


def _let(template: BaseTemplateWriter, bindings: Node | None) -> dict[str, Variable]:
    """The variables of `$let`; each can use the previous ones."""
    variables: dict[str, Variable] = {}
    for name, value in bindings.items() if bindings and isinstance(bindings.value, dict) else ():
        with template.within(template.scope.with_variables(variables)):
            variables[name] = template.writer.bound(template.bind(value))
    return variables


def _with(template: BaseTemplateWriter, node: Node, payload: Atom, sink: Sink) -> None:
    template.writer.use_presence(payload)
    with template.within(template.scope.with_payload(payload)):
        _choice(template, node, sink)


# --- Choosing --------------------------------------------------------------------------------------------


def _choice(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    if "$if" in node.value:
        _if(template, node, sink)
    elif "$switch" in node.value:
        _switch(template, node, sink)
    else:
        write_content(template, node, sink)


def _if(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    with template.writer.recording() as read:
        condition = template.bind(node["$if"])
    template.writer.use_truth(condition)
    if "$else" not in node.value:
        template.note_null(condition, read)
    with template.writer.choice() as end_branch:
        with template.writer.block(f"if {truth(condition)}"):
            template.hit(node["$if"], "then")
            if "$then" in node.value:
                template.emit(node["$then"], sink)
            else:
                write_content(template, node, sink)
        end_branch()
        _otherwise(template, node["$if"], "else", node.get("$else"), "else", sink)
        end_branch()


def _switch(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    value = template.bind(node["$switch"])
    template.writer.use(value)
    key = template.writer.let(f"text({value.source})", "string")
    cases, word = node.get("$cases"), "if"
    with template.writer.choice() as end_branch:
        for name, case in cases.items() if cases and isinstance(cases.value, dict) else ():
            with template.writer.block(f"{word} {key.source} == {name!r}"):
                template.hit(case, f"case {name}")
                template.emit(case, sink)
            word = "elif"
            end_branch()
        default = node.get("$default")
        header = "else" if word == "elif" else "if True"
        _otherwise(template, default or node["$switch"], "default", default, header, sink)
        end_branch()


def _otherwise(
    template: BaseTemplateWriter, counted: Node, label: str, node: Node | None, header: str, sink: Sink
) -> None:
    """Write the branch taken if no other is; without a node it is written only to count it."""
    if node is None and template.templates.coverage is None:
        return
    with template.writer.block(header):
        template.hit(counted, label)
        if node is not None:
            template.emit(node, sink)
