"""Entries of routes: how a request is processed, in order.

Contract: values come from the plan, source text from the spec; nothing is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from engine.explain.entries import Entry, duration, shown, size
from engine.http.messages import MAX_BODY_BYTES
from engine.language.spec import (
    AttemptSpec,
    Builtin,
    CallSpec,
    CaseSpec,
    CheckSpec,
    ErrorsSpec,
    ForwardSpec,
    PartsSpec,
    RateKey,
    RuleSpec,
    StreamSpec,
)
from engine.language.uses import ITEM
from engine.locations import Node
from engine.plan import (
    OTHERS,
    AttemptPlan,
    CallPlan,
    CasePlan,
    ForwardPlan,
    MappingPlan,
    PipelinePlan,
    RatePlan,
    ReadTree,
    RoutePlan,
    StreamPlan,
)

_DEFAULT_ERRORS: Final = "in the default format {error: {message, type, param, code}}"
#: What each `builtin` responds with.
BUILTINS: Final[Mapping[Builtin, str]] = {
    "health": "health of the upstreams, checked by their `health`",
    "metrics": "metrics of this process",
}
#: What each rate limit counts by.
RATE_KEYS: Final[Mapping[RateKey, str]] = {
    "key": "per key",
    "address": "per client address",
    "all": "in total",
}


def name_of(route: RoutePlan) -> str:
    """The name of a route: its method, and its path with the mapping's prefix."""
    return f"{route.method} {route.pattern}"


def route_entry(mapping: MappingPlan, route: RoutePlan) -> Entry:
    """The entry of one route."""
    summary = f": {route.spec.summary}" if route.spec.summary else ""
    below = (*_checks(mapping, route), *_attempts(route), *_errors(mapping.spec.errors))
    return Entry("route", name_of(route) + summary, route.spec.node.key_span, below)


# --- Checks and limits -----------------------------------------------------------------------------------


def _checks(mapping: MappingPlan, route: RoutePlan) -> Iterator[Entry]:
    yield Entry("key", _key(mapping, route))
    for rate in route.rates:
        yield Entry("rate limit", _rate(rate))
    for name, rate in mapping.key_rates.items():
        if name not in route.denied_keys:
            yield Entry("rate limit", f"{_rate(rate)}, for the key '{name}'")
    if route.concurrency is not None:
        yield Entry("concurrency", f"at most {route.concurrency} at a time")
    if route.timeout is not None:
        yield Entry("timeout", f"{duration(route.timeout)} in total")
    if route.reads_body:
        yield from _body(route)
    for check in route.spec.request.checks if route.spec.request is not None else ():
        yield Entry("check", f"{shown(check.when)} → {_failure(check)}", check.node.span)
    if route.cache is not None:
        yield Entry("cache", f"responses for {duration(route.cache.seconds)}")
    if route.spec.usage is not None:
        yield Entry("usage", shown(route.spec.usage), route.spec.usage.span)


def _key(mapping: MappingPlan, route: RoutePlan) -> str:
    if not route.requires_key:
        return "not required"
    other = f", or {mapping.keys.header}: KEY" if mapping.keys.header else ""
    denied = f"; except {', '.join(sorted(route.denied_keys))}" if route.denied_keys else ""
    return f"Authorization: Bearer KEY{other}{denied}"


def _rate(rate: RatePlan) -> str:
    return f"at most {rate.limit} requests {RATE_KEYS[rate.by]} in {duration(rate.seconds)}"


def _body(route: RoutePlan) -> Iterator[Entry]:
    request = route.spec.request
    schema = ", validated against a schema" if route.schema is not None else ""
    span = request.schema.key_span if request is not None and request.schema is not None else None
    yield Entry("body", f"JSON of at most {size(route.max_bytes)}{schema}", span)
    if any(attempt.calls for attempt in route.attempts):
        if request is not None and request.drop:
            yield Entry("drops", ", ".join(request.drop), request.node["drop"].key_span)
        text = "other fields are rejected with 400" if route.rejects_dropped else ""
        read = ", ".join(_fields(_read(route.attempts))) or "nothing"
        yield Entry("reads", read)
        if text:
            yield Entry("dropped", text)


def _failure(check: CheckSpec) -> str:
    """The error of a check: its kind, unless that is the usual one, and its message."""
    parts = check.fail.elements() if isinstance(check.fail.value, list) else (check.fail,)
    return ": ".join(map(shown, parts))


def _read(attempts: Iterable[AttemptPlan]) -> list[ReadTree]:
    trees = [attempt.reads for attempt in attempts]
    selected = [attempt.calls for attempt in attempts if not attempt.makes_all_calls]
    return [*trees, *(call.reads for calls in selected for call in calls)]


