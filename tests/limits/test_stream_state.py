"""State that rules append to: the work per event is constant, and emitted values never change.

The tests count steps and copies, never time.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from engine.exchange import ExchangeResult
from engine.language.budget import Limits
from engine.language.functions import deltas
from engine.language.functions.deltas import Merger, merge_deltas
from engine.plan import PlanSet

from .exchanges import Upstream, compiled, events, location_of, posted, sse


def streamed(
    rules: str, tmp_path: Path, state: str = "x: null", end: str = "$state.x", more: str = ""
) -> PlanSet:
    """A mapping whose route streams with these rules and emits a part of the state at the end."""
    return compiled(
        f"""\
{more}
upstreams: {{ up: {{ url: "http://up.example" }} }}
routes:
  POST /x:
    call: POST up /x
    respond:
      stream_when: true
      pipeline:
        - to: ndjson
          state: {{ {state} }}
          rules:
            {rules}
          end: [ {{ emit: {{ all: "${{ nullable({end}) }}" }} }} ]
""",
        tmp_path,
    )


def lines(result: ExchangeResult) -> list[Any]:
    assert result.error is None, (result.error.message, result.error.cause)
    return [json.loads(line) for line in result.response.content.data.splitlines()]


#: Ways to append the event's `v` to the state `x`, and an equivalent form that is not optimized.
FORMS = {
    "flat": ("${ [$state.x, v][] }", "${ [[$state.x, v][]][0] }"),
    "flat of several": ("${ [$state.x, v, w][] }", "${ [[$state.x, v, w][]][0] }"),
    "concat": ("${ concat($state.x, v) }", "${ [concat($state.x, v)][0] }"),
    "text": ("${ $state.x }-${ v }", "${ [concat($state.x, '-', v)][0] }"),
    "merge": ("${ merge($state.x, o) }", "${ [merge($state.x, o)][0] }"),
    "merge_deltas": ("${ merge_deltas($state.x, o) }", "${ [merge_deltas($state.x, o)][0] }"),
    "entries": (
        "{ $concat: ['${ $state.x }', '${ v }', [1]] }",
        "{ $concat: [{ $concat: ['${ $state.x }'] }, '${ v }', [1]] }",
    ),
}
STARTS = {"null": "null", "list": "[5, null]", "text": "start", "object": "{ n: 1, t: a }"}
VALUES: list[Any] = ["a", None, 5, [1, None, [2]], {"k": 1}, [], "", "b"]


def event(number: int) -> dict[str, Any]:
    value = VALUES[number % len(VALUES)]
    own = {"t": "x", f"k{number % 3}": value, "calls": [{"index": number % 4, "text": "ab", "id": number}]}
    return {"n": number, "v": value, "w": number, "o": own}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("form", FORMS)
def test_appending_in_place_gives_the_same_values(form: str, start: str, tmp_path: Path) -> None:
    results = []
    for template in FORMS[form]:
        quoted = template if template.startswith("{ ") else json.dumps(template)
        plans = streamed(f"- set: {{ x: {quoted} }}", tmp_path, f"x: {STARTS[start]}")
        result = posted(plans, "/x", None, sse(map(event, range(40))))
        error = None if result.error is None else result.error.message
        results.append((error, result.response.content.data))
    assert results[0] == results[1]


READS = {
    "emitted": "emit: { now: '${ $state.x }' }",
    "in a list": "emit: { now: ['${ $state.x }', 1] }",
    "in an expression": "emit: { now: '${ [$state.x, `1`] }' }",
    "through let": "emit: { $let: { a: '${ $state.x }' }, now: '${ $a }' }",
    "by a pipe": "emit: { now: '${ $state.x | @ }' }",
    "by a multi-select": "emit: { now: '${ $state.x.[@] }' }",
    "by and": "emit: { now: '${ $state.x && n }', or: '${ $state.x || n }', not: '${ !($state.x) }' }",
    "by if": 'emit: { now: "${ if(n > `3`, $state.x) }" }',
    "by default": "emit: { now: '${ default($state.x, n) }' }",
    "by a function": "emit: { now: '${ to_array($state.x) }' }",
    "in text": "emit: { now: 'all: ${ $state.x }' }",
    "in another state": "set: { y: '${ $state.x }' }",
    "appended to another": "set: { y: '${ [$state.y, $state.x][] }' }",
    "by a part": "emit: { now: '${ $state.x[0] }', last: '${ $state.x[-1] }', k: '${ $state.x.k1 }' }",
    "by projections": "emit: { now: '${ $state.x[*] }', k: '${ $state.x[?@] }', f: '${ $state.x[] }' }",
    "by its parts": "emit: { now: '${ $state.x.calls[0] }', all: '${ $state.x.calls }' }",
    "by its length": "emit: { now: \"${ if(type($state.x) != 'null', length($state.x)) }\" }",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("read", READS)
def test_values_read_from_the_state_do_not_change(read: str, form: str, tmp_path: Path) -> None:
    """All events arrive in one piece, so all are translated before the first is written."""
    results = []
    start = {"merge": "{}", "merge_deltas": "{}"}.get(form, "null")
    for template in FORMS[form]:
        quoted = template if template.startswith("{ ") else json.dumps(template)
        rules = f"- {{ {READS[read]} }}\n            - set: {{ x: {quoted} }}"
        plans = streamed(rules, tmp_path, f"x: {start}, y: null", "[$state.x, $state.y]")
        upstream = Upstream([b"".join(events(map(event, range(20))))], "text/event-stream")
        results.append(lines(posted(plans, "/x", None, upstream)))
    assert results[0] == results[1]


def test_a_list_can_be_appended_to_while_iterating_over_it(tmp_path: Path) -> None:
    rules = """\
