"""Generated Python: a writer of functions whose every line knows its place in the YAML.

Contract: values enter generated source as names bound in its namespace or as `repr` of a scalar, never as
text. A function that fails is placed by its traceback, so that a good run pays nothing for it. What it reads
is recorded as its lines are written; generated text is never searched.
Must not know JMESPath, the language or HTTP.
"""

from __future__ import annotations

import linecache
import math
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

from engine.source import Span
from engine.uses import NOTHING, Made, Origin, Paths, Uses, VariableOrigin, VariablePath, minimal
from engine.values import TYPE_NAMES

_SPANS: Final = "__spans__"
_INDENT: Final = " "

#: Lines in one function; templates that use each other could otherwise grow without bound.
MAX_LINES: Final = 20_000


class TooLarge(Exception):
    """The code of one template exceeds what Python or `MAX_LINES` allows."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A value in generated code: a Python name or literal, and what is known of it at load.

    Attributes:
        source: the name or literal.
        kind: its JSON type where that is certain, else "any".
        origin: the variables whose values it holds; None where none of them is left to record as read.
        is_constant: whether `constant` is its value.
        elements: the items of a list that is made of constants; None where it is something else.
    """

    source: str
    kind: str = "any"
    origin: Origin | None = None
    is_constant: bool = False
    constant: Any = None
    elements: tuple[Any, ...] | None = None

    def inside(self, step: str | int) -> Origin | None:
        """The origin of a field, or of an item or a pair (`ITEM`)."""
        return None if self.origin is None else self.origin.child(step)

    @property
    def item(self) -> Origin | None:
        """The origin of an item, where the value is a list."""
        return None if self.origin is None else self.origin.item()

    @property
    def variable(self) -> VariablePath | None:
        """The variable that it is; None where it is something else."""
        return self.origin.path if isinstance(self.origin, VariableOrigin) else None