def _fields(trees: Iterable[ReadTree]) -> list[str]:
    """The paths of the fields that are read, without duplicates."""
    found: dict[str, None] = {}
    for tree in trees:
        found |= dict.fromkeys(_paths(tree))
    return ["the complete body"] if "" in found else sorted(found)


def _paths(tree: ReadTree, path: str = "") -> Iterator[str]:
    if tree is True:
        yield path
    for key, branch in tree.items() if isinstance(tree, dict) else ():
        if key == OTHERS:
            yield f"{path or 'the complete body'} except {', '.join(sorted(branch))}"
            continue
        step = "[]" if key == ITEM else f".{key}" if path else str(key)
        yield from _paths(branch, path + step) if branch not in ({}, False) else (path + step,)


# --- Attempts --------------------------------------------------------------------------------------------


def _attempts(route: RoutePlan) -> Iterator[Entry]:
    if route.builtin is not None:
        yield Entry("builtin", BUILTINS[route.builtin])
    is_only = not route.spec.try_
    for number, (spec, plan) in enumerate(zip(route.spec.attempts, route.attempts, strict=False), 1):
        below = tuple(_attempt(spec, plan))
        if is_only:
            yield from below
        else:
            span = spec.node.span
            yield Entry(
                f"attempt {number}", _when(spec, "always tried"), span, (*_health_checked(plan), *below)
            )


def _health_checked(plan: AttemptPlan) -> Iterator[Entry]:
    if plan.health_checked:
        names = ", ".join(dict.fromkeys(plan.health_checked))
        yield Entry("health", f"tried last while {names} is unhealthy")


def _attempt(spec: AttemptSpec, plan: AttemptPlan) -> Iterator[Entry]:
    named = list(zip(spec.calls.values(), plan.before or plan.calls, strict=False))
    yield from _named_calls(named, plan)
    if spec.call:
        labels = ["call"] if len(spec.call) == 1 else [f"call {n + 1}" for n in range(len(spec.call))]
        for label, call, made in zip(labels, spec.call, plan.calls, strict=True):
            yield Entry(label, _call(call, made), call.node.span, tuple(_call_facts(call, made)))
    if spec.forward is not None and plan.forward is not None:
        yield _forward(spec.forward, plan.forward)
    for number, (case, made_case) in enumerate(zip(spec.respond, plan.cases, strict=False), plan.first_case):
        yield _case(case, made_case, _number(spec, plan, number))


def _number(spec: AttemptSpec, plan: AttemptPlan, number: int) -> str:
    return "respond" if len(spec.respond) == 1 and not plan.first_case else f"respond {number + 1}"


def _named_calls(calls: list[tuple[CallSpec, CallPlan]], plan: AttemptPlan) -> Iterator[Entry]:
    """Calls in dependency order; calls that run in parallel are grouped."""
    left = {made.name: (spec, made) for spec, made in calls}
    while left:
        ready = [pair for pair in left.values() if not pair[1].needs & left.keys()]
        entries = tuple(_named_call(spec, made) for spec, made in ready or left.values())
        if len(entries) == 1:
            yield entries[0]
        else:
            yield Entry("in parallel", f"{len(entries)} calls", None, entries)
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
    yield from _response_facts(plan)


def _response_facts(plan: CallPlan) -> Iterator[Entry]:
    """What happens to the response of a call."""
    if plan.cache is not None:
        yield Entry("cache", f"its response for {duration(plan.cache)}")
    if plan.max_bytes != MAX_BODY_BYTES:
        yield Entry("response", f"at most {size(plan.max_bytes)}")
    if plan.response_schema is not None:
        yield Entry("response", "validated against a schema")
    if plan.continues_on_error:
        yield Entry("on error", "continue; the failure is recorded in $calls")


def _forward(spec: ForwardSpec, plan: ForwardPlan) -> Entry:
    below = []
    if spec.headers is not None:
        below.append(Entry("replaces", _names(spec.headers), spec.headers.span))
    if plan.timeout is not None:
        below.append(Entry("timeout", f"{duration(plan.timeout)} until the response begins"))
    text = f"unchanged to {shown(spec.upstream)} {shown(spec.path)}"
    return Entry("forward", text, spec.node.span, tuple(below))


# --- Responses -------------------------------------------------------------------------------------------