- set: { x: "${ [$state.x, v][] }" }
            - each: ${ $state.x }
              set: { x: "${ [$state.x, @][] }" }"""
    result = posted(streamed(rules, tmp_path), "/x", None, sse([{"v": 1}, {"v": 2}, {"v": 3}]))
    assert lines(result)[-1]["all"] == [1, 1, 2, 1, 1, 2, 3, 1, 1, 2, 1, 1, 2, 3]


#: Rules for 50,000 tiny events, and the length of the state at the end.
MANY = {
    "flat": ("- set: { x: '${ [$state.x, v][] }' }", 50_000),
    "flat, its length read": (
        "- { set: { x: '${ [$state.x, v][] }' }, emit: ['${ length($state.x) }', '${ $state.x[-1] }'] }",
        50_000,
    ),
    "entries": ("- set: { x: { $concat: ['${ $state.x }', ['${ v }']] } }", 50_000),
    "concat": ("- set: { x: '${ concat($state.x, v) }' }", 50_000),
    "concat, its truth read": (
        "- { when: '${ !($state.y) }', set: { x: '${ concat($state.x, v) }' } }",
        50_000,
    ),
    "text": ("- set: { x: '${ $state.x }${ v }' }", 50_000),
    "merge": ("- set: { x: '${ merge($state.x, from_items([[k, v]])) }' }", 50_000),
    "merge_deltas": ("- set: { x: '${ merge_deltas($state.x, {t: v}) }' }", 1),
}


@pytest.mark.parametrize("form", MANY)
def test_the_work_per_event_is_constant(form: str, tmp_path: Path) -> None:
    rules, length = MANY[form]
    plans = streamed(rules, tmp_path, "x: {}, y: null" if "merge" in form else "x: null, y: null")
    taken = []
    for count in (25_000, 50_000):
        result = posted(plans, "/x", None, sse({"v": "a", "k": f"k{n}"} for n in range(count)))
        (*_, last) = lines(result)
        taken.append(result.exchange.steps_taken)
    assert len(last["all"]) == length
    assert taken[1] <= 2.2 * taken[0] + 10
    assert taken[1] <= 5 * 50_000


def test_merging_distinct_indexes_takes_linear_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index, each delta would be compared with all previous items."""
    looked_at = 0
    index = deltas._index

    def counted(item: Any) -> Any:
        nonlocal looked_at
        looked_at += 1
        return index(item)

    monkeypatch.setattr(deltas, "_index", counted)
    merger = Merger({})
    for number in range(6000):
        merger.fold({"calls": [{"index": number ^ 1, "id": f"call_{number}", "text": "x"}]})
    assert looked_at == 6000
    calls = merger.settle()["calls"]
    assert looked_at == 12_000
    assert [call["index"] for call in calls] == list(range(6000))


def test_six_thousand_streamed_tool_calls(tmp_path: Path) -> None:
    rules = "- set: { x: '${ merge_deltas($state.x, {calls: calls}) }' }"
    deltas = [
        {"calls": [{"index": n, "id": f"call_{n}", "function": {"arguments": "{}"}}]} for n in range(6000)
    ]
    result = posted(streamed(rules, tmp_path), "/x", None, sse(deltas))
    assert [call["id"] for call in lines(result)[-1]["all"]["calls"]] == [f"call_{n}" for n in range(6000)]
    assert result.exchange.steps_taken < 6000 * 3


# --- Merging, compared with a simple implementation --------------------------------------------------------


