"""Calls and forwards: their upstreams, paths and templates, and which call waits for which."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from engine.compiler.context import HEADERS, STATUS, MappingContext
from engine.compiler.files import declared
from engine.compiler.numbers import number
from engine.compiler.reachability import is_unconditional, warn_of_unreachable
from engine.compiler.reads import calls_read, env_read, error_kind, is_known_at_load, sources_of
from engine.compiler.route_paths import PLAIN_PATH, foreign_parameters
from engine.compiler.upstreams import NOWHERE
from engine.diagnostics import suggestion
from engine.http.fields import CREDENTIAL_NAME
from engine.http.request_target import literal_path
from engine.language.codegen import Atom, Compiled, Writer
from engine.language.expressions import (
    CLIENT_BODY,
    ExpressionSyntaxError,
    Record,
    Scope,
    Variable,
    literal_results,
    parse,
)
from engine.language.schema import BodySchema, BodySchemaError, body_schema
from engine.language.spec import AttemptSpec, CallSpec, ForwardSpec
from engine.language.templates import Part, is_static, output_keys, single_expression, split
from engine.language.uses import Origin, Uses, VariableOrigin, either, path_text
from engine.locations import Node, Span
from engine.plan import CallPlan, ForwardPlan, PathPart, UpstreamChoice, UpstreamPlan

_FIELDS: Final = ("status", "headers", "body", "error")
_SINGLE_ONLY: Final = ("on_error", "each", "parallel", "cache")


@dataclass(slots=True)
class CallCompiler:
    """Compiles the calls of one attempt.

    Attributes:
        params: the route's parameters with their kinds.
        label: prefix of the labels of generated functions.
        uses: what the templates read that were compiled since this list was reset.
    """

    context: MappingContext
    upstreams: Mapping[str, UpstreamPlan]
    params: Mapping[str, str]
    label: str
    notes_nulls: bool = False
    uses: list[Uses] = field(default_factory=list)

    # Several calls

    def alternatives(self, attempt: AttemptSpec) -> list[tuple[CallPlan, Uses]]:
        """The calls under `call`, of which one is made, each with the variables that its templates read."""
        found = []
        for spec in attempt.call:
            self._check_single(spec)
            found.append(self._with_uses(spec, "call", self._scope(attempt)))
        alternatives = [(spec.node, is_unconditional(spec), False) for spec in attempt.call]
        warn_of_unreachable("unreachable-call", alternatives, self.context.findings)
        return found

    def _scope(self, attempt: AttemptSpec) -> Scope:
        """The scope of calls, which includes the results of named calls."""
        scope = replace(self.context.call_scope(self.params), notes_nulls=self.notes_nulls)
        if not attempt.calls:
            return scope
        return scope.with_variables({"calls": calls_variable(attempt.calls)})

    def named_calls(self, attempt: AttemptSpec) -> list[tuple[CallPlan, Uses]]:
        """The calls under `calls`, which are all made, in file order."""
        scope, found = self._scope(attempt), []
        for name, spec in attempt.calls.items():
            found.append(self._with_uses(spec, f"calls.{name}", scope, name))
        self._check_cycles(attempt, [plan for plan, _ in found])
        return found

    def _with_uses(self, spec: CallSpec, label: str, scope: Scope, name: str = "") -> tuple[CallPlan, Uses]:
        self.uses = []
        plan, uses = self._call(spec, label, scope, name), Uses.of_all(self.uses)
        return replace(plan, needs=calls_read(uses)), uses

    def _check_single(self, spec: CallSpec) -> None:
        for key in _SINGLE_ONLY:
            node = spec.node.get(key)
            if node is not None:
                message = f"'{key}' is only allowed in 'calls'"
                self.context.findings.error("misused-call", message, node.key_span)

    def _check_cycles(self, attempt: AttemptSpec, plans: list[CallPlan]) -> None:
        needs = {plan.name: plan.needs for plan in plans}
        for plan in plans:
            cycle = _find_cycle(needs, plan.name)
            if cycle is not None and plan.name == min(cycle):
                message = f"calls depend on each other in a cycle: {' → '.join(cycle)}"
                node = attempt.calls[plan.name].node
                self.context.findings.error("call-cycle", message, node.key_span)

    # One call

    def _call(self, spec: CallSpec, label: str, scope: Scope, name: str) -> CallPlan:
        outer, each = scope, None
        if spec.each is not None:
            each, scope = self._each(spec.each, scope, label)
        elif (node := spec.node.get("parallel")) is not None:
            message = "'parallel' requires 'each'"
            self.context.findings.error("misused-call", message, node.key_span)
        parts = {
            part: self._template(getattr(spec, part), scope, f"{label}.{part}")
            for part in ("query", "headers", "body", "form")
        }
        when = self._template(spec.when, replace(outer, notes_nulls=False), f"{label}.when")
        path = self._path(spec.path, scope, label)
        reading = {**parts, "when": when, "each": each}
        sources = {part: sources_of(found.uses) for part, found in reading.items() if found is not None}
        sending = [*parts.values(), *(piece.template for piece in path)]
        return CallPlan(
            when=when,
            upstream=self.upstream(spec.upstream, scope, label),
            method=spec.method or ("POST" if spec.body or spec.form else "GET"),
            path=path,
            query=parts["query"],
            headers=parts["headers"],
            body=parts["body"],
            form=parts["form"],
            timeout=self.context.seconds(spec.timeout),
            response_schema=compile_body_schema(self.context, spec.response_schema),
            name=name,
            continues_on_error=spec.on_error == "continue",
            each=each,
            parallel=number(self.context, spec, "parallel"),
            cache=self.context.seconds(spec.cache),
            from_calls=frozenset(part for part, found in sources.items() if found == {"calls"}),
            mixed=frozenset(part for part, found in sources.items() if len(found) == 2),
            has_credentials=self._has_credentials(spec.headers, scope, sending),
            max_bytes=number(self.context, spec, "max_bytes"),
        )

    def _has_credentials(self, headers: Node | None, scope: Scope, parts: Iterable[Compiled | None]) -> bool:
        """Whether a call sends a secret, or a credential header field that is not taken from the client."""
        environment = self.context.environment
        secrets = {
            name for name, env in environment.specs.items() if env.secret and environment.env.get(name)
        }
        if any(secrets & env_read(part.uses) for part in parts if part is not None):
            return True
        if headers is None:
            return False
        own = (node for name, node in output_keys(headers) if CREDENTIAL_NAME.search(name))
        fields = (self._template(node, scope, "headers") for node in own)
        return any(sources_of(field.uses) != {"client"} for field in fields if field is not None)

    def _each(self, node: Node, scope: Scope, label: str) -> tuple[Compiled, Scope]:
        """The list that a call is made for, and the scope of the call, which has the item and its index."""
        items: list[Origin | None] = []

        def collect_items(writer: Writer, atom: Atom) -> None:
            items.append(atom.item)
            writer.use_presence(Atom("", origin=items[-1]))

        each = self.context.templates.compile(node, scope, f"{self.label} {label}.each", collect_items)
        self.uses.append(each.uses)
        index = Atom("x.index", "number", VariableOrigin(("index",)))
        payload = Atom("p", origin=either(VariableOrigin(("item",)), *items))
        return each, scope.with_payload(payload).with_variables({"index": index})

    def forward(self, spec: ForwardSpec) -> tuple[ForwardPlan, Uses]:
        """The plan of a forwarded request, and the variables that its templates read."""
        self.uses = []
        scope = self.context.call_scope(self.params)
        headers = self._template(spec.headers, scope, "forward.headers")
        plan = ForwardPlan(
            upstream=self.upstream(spec.upstream, scope, "forward"),
            path=self._path(spec.path, scope, "forward"),
            headers=headers,
            replaced=frozenset(name.lower() for name, _ in output_keys(spec.headers))
            if spec.headers
            else frozenset(),
            timeout=self.context.seconds(spec.timeout),
            has_credentials=self._has_credentials(spec.headers, scope, [headers]),
        )
        return plan, Uses.of_all(self.uses)

    # The upstream

    def upstream(self, node: Node, scope: Scope, label: str) -> UpstreamPlan | UpstreamChoice:
        """The upstream of a call, given by name or by an expression that returns a name."""
        if is_static(node.value):
            return self._named(str(node.value), node)
        if single_expression(node.value) is None:
            message = "an upstream must be a name, or a single ${ … } without surrounding text"
            self.context.findings.error("bad-value", message, node.span)
            return NOWHERE
        reports = self.context.findings.reports
        template = self._template(node, scope, f"{label}.upstream")
        assert template is not None
        if self.context.findings.reports > reports:
            return NOWHERE
        self._check_literals(node)
        if self.context.findings.reports > reports:
            return NOWHERE
        if is_known_at_load(template.uses):
            return self._named_at_load(template, node)
        return UpstreamChoice(template, self.upstreams, error_kind(template.uses))

    def _check_literals(self, node: Node) -> None:
        """Report literals in an expression that are not the name of an upstream."""
        part = split(node.value)[0]
        for name, offset in literal_results(parse(part.text)):
            self._named(name, node, node.span_at(part.offset + offset, len(name) + 2))

    def _named_at_load(self, template: Compiled, node: Node) -> UpstreamPlan:
        """An upstream whose name does not depend on the request, so it is resolved and checked at load."""
        environment, reports = self.context.environment, self.context.findings.reports
        name = environment.value(template, node)
        if isinstance(name, str):
            return self._named(name, node)
        is_reported = self.context.findings.reports > reports
        if not (is_reported or environment.missing or environment.unsound):
            message = "this expression does not return the name of an upstream"
            self.context.findings.error("unknown-upstream", message, node.span)
        return NOWHERE

    def _named(self, name: str, node: Node, span: Span | None = None) -> UpstreamPlan:
        """The upstream of this name. Findings are reported at `span`, by default at `node`."""
        if name in self.upstreams:
            return self.upstreams[name]
        span = span or node.span
        if not self.context.environment.may_show(name):
            self.context.findings.error("unknown-upstream", "unknown upstream", span)
            return NOWHERE
        known = {*declared(self.context.spec, "upstreams"), *self.upstreams}
        if name not in known:
            hint = suggestion(name, known)
            self.context.findings.error("unknown-upstream", f"unknown upstream '{name}'", span, hint)
        return NOWHERE

    # The path

    def _path(self, node: Node, scope: Scope, label: str) -> tuple[PathPart, ...]:
        try:
            parts = split(node.value)
        except ExpressionSyntaxError as error:
            self.context.findings.error("bad-expression", error.message, node.span_at(error.offset, 2))
            return ()
        literal = "".join("x" if part.is_expression else part.text for part in parts)
        if not PLAIN_PATH.match(literal) or any(part in (".", "..") for part in literal.split("/")):
            message = "a call's path has no '?', '#', whitespace or dot segment; set parameters under 'query'"
            self.context.findings.error("bad-path", message, node.span)
        self._warn_of_parameters(node, parts)
        return tuple(
            self._path_value(node.part(part.offset - 2, "${" + part.text + "}"), scope, label)
            if part.is_expression
            else PathPart(literal_path(part.text))
            for part in parts
        )

    def _warn_of_parameters(self, node: Node, parts: Iterable[Part]) -> None:
        """Warn of literal segments that look like parameters."""
        for part in parts:
            for start, segment, name in () if part.is_expression else foreign_parameters(part.text):
                known = f"$request.params.{name}" if name in self.params else name.partition(":")[0]
                message = f"'{segment}' is literal text in this path, not a parameter"
                span = node.span_at(part.offset + start, len(segment))
                self.context.findings.warning("literal-parameter", message, span, f"write '${{ {known} }}'")

    def _path_value(self, node: Node, scope: Scope, label: str) -> PathPart:
        parameters: list[str] = []
        names: list[str] = []

        def use(writer: Writer, atom: Atom) -> None:
            writer.use(atom)
            parameters.append(self._path_parameter(atom))
            names.append(_client_name(atom))

        template = self.context.templates.compile(node, scope, f"{self.label} {label}.path", use)
        self.uses.append(template.uses)
        parameter = parameters[0] if len(parameters) == 1 else ""
        name = names[0] if len(names) == 1 else ""
        return PathPart("", template, parameter, error_kind(template.uses), node.value, name)

    def _path_parameter(self, atom: Atom) -> str:
        """The name of the `{name:path}` parameter that a value consists of; empty for any other value."""
        path = atom.variable or ()
        is_parameter = path[:-1] == ("request", "params") and self.params.get(str(path[-1])) == "rest"
        return str(path[-1]) if is_parameter else ""

    def _template(self, node: Node | None, scope: Scope, what: str) -> Compiled | None:
        compiled = self.context.template(node, scope, f"{self.label} {what}")
        if compiled is not None:
            self.uses.append(compiled.uses)
        return compiled


def _client_name(atom: Atom) -> str:
    """What the client calls a value that it sends: `query.page`, or a field of the body; empty for others."""
    path = atom.variable or ()
    if path[: len(CLIENT_BODY)] == CLIENT_BODY:
        return path_text(path[len(CLIENT_BODY) :])
    return path_text(path[1:]) if path[:1] == ("request",) else ""


def calls_variable(calls: Mapping[str, CallSpec]) -> Record:
    """`$calls`: a record of the fields of each call, or a list of them for a call with `each`."""
    fields = {name: _call_variable(name, spec) for name, spec in calls.items()}
    return Record(fields, hint="name the call under 'calls'")


def _call_variable(name: str, spec: CallSpec) -> Variable:
    whole, path = f"x.calls[{name!r}]", ("calls", name)
    if spec.each is not None:
        return Atom(whole, "array", VariableOrigin(path))
    fields = {key: Atom(f"{whole}[{key!r}]", origin=VariableOrigin((*path, key))) for key in _FIELDS}
    fields["status"] = replace(fields["status"], types=STATUS)
    fields["headers"] = replace(fields["headers"], common=HEADERS)
    return Record(fields, whole=Atom(whole, "object", VariableOrigin(path)))


def _find_cycle(needs: Mapping[str, frozenset[str]], start: str) -> list[str] | None:
    """A cycle of dependencies that begins and ends with `start`; None if there is none."""
    paths, seen = [[start]], set()
    while paths:
        path = paths.pop()
        for name in sorted(needs.get(path[-1], ())):
            if name == start:
                return [*path, start]
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return None


def compile_body_schema(context: MappingContext, node: Node | None) -> BodySchema | None:
    """The compiled JSON Schema of a body; None if there is none, or it is invalid."""
    if node is None:
        return None
    try:
        return body_schema(node.value)
    except BodySchemaError as error:
        invalid = functools.reduce(lambda found, step: found[step], error.path, node)
        context.findings.error("bad-schema", str(error), invalid.span)
        return None
