"""Values that are known at load: the environment, `vars`, and the files that these name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.compiler.files import declared
from engine.compiler.reads import env_read
from engine.diagnostics import Findings
from engine.errors import EvaluationError, ExchangeError
from engine.language import yaml
from engine.language.budget import Budget
from engine.language.codegen import Atom, Compiled, span_of_traceback
from engine.language.expressions import Record, Scope, Variable, Withheld
from engine.language.spec import EnvSpec, MappingSpec
from engine.language.templates import TemplateCompiler, is_static
from engine.language.uses import VariableOrigin
from engine.locations import Node, Span
from engine.resources import distribution_version
from engine.values import ABSENT, TYPE_NAMES, JsonError, loads

_VERSION = distribution_version()
_SET_IT = "set it in the environment, or in a file of variables such as .env"
_DRAGOMAN = Record({"version": Atom(repr(_VERSION), "string", is_constant=True, constant=_VERSION)})
_LATER = Withheld("unknown-variable", "this is evaluated at load, when there is no request")
_NO_PAYLOAD = Atom("p", "null", absent="this is evaluated at load: read '$env.NAME' or '$vars.name'")
_SECRET = Withheld("secret-exposed", "this variable is secret; only auth, url and what calls send may use it")


@dataclass(slots=True)
class Environment:
    """The values of `$env` and `$vars` of one mapping, and the variables of their templates.

    Attributes:
        compiler: compiles the mapping's templates; its `names` has the values for generated code.
        env: variable → value; None without a value.
        missing: required variables without a value.
        unsound: variables with a finding; using one is not reported again.
        is_served: whether the mapping is served in this environment, not only checked.
    """

    compiler: TemplateCompiler
    findings: Findings
    specs: Mapping[str, EnvSpec]
    env: dict[str, str | None] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unsound: set[str] = field(default_factory=set)
    is_served: bool = True

    def variables(self, secrets: bool = False) -> dict[str, Variable]:
        """`$env`, `$is_set`, `$vars` and `$dragoman`; reading secrets is an error unless `secrets`."""
        fields: dict[str, Variable] = {}
        for name in self.env:
            spec = self.specs.get(name)
            hidden = spec is not None and spec.secret and not secrets
            source = f"env_{name}" if spec is not None else "None"
            fields[name] = _SECRET if hidden else Atom(source, origin=VariableOrigin(("env", name)))
        variables = {name: self._var(name, value) for name, value in self.vars.items()}
        return {
            "env": Record(fields, hint="declare it under 'env'"),
            "is_set": Record(
                {name: _flag(bool(value)) for name, value in self.env.items()}, hint="declare it under 'env'"
            ),
            "vars": Record(variables, hint="declare it under 'vars'"),
            "dragoman": _DRAGOMAN,
        }

    def displayable(self) -> dict[str, Variable]:
        """`$env` for messages that people read: without secrets."""
        return {"env": self.variables()["env"]}

    def may_show(self, text: str) -> bool:
        """Whether a finding may contain a text that was computed at load."""
        return may_show(text, self.specs, self.env)

    def _var(self, name: str, value: Any) -> Atom:
        if name in self.unsound:
            return Atom("None")
        return Atom(f"vars_{name}", TYPE_NAMES[type(value)], is_constant=True, constant=value)

    def evaluate(self, node: Node, label: str, secrets: bool = True) -> Any:
        """The value of a template at load; `ABSENT` after a finding."""
        return self.evaluate_with_names(node, label, secrets)[0]

    def evaluate_with_names(self, node: Node, label: str, secrets: bool) -> tuple[Any, str]:
        """As `evaluate`, with the start of a finding about the value: the variables of the environment that
        it was read from."""
        reports = self.findings.reports
        variables = {**self.variables(secrets), "request": _LATER, "upstream": _LATER}
        compiled = self.compiler.compile(node, Scope(_NO_PAYLOAD, variables, self.displayable()), label)
        names = ", ".join(f"$env.{name}" for name in sorted(env_read(compiled.uses)))
        value = ABSENT if self.findings.reports > reports else self.value(compiled, node)
        return value, f"{names}: " if names else ""

    def value(self, compiled: Compiled, node: Node) -> Any:
        """The value of a compiled template that reads no request; `ABSENT` after a finding."""
        try:
            return compiled.function(None, NoExchange())
        except (EvaluationError, ExchangeError) as error:
            span = span_of_traceback(error.__traceback__) or node.span
            self.findings.error("bad-value", error.message, span)
            return ABSENT


def may_show(text: str, specs: Mapping[str, EnvSpec], env: Mapping[str, str | None]) -> bool:
    """Whether a text contains no secret; `env` has the values of variables."""
    values = (value_of(name, spec, env) for name, spec in specs.items() if spec.secret)
    return not any(value and value in text for value in values)


def value_of(name: str, spec: EnvSpec | None, environ: Mapping[str, str | None]) -> str | None:
    """A variable's value, or its default if the value is empty or whitespace."""
    return (environ.get(name) or "").strip() or (spec.default if spec else None)


