"""The code of the content of templates: lists, objects, `$spread`, `$concat`, `$use`, `$value`.

Contract: an item or entry without a value is omitted. A named template sees the payload and `$index` at
the point of use, but no `$let`; an unknown template, or one that never ends, is a finding.
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
from engine.language.codegen import NULL, Atom, Fields
from engine.language.expressions import Variable
from engine.language.templates.base import BaseTemplateWriter, ItemSink, RecursiveFunction, Sink
from engine.language.templates.directives import is_certain, is_optional, is_output, literal_key
from engine.language.templates.support import MAX_RECURSION
from engine.language.uses import Constructed, either
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
    """Write an object; one that is spread is written into the other one."""
    entries = [(key, child) for key, child in node.items() if key == "$spread" or is_output(key)]
    written = sink.target if isinstance(sink, _SpreadSink) else None
    if written is None:
        first = list(takewhile(lambda entry: _is_always_written(*entry), entries))
        written, entries = _ObjectWriter(template, first), entries[len(first) :]
    for key, child in entries:
        if key == "$spread":
            written.spread(child)
        else:
            written.entry(literal_key(key), child, is_optional(key))
    if not isinstance(sink, _SpreadSink):
        sink(template.writer.item(written.result))


def _is_always_written(key: str, child: Node) -> bool:
    return is_output(key) and not is_optional(key) and is_certain(child.value)


class _ObjectWriter:
    """Writes the code that builds one object, and notes which values its fields have.

    Args:
        first: the first entries, which all have a value.
    """

    def __init__(self, template: BaseTemplateWriter, first: list[tuple[str, Node]]) -> None:
        self.template = template
        self.writer = template.writer
        self.depth = template.writer.depth
        self.made = Constructed()
        self.fields = Fields()
        self.result = Atom(self.writer.fresh(), "object", self.made, fields=self.fields)
        atoms: dict[str, Atom] = {}
        for key, child in first:
            template.emit(child, partial(atoms.__setitem__, literal_key(key)))
        for key, atom in atoms.items():
            self.fields.put(key, _readable(atom))
        with self.writer.building(self.result.source):
            for key, atom in atoms.items():
                self._hold(key, atom, is_always=True)
            pairs = ", ".join(f"{key!r}: {atom.source}" for key, atom in atoms.items())
            self.writer.line(f"{self.result.source} = {{{pairs}}}")

    def entry(self, key: str, node: Node, is_optional: bool) -> None:
        """Write an entry; it is left out if it has no value, and an optional one if its value is empty."""
        if is_optional:
            self._optional_entry(key, node)
            return
        depth = self.writer.depth
        # An expression is always evaluated, and what is certain is always written. Anything else has a name,
        # which is null until a branch assigns the value.
        name = "" if isinstance(node.value, str) or is_certain(node.value) else self.writer.fresh()
        given: list[Atom] = []
        if name:
            self._assign(name, "None")

        def put(atom: Atom) -> None:
            given.append(atom)
            is_tested = self.writer.depth > depth
            if name:
                self._assign(name, atom.source)
            with self.writer.building(self.result.source):
                self._hold(key, atom, is_always=not is_tested and depth == self.depth and atom.kind != "any")
                self.writer.line(f"{self.result.source}[{key!r}] = {atom.source}")

        self.template.emit(node, put)
        if given:
            self.fields.put(key, self._value(name, given) if depth == self.depth else None)

    def _optional_entry(self, key: str, node: Node) -> None:
        """Write an entry that is left out if its value is empty. Its name is null where it is left out."""
        depth, name = self.writer.depth, self.writer.fresh()
        given: list[Atom] = []
        always: list[Atom] = []
        self._assign(name, "None")

        def put(atom: Atom) -> None:
            source = _non_empty(atom)
            if source is None:
                return
            given.append(atom)
            always.extend([atom] if self.writer.depth == depth else [])
            self._assign(name, source)
            with self.writer.building(self.result.source), self.writer.block(f"if {name} is not None"):
                self._hold(key, replace(atom, source=name), is_always=False)
                self.writer.line(f"{self.result.source}[{key!r}] = {name}")

        self.template.emit(node, put)
        value = self._value(name, given) if depth == self.depth else None
        if value is not None and given == always and len(given) == 1:
            # An object that is left out has no fields either.
            value = replace(value, fields=given[0].fields)
        self.fields.put(key, value)

    def _assign(self, name: str, source: str) -> None:
        """Assign to a name, unless nothing uses it."""
        with self.writer.building(name):
            self.writer.line(f"{name} = {source}")

    def _value(self, name: str, given: list[Atom]) -> Atom | None:
        """The value of a field, null or one of those given; None if it must be read from the object."""
        if not name:
            return _readable(given[0]) if len(given) == 1 else None
        if any(atom.release for atom in given):
            return None
        return self.writer.item(Atom(name, origin=either(*(atom.origin for atom in given))), *given)

    def spread(self, node: Node) -> None:
        """Write the code that puts the fields of one object, or of each of a list, into the object."""
        if isinstance(node.value, list):
            for child in node.elements():
                self.template.emit(child, _SpreadSink(self, "spread_one"))
        else:
            self.template.emit(node, _SpreadSink(self, "spread"))

    def _hold(self, key: str, atom: Atom, is_always: bool) -> None:
        """Note that the object has a value, and charge for it. If `is_always`, it replaces an earlier one."""
        if is_always:
            self.made.replace((key,))
        self.made.add_field(key, atom.origin)
        self.writer.embed(atom)
        self.writer.weight += len(key) + 4


class _SpreadSink:
    """Puts the fields of a value into the object `target`."""

    def __init__(self, target: _ObjectWriter, function: str) -> None:
        self.target = target
        self.function = function

    def __call__(self, atom: Atom) -> None:
        target, name = self.target, self.target.result.source
        target.writer.use_presence(atom)  # its type is checked even if nothing is read of the object
        if target.writer.depth == target.depth:
            target.made.replace(atom.always)
        target.made.add_spread(atom.origin)
        target.fields.put_unknown()
        target.writer.embed(atom)
        # The type is checked only if it is not known.
        source = f"{name}.update(" if atom.kind == "object" else f"{self.function}({name}, "
        target.writer.line(f"{source}{atom.source})")


def _non_empty(atom: Atom) -> str | None:
    """Python source of a value, or of None where it is null or empty; None if it always is. A number and
    false are not empty, and equal to 0 where they are false in Python."""
    if atom.kind in ("number", "boolean"):
        return atom.source
    if atom.is_constant:
        return atom.source if atom.constant else None
    if atom.kind == "any":
        return f"{atom.source} if {atom.source} or {atom.source} == 0 else None"
    return f"{atom.source} or None"


def _readable(atom: Atom) -> Atom | None:
    """The atom of a value that remains the same; None if it does not."""
    if atom.is_constant:
        return Atom(atom.source, atom.kind)
    return atom if not atom.release and atom.source.isidentifier() else None


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
        template.writer.use_presence(atom)  # its type is checked even if nothing is read of the list
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
    """Write the code of the named template in place, or a call of its function if it uses itself."""
    name, known = node.value, template.templates.named
    found = known.get(name) if isinstance(name, str) else None
    if found is None:
        _report_unknown(template, node)
        return
    template.templates.used.add(name)
    if name in template.functions:
        _check_end(template, node)
        _call(template, node, template.functions[name], sink)
    elif template.templates.graph.is_recursive(name):
        _call(template, node, _define(template, name, found), sink)
    else:
        # Elsewhere the template may have a payload, even if there is none here.
        payload, variables = replace(template.scope.payload, absent=""), _variables_of_templates(template)
        scope = replace(template.scope, payload=payload, variables=variables, notes_nulls=False)
        with template.within(scope):
            template.emit(found, sink)


def _report_unknown(template: BaseTemplateWriter, node: Node) -> None:
    name = str(node.value)
    if name in template.templates.streams:
        message = f"'{name}' is a stream, not a template"
        template.findings.error("misused-pipeline", message, node.span, "name it in a pipeline")
        return
    hint = suggestion(name, template.templates.named)
    template.findings.error("unknown-template", f"unknown template '{name}'", node.span, hint)


def _variables_of_templates(template: BaseTemplateWriter) -> Mapping[str, Variable]:
    index = template.scope.variables.get("index")
    return {**template.language, "index": index} if index else template.language


# --- Templates that use themselves -----------------------------------------------------------------------


def _define(template: BaseTemplateWriter, name: str, node: Node) -> RecursiveFunction:
    """Write the function of a template that uses itself. Nothing is known at load of what it is given."""
    writer, scope = template.writer, template.scope
    index = writer.fresh("i") if "index" in scope.variables else ""
    function = RecursiveFunction(writer.fresh("r"), writer.fresh("v"), writer.fresh("d"), index)
    variables = {**template.language, **({"index": Atom(index, "number")} if index else {})}
    inner = replace(scope, payload=Atom(function.payload), variables=variables, notes_nulls=False)
    if inner.steady_loops is not None:
        # All calls share the value of each call site, like the items of a loop.
        inner = replace(inner, steady_loops=-1)

    def give(atom: Atom) -> None:
        writer.use(atom)
        writer.embed(atom)
        writer.line(f"return {atom.source}")

    with writer.recursive_function(function.name, function.parameters), template.within(inner):
        template.functions[name] = function
        template.emit(node, give)
        writer.line("return ABSENT")
        del template.functions[name]
    return function


def _call(template: BaseTemplateWriter, node: Node, function: RecursiveFunction, sink: Sink) -> None:
    """Write a call of the function of a recursive template, which reads all of its payload."""
    writer, payload = template.writer, template.scope.payload
    index = template.scope.variables.get("index")
    outer = next(reversed(template.functions.values()), None)
    arguments = [payload.source, "1" if outer is None else f"{outer.depth} + 1"]
    if function.index and isinstance(index, Atom):
        arguments.append(index.source)
        writer.refer(index)
    writer.refer(payload)
    writer.use(payload)
    with writer.at(node.span):
        if outer is not None:
            writer.line(f"if {outer.depth} >= {MAX_RECURSION}: raise_depth_error({node.value!r})")
        result = writer.let(f"{function.name}({', '.join(arguments)})")
    with writer.block(f"if {result.source} is not ABSENT"):
        # The function has charged for all of its result, as for the constant that this is an item with.
        sink(writer.item(result, NULL))


def _check_end(template: BaseTemplateWriter, node: Node) -> None:
    """Report the `$use` by which a template uses itself whatever it is given."""
    graph, outer = template.templates.graph, list(template.functions)
    if graph.is_endless(node.value) and graph.is_certain_use(outer[-1], node):
        cycle = " → ".join([*outer[outer.index(node.value) :], node.value])
        message = f"a template uses itself without end: {cycle}"
        hint = "use it under $if, $with or $each, so that it ends where there is nothing more"
        template.findings.error("template-cycle", message, node.span, hint)


#: The code of each directive that is the content of its mapping, given the directive's value.
_WRITERS: Final[Mapping[str, Callable[[BaseTemplateWriter, Node, Sink], None]]] = {
    "$use": _use,
    "$concat": _concat,
    "$value": _value,
}
