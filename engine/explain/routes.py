"""Routes told: what happens to a request, in its order.

Contract: a plan gives what holds, its spec the words of the file; nothing is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from engine.explain.entries import Entry, duration, shown, size
from engine.http.messages import MAX_BODY_BYTES
from engine.language.spec import (
    AttemptSpec,
    CallSpec,
    CaseSpec,
    CollectSpec,
    ErrorsSpec,
    ForwardSpec,
    RuleSpec,
    StreamSpec,
)
from engine.language.uses import ITEM
from engine.plan import OTHERS, AttemptPlan, CallPlan, CasePlan, MappingPlan, RatePlan, ReadTree, RoutePlan

_BUILTIN: Final = {
    "health": "how the upstreams are, each asked by its `health`",
    "metrics": "the metrics of this process",
}


def name_of(route: RoutePlan) -> str:
    """A route as it is asked for: its method, and its path with the mapping's prefix."""
    return f"{route.method} {route.pattern}"


def route_entry(mapping: MappingPlan, route: RoutePlan) -> Entry:
    """One route."""
    summary = f": {route.spec.summary}" if route.spec.summary else ""
    below = (*_before(mapping, route), *_answering(route), *_failing(mapping.spec.errors))
    return Entry("route", name_of(route) + summary, route.spec.node.key_span, below)


# --- Before anything is called ---------------------------------------------------------------------------


def _before(mapping: MappingPlan, route: RoutePlan) -> Iterator[Entry]:
    yield Entry("key", _key(mapping, route))
    for rate in route.rates:
        yield Entry("rate limit", _rate(rate))
    for name, rate in mapping.key_rates.items():
        if name not in route.barred:
            yield Entry("rate limit", f"{_rate(rate)}, for the key '{name}'")
    if route.concurrency is not None:
        yield Entry("concurrency", f"at most {route.concurrency} at a time")
    if route.timeout is not None:
        yield Entry("timeout", f"{duration(route.timeout)} for all of it")
    if route.reads_body:
        yield from _body(route)
    if route.cache is not None:
        yield Entry("cache", f"an answer is given again for {duration(route.cache.seconds)}")


def _key(mapping: MappingPlan, route: RoutePlan) -> str:
    if not route.wants_key:
        return "none is wanted"
    other = f", or {mapping.keys.header}: KEY" if mapping.keys.header else ""
    barred = f"; not {', '.join(sorted(route.barred))}" if route.barred else ""
    return f"Authorization: Bearer KEY{other}{barred}"


def _rate(rate: RatePlan) -> str:
    whose = {"key": "of one key", "address": "of one address", "all": "in all"}[rate.by]
    return f"at most {rate.limit} requests {whose} in {duration(rate.seconds)}"


def _body(route: RoutePlan) -> Iterator[Entry]:
    request = route.spec.request
    schema = ", checked by a schema" if route.schema is not None else ""
    span = request.schema.key_span if request is not None and request.schema is not None else None
    yield Entry("body", f"JSON of at most {size(route.max_bytes)}{schema}", span)
    if any(attempt.calls for attempt in route.attempts):
        text = "whatever else it holds is refused with 400" if route.rejects_dropped else ""
        read = ", ".join(_fields(_read(route.attempts))) or "nothing"
        yield Entry("reads", read)
        if text:
            yield Entry("dropped", text)


def _read(attempts: Iterable[AttemptPlan]) -> list[ReadTree]:
    trees = [attempt.reads for attempt in attempts]
    return [*trees, *(call.reads for attempt in attempts for call in attempt.calls if not attempt.together)]


def _fields(trees: Iterable[ReadTree]) -> list[str]:
    """The paths of the fields that are read, each once; an empty list of trees reads nothing."""
    found: dict[str, None] = {}
    for tree in trees:
        found |= dict.fromkeys(_paths(tree))
    return ["all of it"] if "" in found else sorted(found)


def _paths(tree: ReadTree, path: str = "") -> Iterator[str]:
    if tree is True:
        yield path
    for key, branch in tree.items() if isinstance(tree, dict) else ():
        if key == OTHERS:
            yield f"{path or 'all of it'} without {', '.join(sorted(branch))}"
            continue
        step = "[]" if key == ITEM else f".{key}" if path else str(key)
        yield from _paths(branch, path + step) if branch not in ({}, False) else (path + step,)


# --- The ways to answer ----------------------------------------------------------------------------------


def _answering(route: RoutePlan) -> Iterator[Entry]:
    if route.builtin is not None:
        yield Entry("builtin", _BUILTIN[route.builtin])
    is_only = not route.spec.try_
    for number, (spec, plan) in enumerate(zip(route.spec.attempts, route.attempts, strict=False), 1):
        below = tuple(_attempt(spec, plan))
        if is_only:
            yield from below
        else:
            span = spec.node.span
            yield Entry(f"attempt {number}", _when(spec, "always tried"), span, (*_watched(plan), *below))


def _watched(plan: AttemptPlan) -> Iterator[Entry]:
    if plan.watched:
        names = ", ".join(dict.fromkeys(plan.watched))
        yield Entry("health", f"put off to the end while {names} was found to be down")


def _attempt(spec: AttemptSpec, plan: AttemptPlan) -> Iterator[Entry]:
    named = list(zip(spec.calls.values(), plan.before or plan.calls, strict=False))
    yield from _named_calls(named, plan)
    if spec.call:
        labels = ["call"] if len(spec.call) == 1 else [f"call {n + 1}" for n in range(len(spec.call))]
        for label, call, made in zip(labels, spec.call, plan.calls, strict=True):
            yield Entry(label, _call(call, made), call.node.span, tuple(_call_facts(call, made)))
    if spec.forward is not None:
        yield _forward(spec.forward)
    for number, (case, made_case) in enumerate(zip(spec.respond, plan.cases, strict=False), plan.first_case):
        yield _case(case, made_case, _number(spec, plan, number))


