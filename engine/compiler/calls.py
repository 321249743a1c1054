"""Calls and forwards: their upstreams, paths and templates, and which call waits for which."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from engine.compiler.context import MappingContext
from engine.compiler.files import declared
from engine.compiler.reads import blame, calls_read, env_read, is_known_at_load, sources_of
from engine.compiler.route_paths import PLAIN_PATH
from engine.compiler.upstreams import NOWHERE
from engine.diagnostics import suggestion
from engine.http.fields import CREDENTIAL_NAME
from engine.http.messages import MAX_BODY_BYTES
from engine.http.request_target import literal_path
from engine.language.codegen import Atom, Compiled, Writer
from engine.language.expressions import ExpressionSyntaxError, Record, Scope, Variable, literal_results, parse
from engine.language.schema import BodySchema, BodySchemaError, body_schema
from engine.language.spec import AttemptSpec, CallSpec, ForwardSpec
from engine.language.templates import is_static, single_expression, split
from engine.language.uses import Origin, Uses, VariableOrigin, either
from engine.locations import Node, Span
from engine.plan import CallPlan, ForwardPlan, PathPart, UpstreamChoice, UpstreamPlan

_FIELDS: Final = ("status", "headers", "body", "error")
_SINGLE_ONLY: Final = ("on_error", "each", "parallel", "cache")


@dataclass(slots=True)
class CallCompiler:
    """Compiles the calls of one attempt.

    Attributes:
        params: the route's parameters with their kinds.
        label: what generated functions are named by.
        uses: what the templates read that were compiled since this was last emptied.
    """

    context: MappingContext
    upstreams: Mapping[str, UpstreamPlan]
    params: Mapping[str, str]
    label: str
    notes_nulls: bool = False
    uses: list[Uses] = field(default_factory=list)

    # Several calls

    def cases(self, attempt: AttemptSpec) -> list[tuple[CallPlan, Uses]]:
        """Calls of which one is made, each with what its templates read."""
        found = []
        for spec in attempt.call:
            self._check_single(spec)
            found.append(self._with_uses(spec, "call", self._scope(attempt)))
        return found

    def _scope(self, attempt: AttemptSpec) -> Scope:
        """What calls see: those that have names, where there are any."""
        scope = replace(self.context.call_scope(self.params), notes_nulls=self.notes_nulls)
        if not attempt.calls:
            return scope
        return scope.with_variables({"calls": Record(call_variables(attempt.calls))})

    def together(self, attempt: AttemptSpec) -> list[tuple[CallPlan, Uses]]:
        """Calls that are all made, in the order of their names in the file."""
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
                message = f"'{key}' has a meaning only among 'calls'"
                self.context.findings.error("misused-call", message, node.key_span)

    def _check_cycles(self, attempt: AttemptSpec, plans: list[CallPlan]) -> None:
        needs = {plan.name: plan.needs for plan in plans}
        for plan in plans:
            way = _way_back(needs, plan.name)
            if way is not None and plan.name == min(way):
                message = f"these calls wait for each other: {' → '.join(way)}"
                node = attempt.calls[plan.name].node
                self.context.findings.error("call-cycle", message, node.key_span)

    # One call

    def _call(self, spec: CallSpec, label: str, scope: Scope, name: str) -> CallPlan:
        outer, each = scope, None
        if spec.each is not None:
            each, scope = self._each(spec.each, scope, label)
        elif (node := spec.node.get("parallel")) is not None:
            message = "'parallel' has a meaning only with 'each'"
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
            timeout=self.context.seconds(spec.timeout, None),
            response_schema=compile_body_schema(self.context, spec.response_schema),
            name=name,
            continues=spec.on_error == "continue",
            each=each,
            parallel=spec.parallel,
            cache=self.context.seconds(spec.cache, None),
            from_calls=frozenset(part for part, found in sources.items() if found == {"calls"}),
            mixed=frozenset(part for part, found in sources.items() if len(found) == 2),
            has_credentials=self._has_credentials(spec.headers, scope, sending),
            max_bytes=MAX_BODY_BYTES if spec.max_bytes is None else spec.max_bytes,
        )

    def _has_credentials(self, headers: Node | None, scope: Scope, parts: Iterable[Compiled | None]) -> bool:
        """Whether a call sends a secret, or a header field for credentials that is not its client's own."""
        environment = self.context.environment
        secrets = {
            name for name, env in environment.specs.items() if env.secret and environment.env.get(name)
        }
        if any(secrets & env_read(part.uses) for part in parts if part is not None):
            return True
        if headers is None or not isinstance(headers.value, dict):
            return False
        own = (node for name, node in headers.items() if CREDENTIAL_NAME.search(name))
        fields = (self._template(node, scope, "headers") for node in own)
        return any(sources_of(field.uses) != {"client"} for field in fields if field is not None)

    def _each(self, node: Node, scope: Scope, label: str) -> tuple[Compiled, Scope]:
        """The list for whose items a call is made, and what such a call sees: its item, and its number."""
        items: list[Origin | None] = []

        def go_through(writer: Writer, atom: Atom) -> None:
            items.append(atom.item)
            writer.use_presence(Atom("", origin=items[-1]))

        each = self.context.templates.compile(node, scope, f"{self.label} {label}.each", go_through)
        self.uses.append(each.uses)
        index = Atom("x.index", "number", VariableOrigin(("index",)))
        payload = Atom("p", origin=either(VariableOrigin(("item",)), *items))
        return each, scope.with_payload(payload).with_variables({"index": index})

    def forward(self, spec: ForwardSpec) -> tuple[ForwardPlan, Uses]:
        """A request that goes through, and what its templates read."""
        self.uses = []
        scope = self.context.call_scope(self.params)
        headers = self._template(spec.headers, scope, "forward.headers")
        plan = ForwardPlan(
            upstream=self.upstream(spec.upstream, scope, "forward"),
            path=self._path(spec.path, scope, "forward"),
            headers=headers,
            replaced=frozenset(name.lower() for name in spec.headers.value) if spec.headers else frozenset(),
            timeout=self.context.seconds(spec.timeout, None),
            has_credentials=self._has_credentials(spec.headers, scope, [headers]),
        )
        return plan, Uses.of_all(self.uses)

    # The upstream

    def upstream(self, node: Node, scope: Scope, label: str) -> UpstreamPlan | UpstreamChoice:
        """The upstream of a call: by its name, or by an expression that gives a name."""
        if is_static(node.value):
            return self._named(str(node.value), node)
        if single_expression(node.value) is None:
            message = "an upstream is a name, or one ${ … } without text around it"
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
        return UpstreamChoice(template, self.upstreams, blame(template.uses))

    def _check_literals(self, node: Node) -> None:
        """An expression must not give the name of no upstream, whatever the environment or the request is."""
        part = split(node.value)[0]
        for name, offset in literal_results(parse(part.text)):
            self._named(name, node, node.span_at(part.offset + offset, len(name) + 2))

    def _named_at_load(self, template: Compiled, node: Node) -> UpstreamPlan:
        """An upstream whose name no request has a part in, so that it is known and checked here."""
        environment, reports = self.context.environment, self.context.findings.reports
        name = environment.value(template, node)
        if isinstance(name, str):
            return self._named(name, node)
        is_told = self.context.findings.reports > reports
        if not (is_told or environment.missing or environment.unsound):
            self.context.findings.error("unknown-upstream", "this gives no name of an upstream", node.span)
        return NOWHERE

    def _named(self, name: str, node: Node, span: Span | None = None) -> UpstreamPlan:
        """The upstream of this name; `span` is where it is written, `node` where that is not known."""
        if name in self.upstreams:
            return self.upstreams[name]
        span = span or node.span
        if not self.context.environment.may_tell(name):
            self.context.findings.error("unknown-upstream", "this names no upstream", span)
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
            message = "a call's path has no '?', '#', white space or dot segment; parameters go under query"
            self.context.findings.error("bad-path", message, node.span)
        return tuple(
            self._path_value(node.part(part.offset - 2, "${" + part.text + "}"), scope, label)
            if part.is_expression
            else PathPart(literal_path(part.text))
            for part in parts
        )

    def _path_value(self, node: Node, scope: Scope, label: str) -> PathPart:
        parameters: list[str] = []

        def use(writer: Writer, atom: Atom) -> None:
            writer.use(atom)
            parameters.append(self._path_parameter(atom))

        template = self.context.templates.compile(node, scope, f"{self.label} {label}.path", use)
        self.uses.append(template.uses)
        parameter = parameters[0] if len(parameters) == 1 else ""
        return PathPart("", template, parameter, blame(template.uses))

    def _path_parameter(self, atom: Atom) -> str:
        """The name of a `{name:path}` parameter, where a value is that and nothing more."""
        path = atom.variable or ()
        is_parameter = path[:-1] == ("request", "params") and self.params.get(str(path[-1])) == "rest"
        return str(path[-1]) if is_parameter else ""

    def _template(self, node: Node | None, scope: Scope, what: str) -> Compiled | None:
        compiled = self.context.template(node, scope, f"{self.label} {what}")
        if compiled is not None:
            self.uses.append(compiled.uses)
        return compiled


