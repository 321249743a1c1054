"""The code of the content of templates: lists, objects, `$spread`, `$concat`, `$use`, `$value`.

Contract: an item or entry without a value is omitted. A named template sees the payload and `$index` at
the point of use, but no `$let`; an unknown template, or one that uses itself, is a finding.
Must not know the directives that choose, repeat or name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Final

from engine.diagnostics import suggestion
from engine.language.codegen import Atom
from engine.language.expressions import Variable
from engine.language.templates.base import BaseTemplateWriter, ItemSink, Sink
from engine.language.templates.directives import is_certain, is_output, literal_key
from engine.language.uses import Constructed
from engine.locations import Node


def write_list(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """Write a list of the items that have a value."""
    with collecting(template, sink) as item:
        for element in node.elements():
            template.emit(element, item)


@contextmanager
def collecting(template: BaseTemplateWriter, sink: Sink) -> Iterator[Sink]:
    """A sink for each item of a list; `sink` receives the list at the end, an `ItemSink` each item."""
    if isinstance(sink, ItemSink):
        yield sink.items
        return
    made = Constructed()
    result = template.writer.let("[]", "array", made)
    yield template.into(made.add_item, f"{result.source}.append(", ")")
    sink(template.writer.item(result))


def write_content(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """Write the content of a mapping: one directive, or keys and `$spread`."""
    key = next((key for key in _WRITERS if key in node.value), None)
    if key is None:
        _object(template, node, sink)
    else:
        _WRITERS[key](template, node[key], sink)


# --- Objects ---------------------------------------------------------------------------------------------


def _object(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    entries = [(key, child) for key, child in node.items() if key == "$spread" or is_output(key)]
    first = list(takewhile(lambda entry: is_output(entry[0]) and is_certain(entry[1].value), entries))
    made = Constructed()
    result = _display(template, first, made)
    for key, child in entries[len(first) :]:
        if key == "$spread":
            _spread(template, child, result, made)
        else:
            template.writer.weight += len(key) + 4
            name = literal_key(key)
            holder = partial(made.add_field, name)
            template.emit(child, template.into(holder, f"{result.source}[{name!r}] = "))
    sink(template.writer.item(result))


def _spread(template: BaseTemplateWriter, node: Node, result: Atom, made: Constructed) -> None:
    """Write the code that spreads a value into an object; it checks the type only if that is not known."""

    def put(function: str, atom: Atom) -> None:
        made.add_spread(atom.origin)
        template.writer.embed(atom)
        is_object = atom.kind == "object"
        source = f"{result.source}.update(" if is_object else f"{function}({result.source}, "
        template.writer.line(f"{source}{atom.source})")

    if isinstance(node.value, list):
        for child in node.elements():
            template.emit(child, partial(put, "spread_one"))
    else:
        template.emit(node, partial(put, "spread"))


def _display(template: BaseTemplateWriter, entries: list[tuple[str, Node]], made: Constructed) -> Atom:
    """Write a new object with entries that all have a value."""
    atoms: dict[str, Atom] = {}
    for key, child in entries:
        template.emit(child, partial(atoms.__setitem__, literal_key(key)))
    for key, atom in atoms.items():
        made.add_field(key, atom.origin)
        template.writer.embed(atom)
        template.writer.weight += len(key) + 4
    pairs = ", ".join(f"{key!r}: {atom.source}" for key, atom in atoms.items())
    return template.writer.let(f"{{{pairs}}}", "object", made)


# --- Directives that are content -------------------------------------------------------------------------


def _concat(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    if isinstance(node.value, list) and isinstance(sink, ItemSink):
        # The sink takes the items of a list one by one, so the entries need no list of their own.
        for child in node.elements():
            template.emit(child, sink)
        return
    made = Constructed()
    result = template.writer.let("[]", "array", made)

    def put_one(atom: Atom) -> None:
        made.add_item(atom.origin)
        made.add_spread(atom.origin)
        template.writer.embed(atom)
        template.writer.line(f"concat_one({result.source}, {atom.source})")

    def put_all(atom: Atom) -> None:
        made.add_spread(None if atom.origin is None else atom.origin.flat())
        template.writer.embed(atom)
        template.writer.line(f"concat({result.source}, {atom.source})")

    if isinstance(node.value, list):
        for child in node.elements():
            template.emit(child, put_one)
    else:
        template.emit(node, put_all)
    sink(template.writer.item(result))


def _value(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    template.emit(node, sink)


def _use(template: BaseTemplateWriter, node: Node, sink: Sink) -> None:
    """Write the code of the named template in place."""
    name, known = node.value, template.templates.named
    found = known.get(name) if isinstance(name, str) else None
    if found is None:
        hint = suggestion(str(name), known)
        if name in template.templates.streams:
            message, hint = f"'{name}' is a stream, not a template", "name it in a pipeline"
            template.findings.error("misused-pipeline", message, node.span, hint)
            return
        template.findings.error("unknown-template", f"unknown template '{name}'", node.span, hint)
    elif name in template.open_templates:
        cycle = " → ".join([*template.open_templates, name])
        template.findings.error("template-cycle", f"a template uses itself: {cycle}", node.span)
    else:
        template.templates.used.add(name)
        template.open_templates.append(name)
        scope = template.scope
        with template.within(replace(scope, variables=_variables_of_templates(template), notes_nulls=False)):
            template.emit(found, sink)
        template.open_templates.pop()


def _variables_of_templates(template: BaseTemplateWriter) -> Mapping[str, Variable]:
    index = template.scope.variables.get("index")
    return {**template.language, "index": index} if index else template.language


#: The code of each directive that is the content of its mapping, given the directive's value.
_WRITERS: Final[Mapping[str, Callable[[BaseTemplateWriter, Node, Sink], None]]] = {
    "$use": _use,
    "$concat": _concat,
    "$value": _value,
}