def _case(spec: CaseSpec, plan: CasePlan, label: str) -> Entry:
    status = str(plan.status) if isinstance(spec.status, int) else shown(spec.status)
    below: list[Entry] = []
    if spec.when is not None:
        below.append(Entry("when", shown(spec.when), spec.when.span))
    if spec.headers is not None:
        below.append(Entry("headers", _names(spec.headers), spec.headers.span))
    if spec.stream is not None and plan.stream is not None:
        below += _stream(spec.stream, plan.stream)
    if plan.pipeline is not None:
        below += _pipeline(spec, plan.pipeline)
    errors = "; also for upstream errors" if plan.handles_errors else ""
    return Entry(label, f"{status}, {_content(spec)}{errors}", spec.node.span, tuple(below))


def _content(spec: CaseSpec) -> str:
    """What the body of a response is made of."""
    if spec.pipeline:
        return "a body" if spec.stream_when is None else _choice(spec.stream_when)
    if spec.stream:
        return "a stream"
    return "a body" if spec.body else "no body"


def _choice(stream_when: Node) -> str:
    return "a stream" if stream_when.value is True else "a stream or a body"


# --- Pipelines -------------------------------------------------------------------------------------------


def _pipeline(spec: CaseSpec, plan: PipelinePlan) -> Iterator[Entry]:
    """The stages of a pipeline, in order."""
    if spec.stream_when is not None:
        yield Entry("stream", f"when {shown(spec.stream_when)}", spec.stream_when.span)
    for name, stage in plan.stages:
        if isinstance(stage, Node):
            yield Entry("template", name, stage.span)
        else:
            label = "reader" if stage.to is None else "writer"
            yield Entry(label, name or "in place", stage.node.span, tuple(_parts(stage)))


def _parts(spec: PartsSpec) -> Iterator[Entry]:
    """What a reader or a writer does."""
    if spec.to is not None:
        yield Entry("to", shown(spec.to))
    if spec.keep_alive is not None:
        after = spec.keep_alive if isinstance(spec.keep_alive, str) else shown(spec.keep_alive)
        yield Entry("keep-alive", f"a comment after {after} without an event")
    if spec.merge is not None:
        yield Entry("merges", shown(spec.merge), spec.merge.span)
    if spec.complete is not None:
        yield Entry("complete", f"a complete response by {shown(spec.complete)}", spec.complete.span)
    if spec.start is not None:
        yield Entry("start", shown(spec.start), spec.start.span)
    if spec.eof == "ok":
        yield Entry("end", "complete without the end marker")
    yield from _rules(spec)


def _names(headers: Node) -> str:
    """The names of header fields."""
    return ", ".join(headers.value) if isinstance(headers.value, dict) else shown(headers)


def _stream(spec: StreamSpec, plan: StreamPlan) -> Iterator[Entry]:
    yield Entry("to", shown(spec.to))
    if plan.keep_alive is not None:
        yield Entry("keep-alive", f"a comment after {duration(plan.keep_alive)} without an event")
    every = f", one every {duration(plan.every)}" if plan.every else ""
    yield Entry("emit", shown(spec.emit) + every, spec.emit.span)


def _rules(spec: PartsSpec) -> Iterator[Entry]:
    if spec.from_ is not None:
        yield Entry("from", f"{shown(spec.from_)}, unless Content-Type specifies another")
    if spec.state is not None:
        yield Entry("state", ", ".join(spec.state.value))
    for label, rules in (("rule", spec.rules), ("at the end", spec.end), ("on error", spec.error)):
        yield from (_rule(rule, label) for rule in rules)


def _rule(spec: RuleSpec, label: str) -> Entry:
    actions = []
    if spec.set is not None:
        actions.append(f"sets {', '.join(spec.set.value)}")
    if spec.emit is not None:
        actions.append("emits")
    if spec.stop:
        actions.append("ends the rules for this event")
    each = f" for each of {shown(spec.each)}" if spec.each is not None else ""
    text = f"{_when(spec, 'always')} → {', '.join(actions) or 'nested rules'}{each}"
    return Entry(label, text, spec.node.span, tuple(_rule(rule, "rule") for rule in spec.rules))


def _when(spec: AttemptSpec | RuleSpec, otherwise: str) -> str:
    return otherwise if spec.when is None else shown(spec.when)


def _errors(spec: ErrorsSpec | None) -> Iterator[Entry]:
    if spec is None:
        yield Entry("errors", _DEFAULT_ERRORS)
        return
    status = f"; upstream errors with {shown(spec.status)}" if spec.status is not None else ""
    headers = f"; with the headers {_names(spec.headers)}" if spec.headers is not None else ""
    body = "in the format of `errors`" if spec.body is not None else _DEFAULT_ERRORS
    yield Entry("errors", body + status + headers, spec.node.key_span)
