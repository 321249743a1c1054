"""Generated Python: a writer of functions in which every line has a location in the YAML.

Contract: values enter generated source as names bound in its namespace or as `repr` of a scalar, never as
text. The traceback of an error gives its location, so that a successful run has no cost. What a function
reads is recorded while its lines are written; generated text is only searched for objects that it never uses.
Must not know JMESPath, the language or HTTP.
"""

from __future__ import annotations

import linecache
import math
import re
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final

from engine.language.budget import json_size
from engine.language.uses import (
    NOTHING,
    Constructed,
    Origin,
    Paths,
    Uses,
    VariableOrigin,
    VariablePath,
    minimal,
)
from engine.locations import Span
from engine.values import TYPE_NAMES

_SPANS: Final = "__spans__"
_INDENT: Final = " "

#: The size, as JSON, of values of which only the type is known.
_SMALL: Final = {"number": 8, "boolean": 5, "null": 4}
_MOST_WEIGHT: Final = 1 << 30
#: The number of the loop over the events of a stream, which is not in generated code.
_EVENTS: Final = -1

#: The names of values in generated code.
_OBJECT: Final = re.compile(r"\bt\d+\b")

#: Maximum lines of one function; templates that use each other could otherwise grow without bound.
MAX_LINES: Final = 20_000


@dataclass(slots=True)
class Fields:
    """What is known at load of the fields of an object that the code creates.

    Attributes:
        known: the values of fields, which the object does not have where they are null; None if a field may
            have another value.
        is_complete: it has no other fields.
    """

    known: dict[str, Atom | None] = field(default_factory=dict)
    is_complete: bool = True

    def put(self, name: str, atom: Atom | None) -> None:
        """Set a field. Where the object may have it already, a null leaves the earlier value."""
        is_first = self.is_complete and name not in self.known
        self.known[name] = atom if atom is not None and (is_first or atom.kind != "any") else None

    def put_unknown(self) -> None:
        """Set fields of which nothing is known."""
        self.known.clear()
        self.is_complete = False

    def value(self, name: str) -> Atom | None:
        """The value of a field, which may be null; None if it must be read from the object.

        What is known of its type is not used: it could make code invalid that never runs.
        """
        if self.is_complete and name not in self.known:
            return Atom("None")
        atom = self.known.get(name)
        return None if atom is None else replace(atom, kind="any")


@dataclass(frozen=True, slots=True)
class CommonFields:
    """What is known at load of all fields of an object: the JSON types of their values, and their names."""

    types: frozenset[str]
    in_lower_case: bool = False


class TooLarge(Exception):
    """The code of one template exceeds what Python or `MAX_LINES` allows."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A value in generated code: a Python name or literal, and what is known of it at load.

    Attributes:
        source: the name or literal.
        kind: its JSON type if that is certain, else "any".
        origin: the variables whose values it contains; None if none of them remains to be recorded as read.
        is_constant: whether `constant` is its value.
        elements: the items of a list of constants; None for anything else.
        loop: the number of the loop that bounds its size: it is a part of that loop's item, or was created in
            that loop from such parts and from values that have been charged for. Over all items such values
            are together not much larger than the loop's list. 0 outside of loops, and if nothing is known.
        release: a line to write before each use of it, because it may be changed in place until then.
        keeps_parts: whether its parts are never changed, so that they need no such line.
        fields: its fields, if it is an object that the code creates: reading one of them needs no object.
        types: the JSON types that it may have, for findings; empty if `kind` is all that is known.
        usual: the JSON types that it has if the first of its alternatives has a value, for findings.
        common: what all of its fields have in common, for findings.
        absent: why it is always null, for findings; empty if it may have a value.
    """

    source: str
    kind: str = "any"
    origin: Origin | None = None
    is_constant: bool = False
    constant: Any = None
    elements: tuple[Any, ...] | None = None
    loop: int = 0
    release: str = ""
    keeps_parts: bool = False
    fields: Fields | None = None
    types: frozenset[str] = frozenset()
    usual: frozenset[str] = frozenset()
    common: CommonFields | None = None
    absent: str = ""

    def inside(self, step: str | int) -> Origin | None:
        """The origin of a field, or of an item or a pair (`ITEM`)."""
        return None if self.origin is None else self.origin.child(step)

    @property
    def always(self) -> Iterable[str]:
        """The names of the fields that it always has, if it is an object."""
        if self.is_constant:
            return self.constant if isinstance(self.constant, dict) else ()
        return self.origin.always if isinstance(self.origin, Constructed) else ()

    @property
    def item(self) -> Origin | None:
        """The origin of an item, where the value is a list."""
        return None if self.origin is None else self.origin.item()

    @property
    def variable(self) -> VariablePath | None:
        """The path of the variable, if the value is one; else None."""
        return self.origin.path if isinstance(self.origin, VariableOrigin) else None


