"""What the code of every template is written with: the templates of its mapping, scope, writer and findings.

Contract: the files that write code (texts, contents, control) know one another's code only through `emit`
and `bind`. A sink says what to do with a value; what gives nothing never reaches it.
Must not know any directive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.diagnostics import Findings
from engine.language.codegen import Atom, Writer
from engine.language.expressions import CLIENT_BODY, Scope
from engine.language.templates.coverage import Coverage
from engine.language.uses import SHELL, Origin, Others, Paths, VariablePath
from engine.locations import Node

Sink = Callable[[Atom], None]


class ItemSink(ABC):
    """A sink that takes the items of a list one by one, so that each sees what became of those before it."""

    @abstractmethod
    def __call__(self, atom: Atom) -> None:
        """Take a whole value."""

    @property
    @abstractmethod
    def items(self) -> Sink:
        """The sink for each item of the list that the value is."""


@dataclass(slots=True)
class TemplateSet:
    """The templates of one mapping.

    Attributes:
        findings: receives what is wrong with them.
        named: the mapping's `templates:`.
        file: the mapping's file, for the names of generated functions.
        coverage: given while testing.
        names: what generated code may refer to beside the support functions.
        used: the names of those of `named` that have been used.
    """

    findings: Findings
    named: Mapping[str, Node] = field(default_factory=dict)
    file: str = ""
    coverage: Coverage | None = None
    names: dict[str, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


class BaseTemplateWriter(ABC):
    """Writes the code of one template.

    Args:
        templates: those of its mapping.
        writer: receives the code.
        scope: what the template sees.
    """

    def __init__(self, templates: TemplateSet, writer: Writer, scope: Scope) -> None:
        self.templates = templates
        self.findings = templates.findings
        self.writer = writer
        self.scope = scope
        self.language = scope.variables
        self.open_templates: list[str] = []

    @abstractmethod
    def emit(self, node: Node, sink: Sink) -> None:
        """Write code that computes `node` and hands the value to `sink`, unless there is none."""

    @abstractmethod
    def bind(self, node: Node) -> Atom:
        """A template's value under a name, null where it gives nothing."""

    def note_null(self, atom: Atom, read: Paths) -> None:
        """Write what notes a null of the client's where `atom` is null; `read` is what was read for it."""
        if not self.scope.notes_nulls or atom.is_constant:
            return
        if atom.origin is not None:
            read.whole(atom.origin)
        fields = sorted(_fields_of(read), key=repr)
        if fields:
            with self.writer.block(f"if {atom.source} is None"):
                for path in fields:
                    self.writer.line(f"x.drop_null({path!r})")

    @contextmanager
    def within(self, scope: Scope) -> Iterator[None]:
        """Code written inside sees `scope`."""
        outer, self.scope = self.scope, scope
        yield
        self.scope = outer

    def into(self, holder: Callable[[Origin | None], None], before: str, after: str = "") -> Sink:
        """A sink that puts the value into another, by a line with `before` and `after` around it; `holder` is
        handed its origin, as what is read of it depends on what is read of the other."""

        def put(atom: Atom) -> None:
            holder(atom.origin)
            self.writer.place(atom)
            self.writer.line(f"{before}{atom.source}{after}")

        return put

    def hit(self, node: Node, label: str) -> None:
        """Write the line that counts a branch, where coverage is asked for."""
        if self.templates.coverage is not None:
            self.writer.line(f"hits[{self.templates.coverage.branch(node, label)}] += 1")


def _fields_of(read: Paths) -> set[VariablePath]:
    """The fields of the client's body among what is read."""
    size = len(CLIENT_BODY)
    paths = (path[size:] for path in read.found if path[:size] == CLIENT_BODY)
    fields = {
        path[:-1] if path[-1] == SHELL or isinstance(path[-1], Others) else path for path in paths if path
    }
    return fields - {()}
