"""The base of the code of all templates: the templates of the mapping, scope, writer and findings.

Contract: the modules that write code (texts, contents, control) use each other's code only through `emit`
and `bind`. A sink writes the code that uses a value; it is not called for a template without a value.
Must not know any directive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.diagnostics import Findings
from engine.language.codegen import Atom, Writer
from engine.language.expressions import CLIENT_BODY, Scope
from engine.language.templates.coverage import Coverage
from engine.language.templates.recursion import TemplateGraph
from engine.language.uses import TESTED, AllExcept, Origin, Paths, VariablePath
from engine.locations import Node

Sink = Callable[[Atom], None]


class ItemSink(ABC):
    """A sink that takes the items of a list one by one, so that each sees the effect of the previous ones."""

    @abstractmethod
    def __call__(self, atom: Atom) -> None:
        """Take a complete value."""

    @property
    @abstractmethod
    def items(self) -> Sink:
        """The sink for each item of a list value."""


@dataclass(slots=True)
class TemplateSet:
    """The templates of one mapping.

    Attributes:
        findings: receives errors and warnings.
        named: the mapping's `templates:`.
        file: the mapping's file, for the names of generated functions.
        coverage: set while testing.
        names: additional names that generated code may refer to.
        used: the names of the templates in `named` that have been used.
        streams: the names of the mapping's `streams:`.
        graph: which of `named` use themselves.
    """

    findings: Findings
    named: Mapping[str, Node] = field(default_factory=dict)
    file: str = ""
    coverage: Coverage | None = None
    names: dict[str, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    streams: Container[str] = ()
    graph: TemplateGraph = field(init=False)

    def __post_init__(self) -> None:
        self.graph = TemplateGraph(self.named)


@dataclass(frozen=True, slots=True)
class RecursiveFunction:
    """The generated function of a template that uses itself; its name, and those of its parameters.

    Attributes:
        depth: how many such functions are running.
        index: the value of `$index`; empty if the template has none.
    """

    name: str
    payload: str
    depth: str
    index: str = ""

    @property
    def parameters(self) -> str:
        return ", ".join(filter(None, (self.payload, self.depth, self.index)))


class BaseTemplateWriter(ABC):
    """Writes the code of one template.

    Args:
        templates: the templates of its mapping.
        writer: receives the code.
        scope: the payload and variables of the template.
    """

    def __init__(self, templates: TemplateSet, writer: Writer, scope: Scope) -> None:
        self.templates = templates
        self.findings = templates.findings
        self.writer = writer
        self.scope = scope
        self.language = scope.variables
        #: The functions of the recursive templates around the current one, by the template's name.
        self.functions: dict[str, RecursiveFunction] = {}

    @abstractmethod
    def emit(self, node: Node, sink: Sink) -> None:
        """Write code that computes `node` and passes the value to `sink`, if there is a value."""

    @abstractmethod
    def bind(self, node: Node) -> Atom:
        """Write code that assigns a template's value to a name; null if it has no value."""

    def note_null(self, atom: Atom, read: Paths) -> None:
        """Write code that records a null in the client's body if `atom`, which depends on `read`, is null."""
        if not self.scope.notes_nulls or atom.is_constant:
            return
        if atom.origin is not None:
            read.add_read(atom.origin)
        fields = sorted(_fields_of(read), key=repr)
        if fields:
            with self.writer.block(f"if {atom.source} is None"):
                for path in fields:
                    self.writer.line(f"x.drop_null({path!r})")

    @contextmanager
    def within(self, scope: Scope) -> Iterator[None]:
        """Use `scope` for code written inside."""
        outer, self.scope = self.scope, scope
        yield
        self.scope = outer

    def into(self, holder: Callable[[Origin | None], None], before: str, after: str = "") -> Sink:
        """A sink that puts the value into a container, by a line with `before` and `after` around it.

        `holder` receives its origin, because what is read of it depends on what is read of the container.
        """

        def put(atom: Atom) -> None:
            holder(atom.origin)
            self.writer.embed(atom)
            self.writer.line(f"{before}{atom.source}{after}")

        return put

    def hit(self, node: Node, label: str) -> None:
        """Write the line that counts a branch, if coverage is measured."""
        if self.templates.coverage is not None:
            self.writer.line(f"hits[{self.templates.coverage.branch(node, label)}] += 1")


def _fields_of(read: Paths) -> set[VariablePath]:
    """The fields of the client's body among the paths read."""
    size = len(CLIENT_BODY)
    paths = (path[size:] for path in read.found if path[:size] == CLIENT_BODY)
    fields = {
        path[:-1] if path[-1] == TESTED or isinstance(path[-1], AllExcept) else path for path in paths if path
    }
    return fields - {()}