def simple_merge(old: Any, new: Any, key: str = "") -> Any:
    """A simple implementation of `merge_deltas`, which copies everything."""
    if new is None:
        return old
    if isinstance(new, str) and isinstance(old, str):
        return (new or old) if key in ("id", "type") else old + new
    if isinstance(new, dict):
        merged = dict(old) if isinstance(old, dict) else {}
        for name, value in new.items():
            merged[name] = simple_merge(merged.get(name), value, name)
        return merged
    if isinstance(new, list):
        return simple_merge_lists(list(old) if isinstance(old, list) else [], new)
    return new


def simple_merge_lists(merged: list[Any], new: list[Any]) -> list[Any]:
    def index(item: Any) -> Any:
        return item.get("index") if isinstance(item, dict) else None

    for item in new:
        matches = [
            n for n, other in enumerate(merged) if index(other) is not None and index(other) == index(item)
        ]
        if matches:
            merged[matches[-1]] = simple_merge(merged[matches[-1]], item)
        else:
            merged.append(simple_merge(None, item))
    indexes = [index(item) for item in merged]
    is_ordered = None not in indexes and len(set(indexes)) == len(indexes)
    return sorted(merged, key=index) if is_ordered else merged


def any_delta(source: random.Random, depth: int = 3) -> Any:
    kinds: list[Any] = [None, True, 5, "a", "", "bc"]
    if depth and source.random() < 0.7:
        if source.random() < 0.5:
            return [any_item(source, depth - 1) for _ in range(source.randrange(3))]
        return {key: any_delta(source, depth - 1) for key in source.sample(["id", "type", "t", "n", "l"], 3)}
    return source.choice(kinds)


def any_item(source: random.Random, depth: int) -> Any:
    value = any_delta(source, depth)
    if isinstance(value, dict) and source.random() < 0.9:
        value["index"] = source.choice([0, 1, 2, 7, 1.5, -1])
    return value


@pytest.mark.parametrize("seed", range(150))
def test_merging_in_place_agrees_with_the_simple_implementation(seed: int) -> None:
    source = random.Random(seed)
    pieces = [{"a": any_delta(source), "b": any_delta(source), "id": any_delta(source, 0)} for _ in range(8)]
    before = json.dumps(pieces)
    expected: Any = {}
    merger = Merger({})
    one_by_one: Any = None
    for delta in pieces:
        expected = simple_merge(expected, delta)
        merger.fold(delta)
        one_by_one = merge(one_by_one, delta)
        assert one_by_one == expected
    assert merger.settle() == expected == merge(None, pieces)
    assert json.dumps(pieces) == before, "merging must not change its input"


def merge(value: Any, pieces: Any) -> Any:
    return merge_deltas.implementation(value, pieces)


# --- Limits of the state --------------------------------------------------------------------------------

GROWING = {
    "flat": "${ [$state.x, v][] }",
    "concat": "${ concat($state.x, v) }",
    "text": "${ $state.x }${ v }",
    "merge": "${ merge($state.x, from_items([[k, v]])) }",
    "merge_deltas": "${ merge_deltas($state.x, {t: v}) }",
    "nested": "${ [$state.x, v] }",
    "doubled": "${ [$state.x, $state.x, v] }",
}


@pytest.mark.parametrize("form", GROWING)
def test_state_is_bounded(form: str, tmp_path: Path) -> None:
    start = "x: {}" if "merge" in form else "x: null"
    limits = Limits(bytes=1 << 20)
    plans = streamed(
        f"- set: {{ x: {json.dumps(GROWING[form])} }}",
        tmp_path,
        start,
        "n",
        f"limits: {{ bytes: {limits.bytes} }}",
    )
    upstream = sse({"v": "a" * 5000, "k": f"k{n}"} for n in range(1000))
    result = posted(plans, "/x", None, upstream)
    assert result.error is not None
    assert result.error.kind == "upstream_error"
    assert result.error.message.endswith(f"the limit of {limits.bytes} bytes is exceeded (limits.bytes)")
    assert location_of(result).startswith("13:")


def test_emitting_the_state_for_each_event_costs_steps(tmp_path: Path) -> None:
    """An emitted state must be copied before the next event appends to it."""
    rules = "- { set: { x: '${ [$state.x, v][] }' }, emit: { n: '${ join(``, $state.x) }' } }".replace(
        "``", '`""`'
    )
    plans = streamed(rules, tmp_path, more="limits: { steps: 1000 }")
    result = posted(plans, "/x", None, sse({"v": "a"} for _ in range(100)))
    assert result.error is not None
    assert result.error.message.endswith("the limit of 1000 loop steps is exceeded (limits.steps)")
