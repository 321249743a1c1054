"""The state that all parts of the compiler share for one mapping, and the scopes of its templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from engine.compiler.environment import Environment
from engine.compiler.reads import REQUEST_HEADERS, REQUEST_KEY, RESPONSE_BODY, RESPONSE_STATUS
from engine.diagnostics import Findings
from engine.language.codegen import Atom, CommonFields, Compiled, Writer
from engine.language.durations import seconds_of
from engine.language.expressions import CLIENT_BODY, Record, Scope, Variable, Withheld
from engine.language.spec import MappingSpec
from engine.language.spec_reader import Duration, Spec, defaults
from engine.language.templates import TemplateCompiler, is_static, single_expression
from engine.language.uses import VariableOrigin, VariablePath
from engine.locations import Node
from engine.values import ABSENT

_READ_LATER: Final = "read it in 'respond', or make an earlier call under 'calls' and read $calls.NAME"
_NOT_YET: Final = Withheld("unknown-variable", "this is evaluated before the upstream responds", _READ_LATER)
_NO_CALL: Final = Withheld("unknown-variable", "this route calls no upstream", "add a 'call'")
_NAME_IT: Final = "name the call under 'calls'"
_NO_CALLS: Final = Withheld("unknown-variable", "this route has no named calls", _NAME_IT)

_NO_BODY: Final = "GET and HEAD have no body: read '$request.query' or '$request.params'"
#: Variables that exist in some positions only.
_ELSEWHERE: Final = ("calls", "state", "emitted", "partial", "done", "index")
_PARAMETER: Final = "a parameter is a segment of the route's path, such as {id}"

#: What header fields, query parameters and statuses can be.
_TEXTS: Final = frozenset(("string", "array", "null"))
HEADERS: Final = CommonFields(_TEXTS, in_lower_case=True)
STATUS: Final = frozenset(("number", "null"))

_CLIENT_BODY: Final = Atom("p", origin=VariableOrigin(CLIENT_BODY))
_RESPONSE_BODY: Final = Atom("p", origin=VariableOrigin(RESPONSE_BODY))
_ERROR: Final = Atom("p", origin=VariableOrigin(("error",)))


@dataclass(slots=True)
class MappingContext:
    """The mapping that is being compiled."""

    spec: MappingSpec
    environment: Environment
    templates: TemplateCompiler
    findings: Findings

    def call_scope(self, params: Mapping[str, str]) -> Scope:
        """The scope of a call: the payload is the client's body."""
        variables = {**self.environment.variables(secrets=True), "upstream": _NOT_YET, "calls": _NO_CALLS}
        return Scope(_CLIENT_BODY, {**variables, "request": _request(params)}, self.environment.displayable())

    def respond_scope(self, params: Mapping[str, str], has_call: bool, has_body: bool = True) -> Scope:
        """The scope of a response: the payload is the upstream's body, without a call the client's.

        Without `has_body`, the client's request has no body, and reading it is a finding.
        """
        variables = {**self.environment.variables(), "request": _request(params), "calls": _NO_CALLS}
        if has_call:
            return Scope(_RESPONSE_BODY, {**variables, "upstream": _UPSTREAM})
        body = _CLIENT_BODY if has_body else replace(_CLIENT_BODY, absent=_NO_BODY)
        request = _request(params, None if has_body else _NO_BODY)
        return Scope(body, {**variables, "request": request, "upstream": _NO_CALL})

    def unused_scope(self) -> Scope:
        """The scope of a template or a stream that nothing uses: any variable may be there."""
        known = {name: _variable((name,), f"x.{name}") for name in _ELSEWHERE}
        params = _variable(("request", "params"), "x.params", "object")
        request = Record({**_REQUEST, "params": params})
        variables = {**self.environment.variables(secrets=True), **known, "request": request}
        return Scope(_CLIENT_BODY, {**variables, "upstream": _UPSTREAM}, self.environment.displayable())

    def errors_scope(self) -> Scope:
        """The scope of the error format: the payload is the error."""
        return Scope(_ERROR, {**self.environment.variables(), "request": _request({})})

    def template(self, node: Node | None, scope: Scope, label: str) -> Compiled | None:
        """The compiled node, or None without a node. A node under `when` is a condition."""
        if node is None:
            return None
        is_condition = node.path[-1:] == ("when",)
        return self.templates.compile(node, scope, label, Writer.use_truth if is_condition else Writer.use)

    def status(self, node: Node | int, scope: Scope, label: str) -> int | Compiled:
        """A status, or the function that computes it. Text around an expression would make it a string."""
        if isinstance(node, int) or isinstance(node.value, int):
            return node if isinstance(node, int) else int(node.value)
        reports = self.findings.reports
        compiled = self.templates.compile(node, scope, label)
        is_mixed = isinstance(node.value, str) and single_expression(node.value) is None
        if is_mixed and self.findings.reports == reports:
            message = "a status must be a single ${ … } without surrounding text"
            self.findings.error("bad-value", message, node.span)
        return compiled

    def seconds(self, value: Duration | None) -> float | None:
        """A duration in seconds; None if it has no value, or after a finding. An expression is evaluated at
        load."""
        if not isinstance(value, Node):
            return None if value is None else seconds_of(value)
        text, names = value.value, ""
        if not is_static(text):
            text, names = self.environment.evaluate_with_names(value, "duration", secrets=False)
        if text is ABSENT:
            return None
        try:
            return seconds_of(str(text))
        except ValueError as error:
            self.findings.error("bad-value", f"{names}{error}", value.span)
            return None

    def seconds_under(self, spec: Spec, key: str) -> float:
        """The duration under a key in seconds; its default if it has no value, or after a finding."""
        given = self.seconds(getattr(spec, key))
        return seconds_of(defaults(type(spec))[key]) if given is None else given

    def text(self, node: Node, label: str, secrets: bool = True) -> str | None:
        """The value of a string that is evaluated at load: empty if it has no value, None after a finding."""
        reports = self.findings.reports
        value: Any = self.environment.evaluate(node, label, secrets)
        if self.findings.reports > reports:
            return None
        if value is ABSENT:
            return ""
        if not isinstance(value, str):
            self.findings.error("bad-value", "expected a string", node.span)
            return None
        return value.strip()

    def texts(self, node: Node, label: str, secrets: bool = True) -> tuple[str, ...]:
        """The value of a list of strings that is evaluated at load: a list, or a comma-separated string."""
        value = self.environment.evaluate(node, label, secrets)
        if value is not ABSENT and not isinstance(value, str | list):
            self.findings.error("bad-value", "expected a string or a list of strings", node.span)
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
        return tuple(item.strip() for item in items if isinstance(item, str) and item.strip())