def _number(spec: AttemptSpec, plan: AttemptPlan, number: int) -> str:
    return "answer" if len(spec.respond) == 1 and not plan.first_case else f"answer {number + 1}"


def _named_calls(calls: list[tuple[CallSpec, CallPlan]], plan: AttemptPlan) -> Iterator[Entry]:
    """Calls in the order in which they can be made, those that can be made at the same time together."""
    left = {made.name: (spec, made) for spec, made in calls}
    while left:
        ready = [pair for pair in left.values() if not pair[1].needs & left.keys()]
        entries = tuple(_named_call(spec, made) for spec, made in ready or left.values())
        if len(entries) == 1:
            yield entries[0]
        else:
            yield Entry("at the same time", f"{len(entries)} calls", None, entries)
        for _, made in ready or list(left.values()):
            del left[made.name]


def _named_call(spec: CallSpec, plan: CallPlan) -> Entry:
    return Entry(f"call {plan.name}", _call(spec, plan), spec.node.key_span, tuple(_call_facts(spec, plan)))


def _call(spec: CallSpec, plan: CallPlan) -> str:
    return f"{plan.method} {shown(spec.upstream)} {shown(spec.path)}"


def _call_facts(spec: CallSpec, plan: CallPlan) -> Iterator[Entry]:
    if spec.when is not None:
        yield Entry("when", shown(spec.when), spec.when.span)
    if plan.needs:
        yield Entry("waits for", ", ".join(sorted(plan.needs)))
    if spec.each is not None:
        yield Entry("each", f"{shown(spec.each)}, at most {plan.parallel} at a time", spec.each.span)
    sends = [name for name in ("query", "headers", "body", "form") if getattr(spec, name) is not None]
    if sends:
        yield Entry("sends", ", ".join(sends))
    if plan.timeout is not None:
        yield Entry("timeout", duration(plan.timeout))
    if plan.cache is not None:
        yield Entry("cache", f"its answer is taken again for {duration(plan.cache)}")
    if plan.max_bytes != MAX_BODY_BYTES:
        yield Entry("response", f"at most {size(plan.max_bytes)}")
    if plan.response_schema is not None:
        yield Entry("response", "checked by a schema")
    if plan.continues:
        yield Entry("on error", "goes on; the failure stands in $calls")


def _forward(spec: ForwardSpec) -> Entry:
    text = f"as it came to {shown(spec.upstream)} {shown(spec.path)}, and the answer back"
    return Entry("forward", text, spec.node.span)


# --- Answers ---------------------------------------------------------------------------------------------


def _case(spec: CaseSpec, plan: CasePlan, label: str) -> Entry:
    status = (
        str(plan.status) if isinstance(plan.status, int) else shown(spec.status) if spec.status else "200"
    )
    what = "a stream" if spec.stream else "the upstream's stream, gathered" if spec.collect else "a body"
    if not (spec.stream or spec.collect or spec.body):
        what = "no body"
    below: list[Entry] = []
    if spec.when is not None:
        below.append(Entry("when", shown(spec.when), spec.when.span))
    if spec.stream is not None:
        below += _stream(spec.stream)
    if spec.collect is not None:
        below += _rules(spec.collect)
    failures = "; for a failure of the upstream too" if plan.for_failures else ""
    return Entry(label, f"{status}, {what}{failures}", spec.node.span, tuple(below))


def _stream(spec: StreamSpec) -> Iterator[Entry]:
    yield Entry("to", shown(spec.to))
    if spec.from_ is not None:
        yield Entry("from", f"{shown(spec.from_)}, where the upstream does not say")
    if spec.emit is not None:
        yield Entry("emit", shown(spec.emit), spec.emit.span)
    yield from _rules(spec)


def _rules(spec: StreamSpec | CollectSpec) -> Iterator[Entry]:
    if spec.state is not None:
        yield Entry("state", ", ".join(spec.state.value))
    failing = spec.error if isinstance(spec, StreamSpec) else ()
    for label, rules in (("rule", spec.rules), ("at the end", spec.end), ("on a failure", failing)):
        yield from (_rule(rule, label) for rule in rules)


def _rule(spec: RuleSpec, label: str) -> Entry:
    does = []
    if spec.set is not None:
        does.append(f"sets {', '.join(spec.set.value)}")
    if spec.emit is not None:
        does.append("emits")
    if spec.stop:
        does.append("ends the rules for this event")
    each = f" for each of {shown(spec.each)}" if spec.each is not None else ""
    text = f"{_when(spec, 'always')} → {', '.join(does) or 'its rules'}{each}"
    return Entry(label, text, spec.node.span, tuple(_rule(rule, "rule") for rule in spec.rules))


def _when(spec: AttemptSpec | RuleSpec, otherwise: str) -> str:
    return otherwise if spec.when is None else shown(spec.when)


def _failing(spec: ErrorsSpec | None) -> Iterator[Entry]:
    if spec is None:
        yield Entry("failures", "in the plain form {error: {message, type, param, code}}")
        return
    status = f"; of upstreams with {shown(spec.status)}" if spec.status is not None else ""
    yield Entry("failures", f"as `errors` says{status}", spec.node.key_span)
