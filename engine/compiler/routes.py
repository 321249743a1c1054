"""Routes: their paths, what they accept, and the ways in which they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from engine.compiler.attempts import AttemptCompiler, has_way, is_misspelt
from engine.compiler.calls import compile_body_schema
from engine.compiler.client_keys import KeysPlan
from engine.compiler.context import MappingContext
from engine.compiler.rate_limits import compile_rate
from engine.compiler.reads import REQUEST_KEY, RESPONSE_BODY, request_headers
from engine.compiler.route_paths import parameters, path_problem
from engine.http.messages import MAX_BODY_BYTES
from engine.http.methods import BODY_METHODS, PATCH
from engine.language.codegen import Compiled
from engine.language.expressions import CLIENT_BODY
from engine.language.spec import RouteSpec
from engine.language.uses import Uses
from engine.plan import AttemptPlan, CachePlan, RatePlan, RoutePlan, UpstreamPlan

_OWN_WAYS: Final = ("call", "calls", "forward", "respond")


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
        self.attempts = AttemptCompiler(
            context, upstreams, params, label, is_builtin, notes_nulls=route.method == PATCH
        )

    def compile(self, prefix: str, keys: KeysPlan, rates: tuple[RatePlan, ...]) -> RoutePlan | None:
        """The route's plan; None where its key is no path."""
        is_sound = self._path_is_sound()
        self._check_ways()
        route, request = self.route, self.route.request
        attempts = tuple(self._attempts())
        usage = self._usage(attempts)
        if usage is not None and usage.uses.refers_to(RESPONSE_BODY):
            attempts = tuple(
                replace(a, reads_upstream_body=a.reads_upstream_body or bool(a.calls)) for a in attempts
            )
        schema = compile_body_schema(self.context, request.schema if request else None)
        max_bytes = request.max_bytes if request else None
        plan = RoutePlan(
            spec=route,
            method=route.method,
            pattern=prefix + route.path,
            wants_key=bool(keys.bearer) and route.auth != "none",
            max_bytes=MAX_BODY_BYTES if max_bytes is None else max_bytes,
            max_forwarded=max_bytes,
            schema=schema,
            reads_body=self._reads_body(attempts, usage) or schema is not None,
            rejects_dropped=route.dropped == "reject",
            timeout=self.context.seconds(route.timeout, None),
            cache=self._cache(attempts),
            attempts=attempts,
            keeps_body=len(attempts) > 1 and any(attempt.forward for attempt in attempts),
            builtin=route.builtin,
            barred=keys.barred(route),
            rates=(*filter(None, [self._rate(route)]), *rates),
            concurrency=route.concurrency,
            usage=usage,
        )
        return plan if is_sound else None

    def _path_is_sound(self) -> bool:
        problem = path_problem(self.route.path)
        if problem:
            self.findings.error("bad-path", problem, self.route.node.key_span)
        return problem is None

    # The ways to answer

    def _check_ways(self) -> None:
        """`try` and `builtin` stand for all other ways."""
        node = self.route.node
        others = [way for way in (*_OWN_WAYS, "builtin") if has_way(node, way)]
        if has_way(node, "try"):
            for way in others:
                message = f"'{way}' belongs into one of the attempts of 'try'"
                self.findings.error("misused-call", message, node[way].key_span)
        elif has_way(node, "builtin"):
            allowed = ("builtin", "respond") if self.route.builtin == "health" else ("builtin",)
            for way in others:
                if way not in allowed:
                    message = f"'{way}' cannot stand beside 'builtin'"
                    self.findings.error("misused-call", message, node[way].key_span)
        elif not others and not is_misspelt(node, (*_OWN_WAYS, "try", "builtin")):
            message = "a route has respond, call, calls, try, forward or builtin"
            self.findings.error("missing-key", message, node.key_span)

    def _attempts(self) -> Iterator[AttemptPlan]:
        node = self.route.node
        if has_way(node, "try"):
            self._check_reachable()
            yield from map(self.attempts.compile, self.route.try_)
        elif any(has_way(node, way) for way in _OWN_WAYS) and not self._is_fixed():
            yield from map(self.attempts.compile, self.route.attempts)

    def _is_fixed(self) -> bool:
        """An answer of the engine's own, which no attempt writes."""
        return self.route.builtin is not None and not self.route.respond

    def _check_reachable(self) -> None:
        """After an attempt that cannot fail none comes."""
        for number, attempt in enumerate(self.route.try_[:-1]):
            calls = attempt.call or attempt.calls or attempt.forward
            if attempt.when is None and not calls and attempt.respond:
                following = self.route.try_[number + 1].node
                message = "no request comes to this attempt: the one before it always answers"
                self.findings.warning("unreachable-attempt", message, following.key_span)
                return

    def _reads_body(self, attempts: tuple[AttemptPlan, ...], usage: Compiled | None) -> bool:
        every = [*self.attempts.uses, *(() if usage is None else (usage.uses,))]
        return any(uses.refers_to(CLIENT_BODY) for uses in every) or self._may_drop(attempts)

    def _usage(self, attempts: tuple[AttemptPlan, ...]) -> Compiled | None:
        """What tells how much an exchange has used; it is read from what a call was answered."""
        node = self.route.usage
        if node is None:
            return None
        if attempts and not any(attempt.calls for attempt in attempts):
            message = "'usage' reads the answer of a call; this route makes none whose answer is read"
            self.findings.error("misused-call", message, node.key_span)
        scope = self.context.respond_scope(self.params, has_call=True)
        return self.context.template(node, scope, f"{self.label} usage")

    def _may_drop(self, attempts: tuple[AttemptPlan, ...]) -> bool:
        """A body that nothing reads is looked at all the same: what a call leaves out is reported."""
        return self.route.method in BODY_METHODS and any(attempt.calls for attempt in attempts)

    def _rate(self, route: RouteSpec) -> RatePlan | None:
        scope = f"{self.context.spec.name} {route.method} {route.path}"
        return compile_rate(self.context, route.rate_limit, scope)

    # The cache

    def _cache(self, attempts: tuple[AttemptPlan, ...]) -> CachePlan | None:
        node = self.route.cache
        if node is None:
            return None
        if self.route.builtin or any(attempt.forward for attempt in attempts):
            message = "only answers that are written by 'respond' can be kept"
            self.findings.error("misused-call", message, node.key_span)
        seconds = self.context.seconds(node, None)
        uses = Uses.of_all(self.attempts.uses)
        by_key = uses.refers_to(REQUEST_KEY)
        return None if seconds is None else CachePlan(seconds, request_headers(uses), by_key)


def compile_route(
    context: MappingContext,
    route: RouteSpec,
    upstreams: Mapping[str, UpstreamPlan],
    prefix: str,
    keys: KeysPlan,
    rates: tuple[RatePlan, ...],
) -> RoutePlan | None:
    """One route → its plan; None where it cannot be served, which is then a finding."""
    return _RouteCompiler(context, route, upstreams).compile(prefix, keys, rates)
