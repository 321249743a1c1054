"""Templates as tests see them: YAML and a payload in; a value, a failure or findings out."""

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

#: What stands for a template that gave nothing.
NOTHING = "(nothing)"


@dataclass
class Exchange(Budget):
    """The exchange, as far as these templates know it."""

    body: Any = None
    started_ns: int = 0
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@dataclass
class Template:
    """A compiled template with what it was compiled among."""

    function: Compiled
    findings: Findings
    variables: dict[str, Any]

    def value(self, payload: Any) -> Any:
        """What it gives, `NOTHING` included; twice the same, with payload and variables left as they were."""
        before = copy.deepcopy((payload, self.variables))
        value = self.function.function(payload, Exchange(payload))
        again = self.function.function(payload, Exchange(payload))
        assert (payload, self.variables) == before, self.shown("changed what it was given")
        assert shown(value) == shown(again), self.shown("gave something else the second time")
        return NOTHING if value is ABSENT else value

    def shown(self, what: str) -> str:
        """A failure's message: the generated code is in it."""
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
    """A value with the types and the order of keys told: two are equal where these are."""
    return NOTHING if value is ABSENT else json.dumps(value, ensure_ascii=False)
