"""Compiles and renders templates for tests: YAML and a payload in; a value, an error or findings out."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.diagnostics import Findings
from engine.language import yaml
from engine.language.budget import Budget
from engine.language.codegen import Atom, Compiled
from engine.language.expressions import CLIENT_BODY, Record, Scope
from engine.language.templates import TemplateCompiler
from engine.language.uses import VariableOrigin
from engine.locations import Node
from engine.values import ABSENT, type_name

#: Represents the result of a template that produced no value.
NOTHING = "(nothing)"


@dataclass
class Exchange(Budget):
    """The part of the exchange that these templates use."""

    body: Any = None
    started_ns: int = 0
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@dataclass
class Template:
    """A compiled template with its findings and variables."""

    function: Compiled
    findings: Findings
    variables: dict[str, Any]

    def value(self, payload: Any) -> Any:
        """The template's value or `NOTHING`; checks that rendering is repeatable and changes no input."""
        before = copy.deepcopy((payload, self.variables))
        value = self.function.function(payload, Exchange(payload))
        again = self.function.function(payload, Exchange(payload))
        assert (payload, self.variables) == before, self.shown("changed its input")
        assert shown(value) == shown(again), self.shown("gave another value the second time")
        return NOTHING if value is ABSENT else value

    def shown(self, what: str) -> str:
        """The message of a failed assertion, with the generated code."""
        return f"{what}\n{self.function.source}"


def compiled(
    node: Node, variables: Mapping[str, Any] | None = None, templates: Mapping[str, Node] | None = None
) -> Template:
    """Compile a template that sees `$vars`, `$request.body` and named templates."""
    values = dict(variables or {})
    atoms = {name: Atom(f"vars_{name}", type_name(value)) for name, value in values.items()}
    scope = Scope(
        Atom("p", origin=VariableOrigin(CLIENT_BODY)),
        {
            "vars": Record(atoms),
            "request": Record({"body": Atom("x.body", origin=VariableOrigin(CLIENT_BODY))}),
        },
    )
    findings = Findings()
    names = {f"vars_{name}": value for name, value in values.items()}
    compiler = TemplateCompiler(findings, templates or {}, names=names)
    return Template(compiler.compile(node, scope, "body"), findings, values)


def parsed(text: str) -> Node:
    """YAML text as the loader reads it."""
    findings = Findings()
    document = yaml.parse("template.yaml", text.encode(), findings)
    assert document is not None, list(findings)
    return document.root


def shown(value: Any) -> str:
    """A value as JSON text, so that types and the order of keys are compared too."""
    return NOTHING if value is ABSENT else json.dumps(value, ensure_ascii=False)