NULL: Final = Atom("None", "null", is_constant=True)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A generated function `(payload, context) → value`, its source, and what it reads.

    `size_factor`: without what its exchange was charged for, the result is at most this many times as large
    as everything that the exchange has read.
    """

    function: Callable[[Any, Any], Any]
    source: str
    uses: Uses = NOTHING
    size_factor: int = 1


class Writer:
    """Collects the lines of one function."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = dict(names)
        self.is_pure = True
        self.shared: set[str] = set()
        self.loops = 0
        self.weight = 0
        self.embedded = 0
        self.is_loose = False
        self.weights: dict[str, int] = {}
        self._loop = 0
        self._loop_numbers = 0
        self._lines: list[str] = []
        self._spans: list[Span | None] = []
        self._builds: list[str] = []
        self._built = ""
        self._known: list[dict[str, Atom]] = [{}]
        self._parts: list[dict[str, int]] = [{}]
        self._depth = 1
        self._fresh = 0
        self._span: Span | None = None
        self._reads = Paths()
        self._references = Paths()
        self._named: set[str] = set()

    @property
    def depth(self) -> int:
        """The number of blocks around the next line."""
        return self._depth

    def line(self, text: str) -> None:
        if len(self._lines) >= MAX_LINES:
            raise TooLarge
        self._lines.append(_INDENT * self._depth + text)
        self._spans.append(self._span)
        self._builds.append(self._built)

    @contextmanager
    def building(self, name: str) -> Iterator[None]:
        """Write lines that only build the object `name`; they are omitted if nothing else uses it."""
        outer, self._built = self._built, name
        yield
        self._built = outer

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Write lines under `header`, which is given without its colon."""
        self.line(header + ":")
        self._depth += 1
        self._known.append({})
        self._parts.append({})
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._known.pop()
        self._parts.pop()
        self._depth -= 1

    @contextmanager
    def loop(self, header: str, size: str) -> Iterator[None]:
        """Write a block that runs `size` times, and charge for it in advance; it counts towards the limit of
        nested blocks in Python."""
        charge = len(self._lines)
        self.line("")
        self.line("")
        self.loops += 1
        outer = self._begin_items()
        with self.block(header):
            yield
        weight = self._end_items(outer)
        self.loops -= 1
        self._charge(charge, _INDENT * self._depth, size, weight)

    def _charge(self, position: int, indent: str, size: str, weight: int) -> None:
        """Fill the two lines at a position, which charge for code that runs `size` times."""
        produced, test = (f"; x.bytes -= {weight} * {size}", " or x.bytes < 0") if weight else ("", "")
        self._lines[position] = f"{indent}x.steps -= {size}{produced}"
        self._lines[position + 1] = f"{indent}if x.steps < 0{test}: raise_limit_error(x)"

    def _begin_items(self) -> tuple[int, int]:
        """Begin code that runs once for each of many items."""
        outer = self._loop, self.weight
        self._loop_numbers += 1
        self._loop, self.weight = self._loop_numbers, 0
        return outer

    def _end_items(self, outer: tuple[int, int]) -> int:
        """End that code; return the bytes that it creates for each item, as far as they are known at load."""
        weight = self.weight
        self._loop, self.weight = outer
        return weight

    @contextmanager
    def counted_loop(self, index: str, item: str, items: str) -> Iterator[None]:
        """Write a loop over `items`, a Python expression; it has `index` only if the body refers to it."""
        header = len(self._lines) + 2
        with self.loop(f"for {index}, {item} in enumerate({items})", f"len({items})"):
            yield
        if index not in self._named:
            indent = self._lines[header][: -len(self._lines[header].lstrip())]
            self._lines[header] = f"{indent}for {item} in {items}:"

    @contextmanager
    def function(self, name: str, parameters: str) -> Iterator[None]:
        """Write a nested function; it has its own count of loops and its own known values.
        `weights` then has the bytes that one call of it creates."""
        outer, self.loops = self.loops, 0
        known, self._known = self._known, []
        items = self._begin_items()
        with self.block(f"def {name}({parameters})"):
            yield
        self.weights[name] = self._end_items(items)
        self.loops, self._known = outer, known

    @contextmanager
    def recursive_function(self, name: str, parameters: str) -> Iterator[None]:
        """As `function`, for one that may call itself: each call costs a step, and the bytes it creates."""
        with self.function(name, parameters):
            charge = len(self._lines)
            self.line("")
            self.line("")
            yield
        self._charge(charge, _INDENT * (self._depth + 1), "1", self.weights[name])

    @contextmanager
    def choice(self) -> Iterator[Callable[[], None]]:
        """Write branches of which at most one runs; only the bytes of the largest count. The caller calls the
        yielded function after each of them."""
        before = heaviest = self.weight

        def end_branch() -> None:
            nonlocal heaviest
            heaviest, self.weight = max(heaviest, self.weight), before

        yield end_branch
        self.weight = heaviest

    def item(self, atom: Atom, *parts: Atom) -> Atom:
        """The item of the current loop, or a value created in it from these parts or from embedded values.

        In the loop over events embedding is free, so all of these must be parts of the event.
        """
        is_charged = bool(parts) or self._loop != _EVENTS or not self.is_loose
        is_bounded = is_charged and all(map(self.is_bounded, parts))
        return replace(atom, loop=self._loop if is_bounded else 0)

    def embed(self, atom: Atom) -> None:
        """Charge for a value that is put into a container.

        In a loop it costs bytes, unless it is a part of that loop's item; a size that is known at load is
        included in the charge for the loop.
        """
        if atom.is_constant:
            self.weight += json_size(atom.constant, _MOST_WEIGHT)
        elif atom.kind in _SMALL:
            self.weight += _SMALL[atom.kind]
        elif self._loop in (0, _EVENTS):
            self.embedded += 1
            self.is_loose = self.is_loose or not self.is_bounded(atom)
        elif not self.is_bounded(atom):
            # The most common value is a short text of the request.
            with self.block(f"if type({atom.source}) is str"):
                self.line(f"x.bytes -= len({atom.source})")
                self.line("if x.bytes < 0: raise_limit_error(x)")
            self.line(f"elif type({atom.source}) in CONTAINERS: take_value(x, {atom.source})")

    def is_bounded(self, atom: Atom) -> bool:
        """Whether a value can be embedded once for each item of the loop around it, if any, at no cost: over
        all items it is not larger than that loop's list, or its size is known by its type."""
        is_small = atom.is_constant or atom.kind in _SMALL or atom.kind == "expression"
        return not self._loop or is_small or atom.loop == self._loop

    def repeat(self) -> None:
        """Declare that the function runs once for each event of a stream, whose data is the only item.

        What it creates is charged for when it is written. `is_loose` is whether a value that is not a part of
        the event was embedded since it was last set to False.
        """
        self._loop = _EVENTS

    @contextmanager
    def inlined(self) -> Iterator[None]:
        """Write in place what could be a function of its own that is called for each event."""
        outer = self._loop, self.weight, self.is_loose, self._known
        self._loop, self._known = _EVENTS, [{}]
        yield
        self._loop, self.weight, self.is_loose, self._known = outer

    @contextmanager
    def at(self, span: Span) -> Iterator[None]:
        """Assign lines written inside to `span`."""
        outer, self._span = self._span, span
        yield
        self._span = outer

    def fresh(self, prefix: str = "t") -> str:
        """A new name in this function."""
        self._fresh += 1
        return f"{prefix}{self._fresh}"

    def let(self, source: str, kind: str = "any", origin: Origin | None = None) -> Atom:
        """Bind a Python expression to a new name."""
        name = self.fresh()
        self.line(f"{name} = {source}")
        return Atom(name, kind, origin)

    def bound(self, atom: Atom) -> Atom:
        """An atom with the current value: an expression that may have another value later gets a name."""
        if atom.is_constant or atom.source.isidentifier():
            return atom
        return replace(atom, source=self.let(atom.source).source)

    def once(self, path: str, source: str, origin: Origin | None) -> Atom:
        """As `let`, for a path into values, which always has the same value: written once in its block."""
        for known in self._known:
            if path in known:
                return known[path]
        self._known[-1][path] = atom = self.let(source, origin=origin)
        return atom

    def count_read(self, name: str) -> int:
        """Count a read of a part of a value; returns the number of them in this block and those around it."""
        self._parts[-1][name] = self._parts[-1].get(name, 0) + 1
        return sum(parts.get(name, 0) for parts in self._parts)

    def recall(self, key: str) -> Atom | None:
        """The atom that `remember` stored under a key in this block or one around it, or None."""
        return next((known[key] for known in self._known if key in known), None)

    def remember(self, key: str, atom: Atom) -> None:
        """Store a value that never changes in this block; its name is not assigned again."""
        self._known[-1][key] = atom
        self.shared.add(atom.source)

    def forget(self, variable: VariablePath) -> None:
        """Discard paths into a variable that may have changed: they are read again."""
        for known in self._known:
            for source, atom in list(known.items()):
                if (atom.variable or ())[: len(variable)] == variable:
                    del known[source]

    def constant(self, value: Any) -> Atom:
        """The atom of a value known at load; containers are shared, because no code changes them."""
        kind = TYPE_NAMES[type(value)]
        if isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value)):
            return Atom(self.bind(value), kind, is_constant=True, constant=value)
        return Atom(repr(value), kind, is_constant=True, constant=value)

    def bind(self, value: Any, prefix: str = "k") -> str:
        """Bind any Python object to a new name in the function's namespace; return the name."""
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    # What the function reads

    @contextmanager
    def recording(self) -> Iterator[Paths]:
        """Collect the paths that code written inside reads."""
        outer, self._reads = self._reads, Paths()
        yield (inner := self._reads)
        outer.update(inner)
        self._reads = outer

    def refer(self, atom: Atom) -> None:
        """Record that the code evaluates a value."""
        self._named.add(atom.source)
        if atom.origin is not None:
            self._references.add_read(atom.origin)

    def use(self, atom: Atom) -> None:
        """Record that a value is used completely."""
        if atom.origin is not None:
            self._reads.add_read(atom.origin)

    def use_truth(self, atom: Atom) -> None:
        """Record that only the truth of a value is used; nothing inside it is read."""
        if atom.origin is not None:
            self._reads.add_test(atom.origin)

    def use_presence(self, atom: Atom) -> None:
        """Record that only the presence of a value is used; values created by the code are always present."""
        if not isinstance(atom.origin, Constructed):
            self.use_truth(atom)

    def check(self, atom: Atom) -> None:
        """Record that a value's truth decides whether the exchange continues; that alone does not read it."""
        if atom.origin is not None:
            self._references.add_test(atom.origin)

    def finish(self, label: str) -> Compiled:
        """Compile the function.

        Raises:
            TooLarge: Python cannot compile so much nesting.
        """
        lines, spans = self._needed_lines()
        source = "def template(p, x):\n" + "".join(line + "\n" for line in lines)
        filename = f"<dragoman {label}>"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                code = compile(source, filename, "exec")
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise TooLarge from error
        namespace = {**self.names, _SPANS: [None, *spans]}
        exec(code, namespace)
        _remember_lines(filename, source, namespace["template"])
        return Compiled(namespace["template"], source, self._uses(), self.embedded + 1)

    def _needed_lines(self) -> tuple[list[str], list[Span | None]]:
        """The lines with their locations, without those that build objects that nothing uses."""
        used = self._used_objects()
        needed: list[tuple[str, Span | None]] = []  # from the last line to the first
        lines = zip(self._lines, self._spans, self._builds, strict=True)
        for line, span, name in reversed(list(lines)):
            if name and name not in used:
                continue
            if line.endswith(":") and not _is_followed(needed, line, _INDENT):
                if _is_effectless(line) and not _is_followed(needed, line, "el"):
                    continue
                needed.append((_indent_of(line) + _INDENT + "pass", span))
            needed.append((line, span))
        needed.reverse()
        return [line for line, _ in needed], [span for _, span in needed]

    def _used_objects(self) -> set[str]:
        """The names of objects that are used by a line that does not only build another unused one."""
        needs: dict[str, set[str]] = {}
        names = set(self._builds)
        for line, name in zip(self._lines, self._builds, strict=True):
            found = names.intersection(_OBJECT.findall(line)) if len(names) > 1 else set()
            needs.setdefault(name, set()).update(found)
        used: set[str] = set()
        open_names = [""]
        while open_names:
            new = needs.pop(open_names.pop(), set()) - used
            used |= new
            open_names += new
        return used

    def _uses(self) -> Uses:
        reads = minimal(self._reads.found)
        return Uses(reads, reads | self._references.found, self.is_pure)


