"""Compiles routes: their paths, request bodies, attempts, limits and caches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

from engine.compiler.attempts import AttemptCompiler
from engine.compiler.calls import compile_body_schema
from engine.compiler.client_keys import KeysPlan
from engine.compiler.context import MappingContext
from engine.compiler.numbers import given_number
from engine.compiler.rate_limits import compile_rate
from engine.compiler.reachability import is_unconditional, warn_of_unreachable
from engine.compiler.reads import REQUEST_KEY, RESPONSE_BODY, request_headers
from engine.compiler.request_checks import compile_checks, dropped_fields
from engine.compiler.route_paths import foreign_parameters, parameters, path_problem
from engine.compiler.written_keys import has_key, is_misspelled
from engine.errors import EvaluationError, ExchangeError
from engine.http.messages import MAX_BODY_BYTES
from engine.http.methods import BODY_METHODS, PATCH
from engine.language.budget import Budget
from engine.language.codegen import Compiled
from engine.language.expressions import CLIENT_BODY
from engine.language.spec import RouteSpec
from engine.language.uses import Uses
from engine.plan import AttemptPlan, CachePlan, RatePlan, RoutePlan, UpstreamPlan, possible_upstreams

#: Methods whose requests have no body, if no upstream is called that may define one (RFC 9110, 9.3.1).
_WITHOUT_BODY: Final = ("GET", "HEAD")
_OWN_ACTIONS: Final = ("call", "calls", "forward", "respond")


class _RouteCompiler:
    """Compiles one route."""

    def __init__(
        self, context: MappingContext, route: RouteSpec, upstreams: Mapping[str, UpstreamPlan]
    ) -> None:
        self.context = context
        self.findings = context.findings
        self.route = route
        label = f"{route.method} {route.path}"
        params, is_builtin = parameters(route.path), route.builtin is not None
        self.label, self.params = label, params
        self.usage = self._usage()
        self.usage_fields = self._usage_fields()
        counted = frozenset() if self.usage is None else self.usage_fields
        self.attempts = AttemptCompiler(
            context,
            upstreams,
            params,
            label,
            is_builtin,
            has_body=route.method not in _WITHOUT_BODY or route.request is not None,
            notes_nulls=route.method == PATCH,
            counted=counted,
        )

    def compile(self, prefix: str, keys: KeysPlan, rates: tuple[RatePlan, ...]) -> RoutePlan | None:
        """The route's plan; None if its path is invalid."""
        is_sound = self._path_is_sound()
        self._check_actions()
        route, request = self.route, self.route.request
        checks = compile_checks(self.context, request, self.params, self.label)
        if checks is not None:
            self.attempts.conditions.append(checks.uses)
        self._check_drop()
        attempts = tuple(self._attempts())
        self._check_usage(attempts)
        if self.usage is not None and self.usage.uses.refers_to(RESPONSE_BODY):
            attempts = tuple(
                replace(a, reads_upstream_body=a.reads_upstream_body or bool(a.calls)) for a in attempts
            )
        schema = compile_body_schema(self.context, request.schema if request else None)
        max_bytes = given_number(self.context, request, "max_bytes") if request is not None else None
        plan = RoutePlan(
            spec=route,
            method=route.method,
            pattern=prefix + route.path,
            requires_key=bool(keys.bearer) and route.auth != "none",
            max_bytes=MAX_BODY_BYTES if max_bytes is None else max_bytes,
            max_forwarded=max_bytes,
            schema=schema,
            checks=checks,
            drops=dropped_fields(request),
            reads_body=self._reads_body(attempts) or schema is not None,
            rejects_dropped=route.dropped == "reject",
            timeout=self.context.seconds(route.timeout),
            cache=self._cache(attempts),
            attempts=attempts,
            buffers_body=_buffers_body(attempts),
            builtin=route.builtin,
            denied_keys=keys.denied_for(route),
            rates=(*filter(None, [self._rate(route)]), *rates),
            concurrency=given_number(self.context, route, "concurrency"),
            usage=self.usage,
            usage_fields=self.usage_fields,
        )
        return plan if is_sound else None

    def _path_is_sound(self) -> bool:
        problem = path_problem(self.route.path)
        if problem:
            self.findings.error("bad-path", problem, self.route.node.key_span)
        for _, segment, name in foreign_parameters(self.route.path):
            if not segment.startswith("{"):
                message = f"'{segment}' is literal text in this path, not a parameter"
                hint = f"write '{{{name}}}'"
                self.findings.warning("literal-parameter", message, self.route.node.key_span, hint)
        return problem is None

    # Attempts

    def _check_actions(self) -> None:
        """Report conflicting or missing keys: `try` and `builtin` exclude the others."""
        node = self.route.node
        others = [action for action in (*_OWN_ACTIONS, "builtin") if has_key(node, action)]
        if has_key(node, "try"):
            for action in others:
                message = f"'{action}' must be in one of the attempts of 'try'"
                self.findings.error("misused-call", message, node[action].key_span)
        elif has_key(node, "builtin"):
            allowed = ("builtin", "respond") if self.route.builtin == "health" else ("builtin",)
            for action in others:
                if action not in allowed:
                    message = f"'{action}' cannot be combined with 'builtin'"
                    self.findings.error("misused-call", message, node[action].key_span)
        elif not others and not is_misspelled(node, (*_OWN_ACTIONS, "try", "builtin")):
            message = "a route needs one of respond, call, calls, try, forward or builtin"
            self.findings.error("missing-key", message, node.key_span)

    def _attempts(self) -> Iterator[AttemptPlan]:
        node = self.route.node
        if has_key(node, "try"):
            self._check_reachable()
            yield from map(self.attempts.compile, self.route.try_)
        elif any(has_key(node, action) for action in _OWN_ACTIONS) and not self._is_builtin_response():
            yield from map(self.attempts.compile, self.route.attempts)

    def _is_builtin_response(self) -> bool:
        """Whether the engine produces the complete response, without an attempt."""
        return self.route.builtin is not None and not self.route.respond

    def _check_reachable(self) -> None:
        """Warn of attempts after one that always responds."""
        found = []
        for attempt in self.route.try_:
            calls = attempt.call or attempt.calls or attempt.forward
            always = is_unconditional(attempt) and not calls and bool(attempt.respond)
            found.append((attempt.node, always, False))
        warn_of_unreachable("unreachable-attempt", found, self.findings)

    def _reads_body(self, attempts: tuple[AttemptPlan, ...]) -> bool:
        every = [*self.attempts.uses, *self.attempts.conditions]
        every += () if self.usage is None else (self.usage.uses,)
        return any(uses.refers_to(CLIENT_BODY) for uses in every) or self._may_drop(attempts)

    def _check_drop(self) -> None:
        """Warn of dropped fields in a route that makes no call: it reports none."""
        request = self.route.request
        makes_calls = any(has_key(a.node, "call") or has_key(a.node, "calls") for a in self.route.attempts)
        if request is not None and request.drop and not makes_calls:
            message = "'drop' has no effect, as this route makes no call that could carry the fields over"
            self.findings.warning("no-effect", message, request.node["drop"].key_span)

    def _usage(self) -> Compiled | None:
        """The template of `usage`, which reads the response of a call."""
        scope = self.context.respond_scope(self.params, has_call=True)
        return self.context.template(self.route.usage, scope, f"{self.label} usage")

    def _check_usage(self, attempts: tuple[AttemptPlan, ...]) -> None:
        node = self.route.usage
        if node is not None and attempts and not any(attempt.calls for attempt in attempts):
            message = "'usage' reads the response of a call, but this route makes no call, or only forwards"
            self.findings.error("misused-call", message, node.key_span)

    def _usage_fields(self) -> frozenset[str] | None:
        """The fields without which a response has no counts; None if it may have some without any of them."""
        usage, coverage = self.usage, self.context.templates.coverage
        if usage is None or not usage.uses.is_pure:
            return None
        inside = usage.uses.reads_below(RESPONSE_BODY)
        steps = {path[0] if path else None for path in inside}
        fields = frozenset(step for step in steps if isinstance(step, str))
        if len(inside) < len(usage.uses.reads) or len(fields) < len(steps):
            return None
        with nullcontext() if coverage is None else coverage.paused():
            return None if _has_counts(usage) else fields

    def _may_drop(self, attempts: tuple[AttemptPlan, ...]) -> bool:
        """Whether a body must be parsed even if nothing reads it, to report fields that a call omits."""
        return self.route.method in BODY_METHODS and any(attempt.calls for attempt in attempts)

    def _rate(self, route: RouteSpec) -> RatePlan | None:
        scope = f"{self.context.spec.name} {route.method} {route.path}"
        return compile_rate(self.context, route.rate_limit, scope)

    # The cache

    def _cache(self, attempts: tuple[AttemptPlan, ...]) -> CachePlan | None:
        seconds = self.context.seconds(self.route.cache)
        if seconds is None:
            return None
        if self.route.builtin or any(attempt.forward for attempt in attempts):
            message = "only responses from 'respond' can be cached"
            self.findings.error("misused-call", message, self.route.node["cache"].key_span)
        uses = Uses.of_all(self.attempts.uses)
        by_key = uses.refers_to(REQUEST_KEY)
        return CachePlan(seconds, request_headers(uses), by_key)


def _has_counts(usage: Compiled) -> bool:
    """Whether `usage` gives counts for a response without fields, or fails for it."""
    try:
        return bool(usage.function({}, Budget()))
    except (EvaluationError, ExchangeError):
        return True


def _buffers_body(attempts: tuple[AttemptPlan, ...]) -> bool:
    """Whether a `forward` needs all of the body: to send it again, or to authenticate it."""
    forwards = [attempt.forward for attempt in attempts if attempt.forward is not None]
    authenticated = any(upstream.auth.needs_body for upstream in possible_upstreams(*forwards))
    return authenticated or (len(attempts) > 1 and bool(forwards))


def compile_route(
    context: MappingContext,
    route: RouteSpec,
    upstreams: Mapping[str, UpstreamPlan],
    prefix: str,
    keys: KeysPlan,
    rates: tuple[RatePlan, ...],
) -> RoutePlan | None:
    """The plan of a route; None after a finding about its path."""
    return _RouteCompiler(context, route, upstreams).compile(prefix, keys, rates)
