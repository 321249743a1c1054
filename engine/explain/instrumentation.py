"""Route plans that report their decisions: evaluated conditions, and calls.

Contract: an instrumented route behaves like the original. Its conditions and upstream choices also report
that they were evaluated, so that the code that serves requests needs no hooks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.language.codegen import Compiled
from engine.language.spec import AttemptSpec, CallSpec, CaseSpec, ForwardSpec
from engine.locations import Node
from engine.plan import AttemptPlan, CallPlan, CasePlan, ForwardPlan, RoutePlan, UpstreamChoice
from engine.values import truth

#: Receives a label, its node, the result of a condition (None before a call is made), and the exchange.
Note = Callable[[str, Node, bool | None, Any], None]


def instrumented(route: RoutePlan, note: Note) -> RoutePlan:
    """A copy of the route that reports its decisions, and requires no key."""
    pairs = zip(route.spec.attempts, route.attempts, strict=False)
    is_only = not route.spec.try_
    attempts = tuple(
        _Instrumenter(note, spec, plan, "" if is_only else f"attempt {number}").attempt()
        for number, (spec, plan) in enumerate(pairs, 1)
    )
    return replace(route, attempts=attempts, requires_key=False)


class _Instrumenter:
    """Instruments one attempt."""

    def __init__(self, note: Note, spec: AttemptSpec, plan: AttemptPlan, label: str) -> None:
        self.note = note
        self.spec = spec
        self.plan = plan
        self.label = label

    def attempt(self) -> AttemptPlan:
        spec, plan = self.spec, self.plan
        named = tuple(spec.calls.values())
        return replace(
            plan,
            when=self._reporting_condition(plan.when, self.label, spec.node) if self.label else plan.when,
            before=tuple(map(self._call, plan.before, named)),
            calls=tuple(map(self._call, plan.calls, spec.call or named)),
            forward=self._forward(plan.forward, spec.forward),
            cases=tuple(self._case(*pair) for pair in enumerate(zip(plan.cases, spec.respond, strict=False))),
        )

    def _call(self, plan: CallPlan, spec: CallSpec) -> CallPlan:
        label = f"call {plan.name}" if plan.name else "call"
        when = None if plan.when is None else self._reporting_condition(plan.when, label, spec.node)
        return replace(plan, when=when, upstream=self._reporting_upstream(plan, label, spec.node))

    def _forward(self, plan: ForwardPlan | None, spec: ForwardSpec | None) -> ForwardPlan | None:
        if plan is None or spec is None:
            return plan
        return replace(plan, upstream=self._reporting_upstream(plan, "forward", spec.node))

    def _case(self, number: int, pair: tuple[CasePlan, CaseSpec]) -> CasePlan:
        plan, spec = pair
        label = "respond" if len(self.plan.cases) == 1 else f"respond {self.plan.first_case + number + 1}"
        return replace(plan, when=self._reporting_condition(plan.when, label, spec.node))

    def _reporting_condition(self, when: Compiled | None, label: str, node: Node) -> Compiled:
        """A condition that reports its result; true if there is none."""

        def evaluate(payload: Any, exchange: Any) -> Any:
            value = True if when is None else when.function(payload, exchange)
            self.note(label, node, truth(value), exchange)
            return value

        return replace(when or _ALWAYS, function=evaluate)

    def _reporting_upstream(self, plan: CallPlan | ForwardPlan, label: str, node: Node) -> UpstreamChoice:
        """The upstream of a call, with a template that reports the call."""
        upstream = plan.upstream
        if isinstance(upstream, UpstreamChoice):
            choice = upstream
        else:
            name = upstream.name
            template = Compiled(lambda payload, exchange: name, "")
            choice = UpstreamChoice(template, {name: upstream})

        def choose(payload: Any, exchange: Any) -> Any:
            self.note(label, node, None, exchange)
            return choice.template.function(payload, exchange)

        return UpstreamChoice(replace(choice.template, function=choose), choice.candidates)


_ALWAYS = Compiled(lambda payload, exchange: True, "")