def _variable(path: VariablePath, source: str, kind: str = "any", common: CommonFields | None = None) -> Atom:
    return Atom(source, kind, VariableOrigin(path), common=common)


def _request(params: Mapping[str, str], absent_body: str | None = None) -> Record:
    """`$request`, with why it has no body, if it has none."""
    path_params: dict[str, Variable] = {
        name: _variable(("request", "params", name), f"x.params[{name!r}]", "string") for name in params
    }
    whole_params = _variable(("request", "params"), "x.params", "object")
    body = replace(_variable(CLIENT_BODY, "x.body"), absent=absent_body or "")
    return Record({**_REQUEST, "body": body, "params": Record(path_params, whole_params, _PARAMETER)})


_REQUEST: Final[Mapping[str, Variable]] = {
    "id": _variable(("request", "id"), "x.inbound.request_id", "string"),
    "method": _variable(("request", "method"), "x.inbound.method", "string"),
    "path": _variable(("request", "path"), "x.inbound.path", "string"),
    "query": _variable(("request", "query"), "x.query", "object", CommonFields(_TEXTS)),
    "headers": _variable(REQUEST_HEADERS, "x.headers", "object", HEADERS),
    "key": _variable(REQUEST_KEY, "x.inbound.key"),
    "body": _variable(CLIENT_BODY, "x.body"),
}
_UPSTREAM: Final = Record(
    {
        "status": replace(_variable(RESPONSE_STATUS, "x.status"), types=STATUS),
        "headers": _variable(("upstream", "headers"), "x.upstream_headers", "object", HEADERS),
        "body": _variable(RESPONSE_BODY, "x.upstream_body"),
        "name": _variable(("upstream", "name"), "x.upstream"),
    }
)
