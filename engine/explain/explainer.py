"""The API to explain a set of mappings, created from their specs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.compiler import compile_set
from engine.compiler import environment as load_time
from engine.compiler.masking import Mask, credentials_in, file_texts, with_placeholders
from engine.diagnostics import Findings, suggestion
from engine.explain.entries import Entry
from engine.explain.mappings import mapping_entries
from engine.explain.python import python_entries
from engine.explain.routes import name_of, route_entry
from engine.explain.tracing import Request, StubResponse, Trace, trace
from engine.explain.upstreams import upstream_entry
from engine.language.spec import MappingSpec
from engine.language.templates import TemplateCompiler
from engine.plan import MappingPlan, PlanSet, RoutePlan


class Explainer:
    """Explains valid mappings.

    Args:
        specs: the result of `load`.
        environ: the environment that `env` reads.
    """

    def __init__(self, specs: Sequence[MappingSpec], environ: Mapping[str, str]) -> None:
        masked, found = with_placeholders(specs, environ)
        self._specs = {spec.name: spec for spec in specs}
        self._environ = masked
        # Findings caused by placeholders are not errors of the mappings.
        self.plans: PlanSet = compile_set(specs, masked, Findings(), served_together=False)
        self._mask = Mask(found.values())
        self._mask.learn(credentials_in(self.plans.mappings.values()))

    def everything(self) -> tuple[Entry, ...]:
        """Every mapping with its upstreams and routes."""
        return tuple(self._masked(self._mapping(plan)) for plan in self.plans.mappings.values())

    def route(self, name: str) -> tuple[Entry, ...]:
        """One route, with the upstreams that it may call.

        Raises:
            LookupError: no such route; the message suggests one.
        """
        mapping, route = self._found(name)
        upstreams = (upstream_entry(mapping, mapping.upstreams[n], self._mask) for n in route.upstreams)
        below = (*upstreams, route_entry(mapping, route))
        entry = Entry("mapping", mapping.name, mapping.spec.node.span, below)
        return (self._masked(entry),)

    def python(self, name: str) -> tuple[Entry, ...]:
        """The generated Python of one route, or of all routes if `name` is empty.

        Raises:
            LookupError: no such route; the message suggests one.
        """
        pairs = [self._found(name)] if name else list(self._routes())
        return tuple(self._masked(self._python(mapping, route)) for mapping, route in pairs)

    def trace(self, request: Request, responses: Sequence[StubResponse] = ()) -> Trace:
        """Trace a request. Its calls receive `responses` in order.

        Raises:
            LookupError: no such route; the message suggests one.
        """
        self._found(f"{request.method} {request.path}")
        result = trace(self.plans, self._mask, request, list(responses))
        return Trace(tuple(map(self._masked, result.steps)), result.has_failed)

    # --- Mappings and routes -----------------------------------------------------------------------------

    def _mapping(self, plan: MappingPlan) -> Entry:
        description = f": {plan.spec.description}" if plan.spec.description else ""
        upstreams = (upstream_entry(plan, upstream, self._mask) for upstream in plan.upstreams.values())
        routes = (route_entry(plan, route) for route in plan.routes)
        span = plan.spec.node.span
        return Entry("mapping", plan.name + description, span, (*mapping_entries(plan), *upstreams, *routes))

    def _routes(self) -> Iterator[tuple[MappingPlan, RoutePlan]]:
        return ((plan, route) for plan in self.plans.mappings.values() for route in plan.routes)

    def _found(self, name: str) -> tuple[MappingPlan, RoutePlan]:
        """A route by its name, or by a path that it matches."""
        pairs = sorted(self._routes(), key=lambda pair: not pair[0].is_public)
        names = {name_of(route): (mapping, route) for mapping, route in reversed(pairs)}
        if name in names:
            return names[name]
        method, _, path = name.partition(" ")
        match = self.plans.find(path.strip().partition("?")[0], method)
        leaf = match.found(method)
        if leaf is not None:
            return leaf.owner, leaf.route
        near = [f"{other} {path.strip()}" for other in match.methods]
        hint = f"its methods are {', '.join(match.methods)}" if near else suggestion(name, names)
        raise LookupError(f"no route serves '{name}'" + (f" ({hint})" if hint else ""))

    # --- The generated Python ----------------------------------------------------------------------------

    def _python(self, mapping: MappingPlan, route: RoutePlan) -> Entry:
        mask = Mask(())
        mask.learn(self._file_texts(mapping))
        entries = python_entries(mapping, route, mask)
        return Entry("route", name_of(route), route.spec.node.key_span, entries)

    def _file_texts(self, mapping: MappingPlan) -> Iterator[str]:
        """The texts in `vars` that come from files."""
        spec = self._specs[mapping.name]
        compiler = TemplateCompiler(Findings(), file=spec.document.file.name)
        found = load_time.resolve(spec, self._environ, compiler, Findings(), False)
        return file_texts(spec, found.vars)

    # --- Secrets -----------------------------------------------------------------------------------------

    def _masked(self, entry: Entry) -> Entry:
        """The entry with all remaining secrets masked."""
        below = tuple(map(self._masked, entry.below))
        value = self._mask.value(entry.value)
        return Entry(self._mask.text(entry.label), self._mask.text(entry.text), entry.span, below, value)