def _flag(value: bool) -> Atom:
    return Atom(str(value), "boolean", is_constant=True, constant=value)


class NoExchange(Budget):
    """The exchange that templates receive at load: it discards warnings and has a normal budget."""

    started_ns = 0

    def warn(self, message: str) -> None:
        del message


def resolve(
    mapping: MappingSpec,
    environ: Mapping[str, str],
    compiler: TemplateCompiler,
    findings: Findings,
    is_served: bool,
) -> Environment:
    """Evaluate `env` and `vars`. A missing required variable is an error if `is_served`, otherwise a note."""
    environment = Environment(compiler, findings, mapping.env, is_served=is_served)
    own = mapping.document.original.get("env")
    written = [name for name in own if isinstance(name, str)] if isinstance(own, dict | list) else []
    for name in dict.fromkeys((*written, *mapping.env)):
        spec = mapping.env.get(name)
        value = value_of(name, spec, environ)
        if value is None and spec is not None and spec.required:
            environment.missing.append(name)
            _report_missing(name, spec, findings, is_served)
        environment.env[name] = value
        compiler.names[f"env_{name}"] = value
    environment.unsound |= declared(mapping, "vars").keys() - mapping.vars.keys()
    environment.vars |= dict.fromkeys(environment.unsound)
    for name, node in mapping.vars.items():
        reports = findings.reports
        value = _var(node, environment)
        if findings.reports > reports:
            environment.unsound.add(name)
        environment.vars[name] = None if value is ABSENT else value
        compiler.names[f"vars_{name}"] = environment.vars[name]
    return environment


def _report_missing(name: str, spec: EnvSpec, findings: Findings, is_served: bool) -> None:
    purpose = f": {spec.description}" if spec.description else ""
    if is_served:
        message = f"the environment variable {name} is not set{purpose}"
        findings.error("missing-env", message, spec.node.key_span, _SET_IT)
    else:
        findings.note("missing-env", f"needs the environment variable {name}{purpose}", spec.node.key_span)


def _var(node: Node, environment: Environment) -> Any:
    """The value of a variable; `{$file: path}` at any depth is replaced by the content of the file."""
    if isinstance(node.value, dict) and "$file" in node.value:
        _check_alone(node, environment.findings)
        return read_file(node["$file"], environment)
    if isinstance(node.value, dict) and has_file(node.value):
        _check_plain(node, environment.findings)
        return {key: _var(child, environment) for key, child in node.items()}
    if isinstance(node.value, list) and has_file(node.value):
        return [_var(child, environment) for child in node.elements()]
    return environment.evaluate(node, f"vars.{node.path[-1]}", secrets=False)


def _check_alone(node: Node, findings: Findings) -> None:
    for key in node.value:
        if key != "$file":
            findings.error(
                "misused-directive", f"'{key}' cannot be combined with '$file'", node[key].key_span
            )


def _check_plain(node: Node, findings: Findings) -> None:
    key = next((key for key in node.value if not is_static({key: None})), None)
    if key is not None:
        message = f"'{key}' cannot contain '$file'; read the file in a variable of its own"
        findings.error("misused-directive", message, node[key].key_span)


def has_file(value: Any) -> bool:
    """Whether a value contains `{$file: path}`."""
    if isinstance(value, dict):
        return "$file" in value or any(has_file(item) for item in value.values())
    return isinstance(value, list) and any(has_file(item) for item in value)


def read_file(node: Node, environment: Environment) -> Any:
    """The content of the file whose path a node has; None without a path, or after a finding."""
    path = environment.evaluate(node, "vars.$file", secrets=False)
    if path is ABSENT or path == "":
        return None
    if not isinstance(path, str):
        environment.findings.error("bad-value", "'$file' must be a path", node.span)
        return None
    file = _resolve_path(node, path)
    content = yaml.read_bytes(file, environment.findings, node.span)
    if content is None:
        return None
    read = _READERS.get(file.suffix, _lines)
    return read(content, file, node.span, environment.findings)


def _resolve_path(node: Node, path: str) -> Path:
    """The file of a path: relative to the mapping; if computed, to the working directory first."""
    in_working_directory = not is_static(node.value) and os.path.isfile(path)
    return Path(path) if in_working_directory else Path(node.document.file.name).parent / path


def _yaml(content: bytes, file: Path, span: Span, findings: Findings) -> Any:
    document = yaml.parse(str(file), content, findings)
    return None if document is None else document.data


def _json(content: bytes, file: Path, span: Span, findings: Findings) -> Any:
    try:
        return loads(content)
    except JsonError as error:
        findings.error("bad-value", f"'{file}' {error.predicate}", span)
        return None


def _lines(content: bytes, file: Path, span: Span, findings: Findings) -> Any:
    """The lines of a text file, without blank lines and lines that begin with '#'."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        findings.error("encoding", f"'{file}' is not UTF-8", span)
        return None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


_READERS: Mapping[str, Callable[[bytes, Path, Span, Findings], Any]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
}
