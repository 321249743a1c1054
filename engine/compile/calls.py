"""Calls and forwards: their upstreams, paths and templates, and which call waits for which."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.codegen import Atom, Compiled
from engine.compile.context import MappingContext
from engine.compile.paths import PLAIN_PATH
from engine.compile.sources import declared
from engine.compile.upstreams import NOWHERE
from engine.errors import suggestion
from engine.expressions import ExpressionSyntaxError, Record, Scope, Variable
from engine.http import literal_path
from engine.messages import MAX_BODY_BYTES
from engine.plan import CallPlan, ForwardPlan, PathPart, UpstreamChoice, UpstreamPlan
from engine.schema import BodySchema, BodySchemaError, body_schema
from engine.source import Node, Path
from engine.spec import AttemptSpec, CallSpec, ForwardSpec
from engine.templates import is_static, single_expression, split

_FIELDS: Final = ("status", "headers", "body", "error")
_CALL_READ = re.compile(r"x\.calls\['(\w+)'\]")
_REQUEST_READ = re.compile(r"\b[px]\b")
_SINGLE_ONLY: Final = ("on_error", "each", "parallel", "cache")


@dataclass(slots=True)
class CallCompiler:
    """Compiles the calls of one attempt.

    Attributes:
        params: the route's parameters with their kinds.
        label: what generated functions are named by.
        reads: the fields of the client's body that have been read since this was last emptied.
    """

    context: MappingContext
    upstreams: Mapping[str, UpstreamPlan]
    params: Mapping[str, str]
    label: str
    reads: set[Path] = field(default_factory=set)

    # Several calls

    def cases(self, attempt: AttemptSpec) -> list[tuple[CallPlan, set[Path]]]:
        """Calls of which one is made, each with the fields of the client's body that it reads."""
        found = []
        for spec in attempt.call:
            self._check_single(spec)
            found.append(self._with_reads(spec, "call", self._scope(attempt)))
        return found

    def _scope(self, attempt: AttemptSpec) -> Scope:
        """What calls see: those that have names, where there are any."""
        scope = self.context.call_scope(self.params)
        if not attempt.calls:
            return scope
        return scope.with_variables({"calls": Record(call_variables(attempt.calls))})

    def together(self, attempt: AttemptSpec) -> list[tuple[CallPlan, set[Path]]]:
        """Calls that are all made, in the order of their names in the file."""
        scope, found = self._scope(attempt), []
        for name, spec in attempt.calls.items():
            plan, reads = self._with_reads(spec, f"calls.{name}", scope, name)
            found.append((plan, reads))
        self._check_cycles(attempt, [plan for plan, _ in found])
        return found

    def _with_reads(
        self, spec: CallSpec, label: str, scope: Scope, name: str = ""
    ) -> tuple[CallPlan, set[Path]]:
        self.reads = set()
        return self._call(spec, label, scope, name), self.reads

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
        outer = scope
        if spec.each is not None:
            scope = scope.with_payload(Atom("p")).with_variables({"index": Atom("x.index", "number")})
        elif (node := spec.node.get("parallel")) is not None:
            message = "'parallel' has a meaning only with 'each'"
            self.context.findings.error("misused-call", message, node.key_span)
        query = self._template(spec.query, scope, f"{label}.query")
        headers = self._template(spec.headers, scope, f"{label}.headers")
        body = self._template(spec.body, scope, f"{label}.body")
        form = self._template(spec.form, scope, f"{label}.form")
        when = self._template(spec.when, outer, f"{label}.when")
        each = self._template(spec.each, outer, f"{label}.each")
        upstream = self.upstream(spec.upstream, scope, label)
        path = self._path(spec.path, scope, label)
        needed = [when, each, query, headers, body, form, *(part.template for part in path)]
        if isinstance(upstream, UpstreamChoice):
            needed.append(upstream.template)
        return CallPlan(
            when=when,
            upstream=upstream,
            method=spec.method or ("POST" if spec.body or spec.form else "GET"),
            path=path,
            query=query,
            headers=headers,
            body=body,
            form=form,
            timeout=self.context.seconds(spec.timeout, None),
            response_schema=compile_body_schema(self.context, spec.response_schema),
            name=name,
            needs=_needs(needed),
            continues=spec.on_error == "continue",
            each=each,
            parallel=spec.parallel,
            cache=self.context.seconds(spec.cache, None),
            max_bytes=MAX_BODY_BYTES if spec.max_bytes is None else spec.max_bytes,
        )

    def forward(self, spec: ForwardSpec) -> ForwardPlan:
        """A request that goes through; templates read the client's body."""
        scope = self.context.call_scope(self.params)
        return ForwardPlan(
            upstream=self.upstream(spec.upstream, scope, "forward"),
            path=self._path(spec.path, scope, "forward"),
            headers=self._template(spec.headers, scope, "forward.headers"),
            replaced=frozenset(name.lower() for name in spec.headers.value) if spec.headers else frozenset(),
            timeout=self.context.seconds(spec.timeout, None),
        )

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
        if _REQUEST_READ.search(template.source.partition("\n")[2]):
            return UpstreamChoice(template, self.upstreams)
        return self._named_at_load(template, node)

    def _named_at_load(self, template: Compiled, node: Node) -> UpstreamPlan:
        """An upstream whose name no request has a part in, so that it is known and checked here."""
        name = template.function(None, None)
        if isinstance(name, str):
            return self._named(name, node)
        environment = self.context.environment
        if not (environment.missing or environment.unsound):
            self.context.findings.error("unknown-upstream", "this gives no name of an upstream", node.span)
        return NOWHERE

    def _named(self, name: str, node: Node) -> UpstreamPlan:
        if name in self.upstreams:
            return self.upstreams[name]
        if not self.context.environment.may_tell(name):
            self.context.findings.error("unknown-upstream", "this names no upstream", node.span)
            return NOWHERE
        known = {*declared(self.context.spec, "upstreams"), *self.upstreams}
        if name not in known:
            hint = suggestion(name, known)
            self.context.findings.error("unknown-upstream", f"unknown upstream '{name}'", node.span, hint)
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
            self._path_value(node.part(part.offset - 2, "${" + part.text + "}"), part.text, scope, label)
            if part.is_expression
            else PathPart(literal_path(part.text))
            for part in parts
        )

    def _path_value(self, node: Node, text: str, scope: Scope, label: str) -> PathPart:
        template = self._template(node, scope, f"{label}.path")
        return PathPart("", template, self._path_parameter(text))

    def _path_parameter(self, text: str) -> str:
        """The name of a `{name:path}` parameter, where an expression is that and nothing more."""
        name = text.strip().removeprefix("$request.params.")
        is_one = text.strip().startswith("$request.params.") and self.params.get(name) == "rest"
        return name if is_one else ""

    def _template(self, node: Node | None, scope: Scope, what: str) -> Compiled | None:
        compiled = self.context.template(node, scope, f"{self.label} {what}")
        if compiled is not None:
            self.reads |= compiled.reads
        return compiled


def call_variables(calls: Mapping[str, CallSpec]) -> Mapping[str, Variable]:
    """`$calls`: for each call a record of its fields, for one that is made for each item a list of these."""
    return {name: _call_variable(name, spec) for name, spec in calls.items()}


def _call_variable(name: str, spec: CallSpec) -> Variable:
    whole = f"x.calls[{name!r}]"
    if spec.each is not None:
        return Atom(whole, "array")
    fields: dict[str, Variable] = {key: Atom(f"{whole}[{key!r}]") for key in _FIELDS}
    return Record(fields, whole=Atom(whole, "object"))


def _needs(templates: Iterable[Compiled | None]) -> frozenset[str]:
    found: set[str] = set()
    for template in templates:
        if template is not None:
            found.update(_CALL_READ.findall(template.source))
    return frozenset(found)


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