def _indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _is_followed(needed: list[tuple[str, Span | None]], line: str, start: str) -> bool:
    """Whether the line after `line`, the last of `needed`, begins with its indentation and `start`."""
    return bool(needed) and needed[-1][0].startswith(_indent_of(line) + start)


def _is_effectless(line: str) -> bool:
    """Whether a line begins a block that can be omitted if it is empty."""
    return line.lstrip().startswith("if ") and line.endswith(" is not None:")


def _remember_lines(filename: str, source: str, function: Callable[[Any, Any], Any]) -> None:
    """Make tracebacks show the lines of a function as long as it exists."""
    entry = (len(source), None, source.splitlines(keepends=True), filename)
    linecache.cache[filename] = entry
    weakref.finalize(function, _forget_lines, filename, entry).atexit = False


def _forget_lines(filename: str, entry: Any) -> None:
    """Remove the lines, unless those of the same template of a newer plan have replaced them."""
    if linecache.cache.get(filename) is entry:
        del linecache.cache[filename]


def lines_of(compiled: Compiled) -> list[tuple[str, Span | None]]:
    """The lines of a generated function, each with its location in the YAML."""
    names: dict[str, Any] = getattr(compiled.function, "__globals__", {})
    return list(zip(compiled.source.splitlines(), names.get(_SPANS, ()), strict=False))


def label_of(compiled: Compiled) -> str:
    """The label of a generated function: the file, and the part of the mapping."""
    filename: str = getattr(compiled.function, "__code__").co_filename  # noqa: B009 - not of every callable
    return filename.removeprefix("<dragoman ").removesuffix(">")


def first_location(compiled: Compiled) -> Span | None:
    """The first location in the YAML of a generated function, or None."""
    return next((span for _, span in lines_of(compiled) if span is not None), None)


def span_of_traceback(traceback: TracebackType | None) -> Span | None:
    """The location in the YAML of the innermost generated line of a traceback, or None."""
    found = None
    while traceback is not None:
        spans = traceback.tb_frame.f_globals.get(_SPANS)
        if spans is not None:
            found = spans[traceback.tb_lineno - 1] or found
        traceback = traceback.tb_next
    return found
