"""Compiles mappings and sets of mappings, and checks them as a whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from engine.compiler import environment as load_time
from engine.compiler.client_keys import check_key_routes, compile_keys
from engine.compiler.context import MappingContext
from engine.compiler.cors import compile_cors
from engine.compiler.files import declared
from engine.compiler.numbers import number
from engine.compiler.rate_limits import compile_rate
from engine.compiler.routes import compile_route
from engine.compiler.secrets import secrets_of
from engine.compiler.streams import check_streams
from engine.compiler.unused import warn_of_unused
from engine.compiler.upstreams import compile_upstream
from engine.diagnostics import Findings, suggestion
from engine.http.routing import RouteTree
from engine.language.budget import DEFAULT_LIMITS, Limits
from engine.language.spec import ErrorsSpec, LimitsSpec, MappingSpec
from engine.language.templates import Coverage, TemplateCompiler
from engine.locations import Node
from engine.plan import ErrorsPlan, MappingPlan, PlanSet, PlanTree, RoutePlan

#: Keys about clients.
_CLIENT_KEYS: Final = ("prefix", "auth", "cors")

_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?\Z")


def compile_set(
    mappings: Iterable[MappingSpec],
    environ: Mapping[str, str],
    findings: Findings,
    *,
    served_together: bool = True,
    coverage: Coverage | None = None,
) -> PlanSet:
    """Compile loaded mappings.

    Args:
        mappings: the result of `load`.
        environ: the environment that `env` reads.
        findings: receives all findings; the plans can be served only if it has no errors.
        served_together: whether one process serves all mappings, unlike in `validate`. If so, conflicting
            routes and missing required variables are errors, otherwise notes.
        coverage: counts the executed branches of templates.
    """
    plans: dict[str, MappingPlan] = {}
    tree: PlanTree = RouteTree()
    mappings = list(mappings)
    for written in mappings:
        spec = written if written.public else _without_client_keys(written, findings)
        plan = _compile(spec, environ, findings, served_together, coverage)
        if "routes" not in spec.document.original and not spec.routes:
            continue  # only for inclusion in other files
        if plan.name in plans:
            message = f"duplicate mapping name '{plan.name}'"
            span = (spec.node.get("name") or spec.node).span
            (findings.error if served_together else findings.note)("duplicate-name", message, span)
        plans.setdefault(plan.name, plan)
        _add_routes(tree if plan.is_public else RouteTree(), plan, findings, served_together)
    _check_mapping_upstreams(plans, environ, findings, served_together)
    if not findings.has_errors:
        warn_of_unused(mappings, findings)  # with errors, what is used is not known
    return PlanSet(plans, tree)


def _add_routes(tree: PlanTree, plan: MappingPlan, findings: Findings, served_together: bool) -> None:
    for route in plan.routes:
        other = tree.add(plan, route, route.method, route.pattern)
        if other is not None and (served_together or not _is_shared(route, other.route)):
            there = other.route.spec.node.key_span
            message = f"'{route.method} {route.pattern}' conflicts with the route at {there}"
            same_file = other.owner is plan
            report = findings.error if served_together or same_file else findings.note
            report("route-conflict", message, route.spec.node.key_span)


def _is_shared(route: RoutePlan, other: RoutePlan) -> bool:
    """Whether two mappings have the same route of the same file: one includes and replaces the other."""
    here, there = route.spec.node.key_span, other.spec.node.key_span
    return here.line == there.line and os.path.realpath(here.file.name) == os.path.realpath(there.file.name)


def _without_client_keys(spec: MappingSpec, findings: Findings) -> MappingSpec:
    """A mapping that is not public, without what concerns only clients. Such keys in its own file are
    reported."""
    for name in _CLIENT_KEYS:
        node = spec.node.get(name)
        if node is not None:
            message = f"'{name}' has no effect: with 'public: false', only other mappings call this one"
            findings.warning("unused-key", message, node.key_span)
    return replace(spec, prefix=None, auth=None, cors=None)


# --- One mapping -----------------------------------------------------------------------------------------


def _compile(
    spec: MappingSpec,
    environ: Mapping[str, str],
    findings: Findings,
    is_served: bool,
    coverage: Coverage | None,
) -> MappingPlan:
    templates = TemplateCompiler(findings, _named(spec), spec.document.file.name, coverage)
    templates.streams = spec.streams
    environment = load_time.resolve(spec, environ, templates, findings, is_served)
    context = MappingContext(spec, environment, templates, findings)
    upstreams = {name: compile_upstream(context, name, u) for name, u in spec.upstreams.items()}
    keys = compile_keys(context, spec.auth)
    prefix = _prefix(context, spec.prefix)
    rate = compile_rate(context, spec.rate_limit, spec.name)
    rates = (rate,) if rate is not None else ()
    routes = tuple(
        compiled
        for route in spec.routes.values()
        if (compiled := compile_route(context, route, upstreams, prefix, keys, rates)) is not None
    )
    plan = MappingPlan(
        spec=spec,
        name=spec.name,
        prefix=prefix,
        keys=keys.bearer,
        key_rates=keys.rates,
        is_public=spec.public,
        is_open=spec.auth is not None and spec.auth.value == "none",
        cors=compile_cors(context, spec.cors),
        errors=_errors(context, spec.errors),
        upstreams=upstreams,
        routes=routes,
        tree=RouteTree(),
        limits=_limits(context, spec.limits),
        secrets=secrets_of(environment, upstreams.values()),
    )
    for route in routes:
        plan.tree.add(plan, route, route.method, route.spec.path)
    check_key_routes(context, keys)
    check_streams(context)
    _check_unused_templates(context)
    return plan


def _named(spec: MappingSpec) -> Mapping[str, Node]:
    """The mapping's templates, also those with an invalid name, which already have a finding."""
    unsound = declared(spec, "templates")
    nodes = {name: Node(spec.document, ("templates", name), value) for name, value in unsound.items()}
    return {**nodes, **spec.templates}