def call_variables(calls: Mapping[str, CallSpec]) -> Mapping[str, Variable]:
    """`$calls`: for each call a record of its fields, for one that is made for each item a list of these."""
    return {name: _call_variable(name, spec) for name, spec in calls.items()}


def _call_variable(name: str, spec: CallSpec) -> Variable:
    whole, path = f"x.calls[{name!r}]", ("calls", name)
    if spec.each is not None:
        return Atom(whole, "array", VariableOrigin(path))
    fields: dict[str, Variable] = {
        key: Atom(f"{whole}[{key!r}]", origin=VariableOrigin((*path, key))) for key in _FIELDS
    }
    return Record(fields, whole=Atom(whole, "object", VariableOrigin(path)))


def _way_back(needs: Mapping[str, frozenset[str]], start: str) -> list[str] | None:
    """A way from a call along what it waits for back to itself."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop()
        for name in sorted(needs.get(way[-1], ())):
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None


def compile_body_schema(context: MappingContext, node: Node | None) -> BodySchema | None:
    """A JSON Schema of a body; None where there is none, or it is a finding."""
    if node is None:
        return None
    try:
        return body_schema(node.value)
    except BodySchemaError as error:
        place = functools.reduce(lambda found, step: found[step], error.path, node)
        context.findings.error("bad-schema", str(error), place.span)
        return None
