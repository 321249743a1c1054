"""Routes: their paths, calls and answers, each expression compiled where it belongs."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from engine.codegen import Compiled
from engine.compile.context import MappingContext
from engine.compile.rules import state_variable
from engine.compile.sources import declared
from engine.compile.streams import compile_collect, compile_stream, reads_of
from engine.compile.upstreams import NOWHERE, literal_path
from engine.errors import suggestion
from engine.expressions import ExpressionSyntaxError, Scope
from engine.plan import (
    CallPlan,
    CasePlan,
    CollectPlan,
    PathPart,
    ReadTree,
    RoutePlan,
    StreamPlan,
    UpstreamPlan,
)
from engine.routing import segments
from engine.schema import BodySchema, BodySchemaError, body_schema
from engine.source import Node, Path
from engine.spec import CallSpec, CaseSpec, RouteSpec
from engine.templates import split

DEFAULT_MAX_BYTES = 32 * 1024 * 1024
_BODY_METHODS = ("POST", "PUT", "PATCH")
_PATH = re.compile(r"/[^\s?#\\]*\Z")
_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*(:path)?\}\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STATUS_READ = re.compile(r"\$upstream\s*\.\s*status")


class _RouteCompiler:
    """Compiles one route."""

    def __init__(self, context: MappingContext, route: RouteSpec, upstreams: Mapping[str, UpstreamPlan]):
        self.context = context
        self.findings = context.findings
        self.route = route
        self.upstreams = upstreams
        self.label = f"{route.method} {route.path}"
        self.params = self._params()
        self.reads: set[Path] = set()

    def compile(self, prefix: str, wants_key: bool) -> RoutePlan | None:
        """The route's plan; None where its key is no path."""
        is_sound = self._path_is_sound()
        route, request = self.route, self.route.request
        calls = [call for found in route.call if (call := self._call(found)) is not None]
        scope = self.context.respond_scope(self.params, has_call=self._has_call())
        cases = tuple(self._case(case, scope, number) for number, case in enumerate(route.respond))
        self._check_order(cases)
        schema = self._body_schema(request.schema) if request else None
        plan = RoutePlan(
            spec=route,
            method=route.method,
            pattern=prefix + route.path,
            wants_key=wants_key and route.auth != "none",
            max_bytes=DEFAULT_MAX_BYTES if not request or request.max_bytes is None else request.max_bytes,
            schema=schema,
            reads_body=bool(self.reads or any(reads for _, reads in calls))
            or schema is not None
            or self._may_drop(),
            reads_reply=bool(route.call) and self._reads_reply(cases),
            rejects_dropped=route.dropped == "reject",
            timeout=self.context.seconds(route.timeout, None),
            calls=tuple(replace(call, reads=read_tree(reads | self.reads)) for call, reads in calls),
            cases=cases,
            streams=bool(calls) and any(case.stream or case.collect for case in cases),
        )
        return plan if is_sound else None

    def _has_call(self) -> bool:
        """Whether the file has a call here, be it one that cannot be made out."""
        written = declared(self.context.spec, "routes").get(str(self.route.node.path[-1]))
        return bool(self.route.call) or (isinstance(written, dict) and "call" in written)

    def _may_drop(self) -> bool:
        """A body that nothing reads is looked at all the same: what a call leaves out is reported."""
        return bool(self.route.call) and self.route.method in _BODY_METHODS

    # The path

    def _params(self) -> dict[str, str]:
        params = {text: kind for kind, text in segments(self.route.path) if kind != "literal"}
        return params if self._path_problem() is None else dict.fromkeys(_NAME.findall(self.route.path), "")

    def _path_is_sound(self) -> bool:
        problem = self._path_problem()
        if problem:
            self.findings.error("bad-path", problem, self.route.node.key_span)
        return problem is None

    def _path_problem(self) -> str | None:
        path = self.route.path
        if not _PATH.match(path):
            return "a route's path holds no white space, '?', '#' or backslash"
        parts = path.removeprefix("/").split("/")
        if any(part in (".", "..") for part in parts) or "" in parts[:-1]:
            return "a route's path has no '.', '..' or empty segment"
        for part in parts:
            if ("{" in part or "}" in part) and not _PARAMETER.match(part):
                return f"'{part}' is no parameter: a whole segment is {{name}} or {{name:path}}"
        names = [text for kind, text in segments(path) if kind != "literal"]
        if len(set(names)) < len(names):
            return "a route's parameters have different names"
        if [kind for kind, _ in segments(path)].count("rest") > 1:
            return "a route has one {name:path} at most"
        return None

    # The call

    def _call(self, call: CallSpec) -> tuple[CallPlan, set[Path]] | None:
        """A call, and the fields of the client's body that it reads; a condition is read by all of them."""
        outer, self.reads = self.reads, set()
        scope = self.context.call_scope(self.params)
        when = self._template(call.when, scope, "call.when")
        outer, self.reads = outer | self.reads, set()
        upstream = self._upstream(call.upstream)
        path = self._call_path(call.path, scope)
        plan = CallPlan(
            when=when,
            upstream=upstream or NOWHERE,
            method=call.method or ("POST" if call.body or call.form else "GET"),
            path=path,
            query=self._template(call.query, scope, "call.query"),
            headers=self._template(call.headers, scope, "call.headers"),
            body=self._template(call.body, scope, "call.body"),
            form=self._template(call.form, scope, "call.form"),
            timeout=self.context.seconds(call.timeout, None),
            response_schema=self._body_schema(call.response_schema),
        )
        reads, self.reads = self.reads, outer
        return (plan, reads) if upstream else None

    def _upstream(self, node: Node) -> UpstreamPlan | None:
        name = str(node.value)
        if name in self.upstreams:
            return self.upstreams[name]
        known = declared(self.context.spec, "upstreams")
        if name not in known:
            hint = suggestion(name, known)
            self.findings.error("unknown-upstream", f"unknown upstream '{name}'", node.span, hint)
        return None

    def _call_path(self, node: Node, scope: Scope) -> tuple[PathPart, ...]:
        try:
            parts = split(node.value)
        except ExpressionSyntaxError as error:
            self.findings.error("bad-expression", error.message, node.span_at(error.offset, 2))
            return ()
        literal = "".join("x" if part.is_expression else part.text for part in parts)
        if not _PATH.match(literal) or any(part in (".", "..") for part in literal.split("/")):
            message = "a call's path has no '?', '#', white space or dot segment; parameters go under query"
            self.findings.error("bad-path", message, node.span)
        return tuple(
            self._path_value(node.part(part.offset - 2, "${" + part.text + "}"), part.text, scope)
            if part.is_expression
            else PathPart(literal_path(part.text))
            for part in parts
        )

    def _path_value(self, node: Node, text: str, scope: Scope) -> PathPart:
        template = self._template(node, scope, "call.path")
        return PathPart("", template, self._is_path_parameter(text))

    def _is_path_parameter(self, text: str) -> bool:
        name = text.strip().removeprefix("$request.params.")
        return text.strip().startswith("$request.params.") and self.params.get(name) == "rest"

    # The answer

    def _case(self, case: CaseSpec, scope: Scope, number: int) -> CasePlan:
        label = "respond" if len(self.route.respond) == 1 else f"respond[{number}]"
        status = case.status
        return CasePlan(
            when=self._template(case.when, scope, f"{label}.when"),
            for_failures=case.when is not None and _reads_status(case.when.value),
            status=self._status(status, scope, label) if status else 200,
            headers=self._template(case.headers, scope, f"{label}.headers"),
            body=self._body(case, scope, label),
            stream=self._stream(case, scope, label) if case.stream else None,
            collect=self._collect(case, scope, label) if case.collect else None,
        )

    def _body(self, case: CaseSpec, scope: Scope, label: str) -> Compiled | None:
        if case.body is not None and case.stream is not None:
            message = "a case has a body or a stream, not both"
            self.findings.error("misused-stream", message, case.body.key_span)
        if case.collect is not None and case.collect.state is not None:
            names = case.collect.state.value
            scope = scope.with_variables({"state": state_variable(names, "x.state")})
        return self._template(case.body, scope, f"{label}.body")

    def _stream(self, case: CaseSpec, scope: Scope, label: str) -> StreamPlan:
        assert case.stream is not None
        has_call = self._has_call()
        plan = compile_stream(self.context, case.stream, scope, f"{self.label} {label}.stream", has_call)
        self.reads |= reads_of(plan)
        return plan

    def _collect(self, case: CaseSpec, scope: Scope, label: str) -> CollectPlan:
        assert case.collect is not None
        if not self._has_call():
            message = "'collect' reads the upstream's stream; this route calls none"
            self.findings.error("misused-stream", message, case.collect.node.key_span)
        plan = compile_collect(self.context, case.collect, scope, f"{self.label} {label}.collect")
        self.reads |= reads_of(plan)
        return plan

    def _check_order(self, cases: tuple[CasePlan, ...]) -> None:
        """Whether an answer streams is known before the upstream's body is there."""
        streaming = [number for number, case in enumerate(cases) if case.stream or case.collect]
        if not streaming or not self._has_call():
            return
        for case, written in zip(cases[: streaming[-1] + 1], self.route.respond, strict=False):
            if case.when is not None and case.when.reads_reply and written.when is not None:
                message = "this is asked before the upstream's body is there: a stream may be the answer"
                self.findings.error("misused-stream", message, written.when.span)

    def _status(self, node: Node, scope: Scope, label: str) -> int | Compiled:
        status = self.context.status(node, scope, f"{self.label} {label}.status")
        if not isinstance(status, int):
            self.reads |= status.reads
        return status

    def _reads_reply(self, cases: Iterable[CasePlan]) -> bool:
        """Whether any answer needs the upstream's body parsed."""
        parts = (part for case in cases for part in (case.when, case.status, case.headers, case.body))
        return any(isinstance(part, Compiled) and part.reads_reply for part in parts)

    # Common

    def _template(self, node: Node | None, scope: Scope, what: str) -> Compiled | None:
        compiled = self.context.template(node, scope, f"{self.label} {what}")
        if compiled is not None:
            self.reads |= compiled.reads
        return compiled

    def _body_schema(self, node: Node | None) -> BodySchema | None:
        if node is None:
            return None
        try:
            return body_schema(node.value)
        except BodySchemaError as error:
            place = functools.reduce(lambda found, step: found[step], error.path, node)
            self.findings.error("bad-schema", str(error), place.span)
            return None


def compile_route(
    context: MappingContext,
    route: RouteSpec,
    upstreams: Mapping[str, UpstreamPlan],
    prefix: str,
    wants_key: bool,
) -> RoutePlan | None:
    """One route → its plan; None where it cannot be served, which is then a finding."""
    return _RouteCompiler(context, route, upstreams).compile(prefix, wants_key)


def _reads_status(value: object) -> bool:
    return isinstance(value, str) and bool(_STATUS_READ.search(value))


def read_tree(paths: Iterable[Path]) -> ReadTree:
    """The fields read, as a tree; what is read whole covers all below it."""
    tree: dict[str | int, ReadTree] = {}
    for path in sorted(paths, key=len):
        if not path:
            return True
        branch: ReadTree = tree
        for step in path[:-1]:
            branch = branch if branch is True else branch.setdefault(step, {})  # type: ignore[union-attr]
        if isinstance(branch, dict):
            branch[path[-1]] = True
    return tree
