"""Generated Python: a writer of functions whose every line knows its place in the YAML.

Contract: values enter generated source as names bound in its namespace or as `repr` of a scalar, never as
text. A function that fails is placed by its traceback, so that a good run pays nothing for it.
Must not know JMESPath, the language or HTTP.
"""

from __future__ import annotations

import linecache
import math
import re
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from engine.source import Path, Span
from engine.values import TYPE_NAMES

_SPANS: Final = "__spans__"
_INDENT: Final = " "
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REPLY = re.compile(r"\bp\b|\bx\.reply_body\b")

#: The end of a path whose value is only asked for its truth: nothing inside of it is read.
SHELL: Final = 0

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
        origin: its path in the client's body, `*` standing for any item, or None.
        is_constant: whether `constant` is its value.
    """

    source: str
    kind: str = "any"
    origin: Path | None = None
    is_constant: bool = False
    constant: Any = None

    def child(self, source: str, key: str | int) -> Atom:
        """The atom of something inside this one."""
        return Atom(source, origin=None if self.origin is None else (*self.origin, key))


NULL: Final = Atom("None", "null", is_constant=True)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A generated function `(payload, context) → value`, its source, and which fields of the client's body
    it reads. `reads_reply`: it may read the upstream's body."""

    function: Callable[[Any, Any], Any]
    source: str
    reads: frozenset[Path]
    reads_reply: bool = False


class Writer:
    """Collects the lines of one function."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = dict(names)
        self.reads: set[Path] = set()
        self.loops = 0
        self._lines: list[str] = []
        self._spans: list[Span | None] = [None]
        self._known: list[dict[str, Atom]] = [{}]
        self._depth = 1
        self._fresh = 0
        self._span: Span | None = None

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
        """A loop over `items`, a Python expression; it counts only where its lines use `index`."""
        header = len(self._lines)
        with self.loop(f"for {index}, {item} in enumerate({items})"):
            yield
        uses = re.compile(rf"\b{index}\b")
        if not any(uses.search(line) for line in self._lines[header + 1 :]):
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

    def let(self, source: str, kind: str = "any") -> Atom:
        """Bind an expression of Python to a fresh name."""
        name = self.fresh()
        self.line(f"{name} = {source}")
        return Atom(name, kind)

    def once(self, source: str) -> Atom:
        """As `let`, for a path into values, which gives the same each time: written once in its block."""
        for known in self._known:
            if source in known:
                return known[source]
        self._known[-1][source] = atom = self.let(source)
        return atom

    def forget(self, name: str) -> None:
        """What `name` holds has changed: paths that were read from it are read anew."""
        stale = {name}
        for known in self._known:
            for source, atom in list(known.items()):
                if stale & set(_WORD.findall(source)):
                    stale.add(atom.source)
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

    def use(self, atom: Atom) -> None:
        """The value is used as a whole; so the client's field behind it is read."""
        if atom.origin is not None:
            self.reads.add(atom.origin)

    def ask(self, atom: Atom) -> None:
        """Only the value's truth is used; so of the client's field behind it nothing inside is read."""
        if atom.origin:
            self.reads.add((*atom.origin, SHELL))

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
        reads_reply = any(_REPLY.search(line) for line in self._lines)
        return Compiled(namespace["template"], source, frozenset(self.reads), reads_reply)


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


def root_place(compiled: Compiled) -> Span | None:
    """Where in the YAML a template begins."""
    return next((span for _, span in lines_of(compiled) if span is not None), None)


def place(traceback: TracebackType | None) -> Span | None:
    """Where in the YAML the innermost generated line of a traceback was written."""
    found = None
    while traceback is not None:
        spans = traceback.tb_frame.f_globals.get(_SPANS)
        if spans is not None:
            found = spans[traceback.tb_lineno - 1] or found
        traceback = traceback.tb_next
    return found