def _prefix(context: MappingContext, node: Node | None) -> str:
    if node is None:
        return ""
    prefix = (context.text(node, "prefix", secrets=False) or "").rstrip("/")
    if not _PREFIX.match(prefix):
        context.findings.error(
            "bad-path", "a prefix must be a plain path such as /v2/models, or empty", node.span
        )
        return ""
    return prefix


def _errors(context: MappingContext, spec: ErrorsSpec | None) -> ErrorsPlan:
    if spec is None:
        return ErrorsPlan()
    scope = context.errors_scope()
    status = context.status(spec.status, scope, "errors.status") if spec.status is not None else None
    return ErrorsPlan(
        status=status,
        headers=context.template(spec.headers, scope, "errors.headers"),
        body=context.template(spec.body, scope, "errors.body"),
    )


def _limits(context: MappingContext, spec: LimitsSpec | None) -> Limits:
    """The limits of one exchange; the default where the mapping sets none."""
    if spec is None:
        return DEFAULT_LIMITS
    return Limits(number(context, spec, "steps"), number(context, spec, "bytes"))


def _check_unused_templates(context: MappingContext) -> None:
    """Compile the templates that nothing in this file uses, to report their errors."""
    own = context.spec.node.get("templates")
    for name, node in own.items() if own else ():
        if name not in context.templates.used and name in context.spec.templates:
            context.templates.compile(node, context.unused_scope(), f"templates.{name}")


# --- Mappings as upstreams of each other -----------------------------------------------------------------


def _check_mapping_upstreams(
    plans: Mapping[str, MappingPlan], environ: Mapping[str, str], findings: Findings, served_together: bool
) -> None:
    for plan in plans.values():
        for name, upstream in plan.upstreams.items():
            if upstream.mapping is None:
                continue
            span = plan.spec.upstreams[name].url.span
            if upstream.mapping not in plans:
                may_show = load_time.may_show(upstream.mapping, plan.spec.env, environ)
                hint = suggestion(upstream.mapping, plans) if may_show else None
                named = f"named '{upstream.mapping}'" if may_show else "of this name"
                message = f"no mapping {named} is served with this one"
                report = findings.error if served_together else findings.note
                report("unknown-mapping", message, span, hint)
            elif (cycle := _cycle(plans, plan.name, upstream.mapping)) is not None:
                message = f"mappings call each other in a cycle: {' → '.join(cycle)}"
                findings.error("upstream-cycle", message, span)


def _cycle(plans: Mapping[str, MappingPlan], start: str, following: str) -> list[str] | None:
    """A cycle of `mapping:` upstreams from `start` through `following`; None if there is none."""
    paths: list[list[str]] = [[start, following]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        if path[-1] == start:
            return path
        for name in _called(plans.get(path[-1])):
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return None


def _called(plan: MappingPlan | None) -> Iterable[str]:
    upstreams = plan.upstreams.values() if plan is not None else ()
    return (upstream.mapping for upstream in upstreams if upstream.mapping is not None)