NULL: Final = Atom("None", "null", is_constant=True)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A generated function `(payload, context) → value`, its source, and what it reads."""

    function: Callable[[Any, Any], Any]
    source: str
    uses: Uses = NOTHING


class Writer:
    """Collects the lines of one function."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = dict(names)
        self.is_pure = True
        self.loops = 0
        self._lines: list[str] = []
        self._spans: list[Span | None] = [None]
        self._known: list[dict[str, Atom]] = [{}]
        self._depth = 1
        self._fresh = 0
        self._span: Span | None = None
        self._reads = Paths()
        self._references = Paths()
        self._named: set[str] = set()

    def line(self, text: str) -> None:
        if len(self._lines) >= MAX_LINES:
            raise TooLarge
        self._lines.append(_INDENT * self._depth + text)
        self._spans.append(self._span)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Lines under `header`, which stands without its colon."""
        self.line(header + ":")
        self._depth += 1
        self._known.append({})
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._known.pop()
        self._depth -= 1

    @contextmanager
    def loop(self, header: str) -> Iterator[None]:
        """A block that counts against Python's bound on nested loops."""
        self.loops += 1
        with self.block(header):
            yield
        self.loops -= 1

    @contextmanager
    def counted_loop(self, index: str, item: str, items: str) -> Iterator[None]:
        """A loop over `items`, a Python expression; it counts only where what is inside refers to `index`."""
        header = len(self._lines)
        with self.loop(f"for {index}, {item} in enumerate({items})"):
            yield
        if index not in self._named:
            indent = self._lines[header][: -len(self._lines[header].lstrip())]
            self._lines[header] = f"{indent}for {item} in {items}:"

    @contextmanager
    def function(self, name: str, parameter: str) -> Iterator[None]:
        """A nested function of one parameter; its loops count anew, and it knows only what it computes."""
        outer, self.loops = self.loops, 0
        known, self._known = self._known, []
        with self.block(f"def {name}({parameter})"):
            yield
        self.loops, self._known = outer, known

    @contextmanager
    def at(self, span: Span) -> Iterator[None]:
        """Lines written inside belong to `span`."""
        outer, self._span = self._span, span
        yield
        self._span = outer

    def fresh(self, prefix: str = "t") -> str:
        """A name not used before in this function."""
        self._fresh += 1
        return f"{prefix}{self._fresh}"

    def let(self, source: str, kind: str = "any", origin: Origin | None = None) -> Atom:
        """Bind an expression of Python to a fresh name."""
        name = self.fresh()
        self.line(f"{name} = {source}")
        return Atom(name, kind, origin)

    def bound(self, atom: Atom) -> Atom:
        """An atom with the value of this moment: an expression that may give another later gets a name."""
        if atom.is_constant or atom.source.isidentifier():
            return atom
        return replace(atom, source=self.let(atom.source).source)

    def once(self, source: str, origin: Origin | None) -> Atom:
        """As `let`, for a path into values, which gives the same each time: written once in its block."""
        for known in self._known:
            if source in known:
                return known[source]
        self._known[-1][source] = atom = self.let(source, origin=origin)
        return atom

    def forget(self, variable: VariablePath) -> None:
        """A variable has changed, or may have: paths into it are read again."""
        for known in self._known:
            for source, atom in list(known.items()):
                if (atom.variable or ())[: len(variable)] == variable:
                    del known[source]

    def constant(self, value: Any) -> Atom:
        """A value known at load; containers are shared, as no code changes one."""
        kind = TYPE_NAMES[type(value)]
        if isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value)):
            return Atom(self.bind(value), kind, is_constant=True, constant=value)
        return Atom(repr(value), kind, is_constant=True, constant=value)

    def bind(self, value: Any, prefix: str = "k") -> str:
        """A name for any Python object in the function's namespace."""
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    # What the function reads

    def refer(self, atom: Atom) -> None:
        """The code evaluates this value."""
        self._named.add(atom.source)
        if atom.origin is not None:
            self._references.whole(atom.origin)

    def use(self, atom: Atom) -> None:
        """The value is used as a whole."""
        if atom.origin is not None:
            self._reads.whole(atom.origin)

    def ask(self, atom: Atom) -> None:
        """Only the value's truth is used; nothing inside it is read."""
        if atom.origin is not None:
            self._reads.shell(atom.origin)

    def find(self, atom: Atom) -> None:
        """Only the value's presence is used; one that the code makes is there in any case."""
        if not isinstance(atom.origin, Made):
            self.ask(atom)

    def check(self, atom: Atom) -> None:
        """The value's truth decides whether the exchange goes on; that alone is not reading it."""
        if atom.origin is not None:
            self._references.shell(atom.origin)

    def finish(self, label: str) -> Compiled:
        """Compile what was written.

        Raises:
            TooLarge: Python cannot compile so much nesting.
        """
        source = "def template(p, x):\n" + "".join(line + "\n" for line in self._lines)
        filename = f"<dragoman {label}>"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                code = compile(source, filename, "exec")
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise TooLarge from error
        namespace = {**self.names, _SPANS: self._spans}
        exec(code, namespace)
        _remember_lines(filename, source, namespace["template"])
        return Compiled(namespace["template"], source, self._uses())

    def _uses(self) -> Uses:
        reads = minimal(self._reads.found)
        return Uses(reads, reads | self._references.found, self.is_pure)


def _remember_lines(filename: str, source: str, function: Callable[[Any, Any], Any]) -> None:
    """Let tracebacks show the lines of a function, for as long as it is there."""
    entry = (len(source), None, source.splitlines(keepends=True), filename)
    linecache.cache[filename] = entry
    weakref.finalize(function, _forget_lines, filename, entry).atexit = False


def _forget_lines(filename: str, entry: Any) -> None:
    """The same template of a newer plan may have taken the place of these lines: they stay."""
    if linecache.cache.get(filename) is entry:
        del linecache.cache[filename]


def lines_of(compiled: Compiled) -> list[tuple[str, Span | None]]:
    """The lines of a generated function, each with the place in the YAML that it was written for."""
    names: dict[str, Any] = getattr(compiled.function, "__globals__", {})
    return list(zip(compiled.source.splitlines(), names.get(_SPANS, ()), strict=False))


def label_of(compiled: Compiled) -> str:
    """What a generated function is for: the file, and the part of the mapping."""
    filename: str = getattr(compiled.function, "__code__").co_filename  # noqa: B009 - not of every callable
    return filename.removeprefix("<dragoman ").removesuffix(">")


def place(traceback: TracebackType | None) -> Span | None:
    """Where in the YAML the innermost generated line of a traceback was written."""
    found = None
    while traceback is not None:
        spans = traceback.tb_frame.f_globals.get(_SPANS)
        if spans is not None:
            found = spans[traceback.tb_lineno - 1] or found
        traceback = traceback.tb_next
    return found
