"""A reader that contains the code of the writer does what one does that passes its parts on.

For parts whose fields are known at load, the reader's code contains that of the templates and the writer.
Streams of generated events, and all suites of the shipped mappings, run with both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Findings, PlanSet, compile_set, load, run_suites, source_files
from engine.compiler.rules import Rules
from tests.support.exchanges import run_offline
from tests.support.repository import ROOT

MAPPING = """
dragoman: 1
auth: none
upstreams: { up: { url: "http://127.0.0.1:9" } }
streams:
  reader:
    state: { seen: 0, calls: [], text: "" }
    rules:
      - set: { seen: "${ add($state.seen, `1`) }" }
      - when: ${ calls }
        set: { calls: "${ [$state.calls, calls][] }" }
      - when: ${ kind == 'stop' }
        emit: { text: stopped, number: "${ $state.seen }" }
        stop: true
      - each: ${ items }
        emit:
          text: ${ text }
          item: ${ @ }
          number: ${ $index }
          calls: { $each: "${ calls }", id: "${ @ }" }
      - when: ${ text }
        set: { text: "${ concat($state.text, text) }" }
        emit:
          - { text: "${ text }", nested: { $if: "${ flag }", $then: { deep: "${ text }" }, $else: [1] } }
          - { text: "${ $state.text }", $spread: { $with: "${ more }", extra: "${ x }" } }
      - when: ${ more }
        emit: { $spread: "${ more }" }
      - when: ${ kind == 'fail' }
        emit: { text: "${ if(flag, fail('upstream_error', 'refused'), 'passed') }" }
      - when: ${ usage }
        emit: { usage: "${ usage }" }
    end: [{ emit: { text: "${ $state.text }", all: "${ $state.calls }" } }]
  writer:
    to: { ndjson: { wrap: { number: "${ $emitted }", id: "${ uuid() && 'id' }", event: "${ @ }" } } }
    state: { seen: 0, texts: [], last: null }
    rules:
      - set: { seen: "${ add($state.seen, `1`) }", texts: "${ [$state.texts, [text]][] }" }
      - when: ${ text == $state.last }
        rules:
          - when: ${ number == `3` || again }
            emit: { repeated: "${ text }" }
            stop: true
          - emit: { same: "${ text }" }
        emit: repeated
      - when: ${ text }
        set: { last: "${ text }" }
        emit: [{ text: "${ text }", seen: "${ $state.seen }", extra: "${ extra }" }, "${ nested }"]
      - each: ${ calls }
        emit: { call: "${ @ }", index: "${ $index }" }
      - when: ${ missing || !(missing.inner) && usage }
        emit: { usage: "${ usage }" }
    end: [{ emit: { texts: "${ $state.texts }", seen: "${ $state.seen }" } }]
    error: [{ emit: { error: "${ message }" } }]
  looped:
    to: ndjson
    rules: [{ each: "${ items }", emit: "${ @ }", stop: true }, { emit: end }]
templates:
  renamed:
    $let: { first: "${ number || `0` }" }
    text: ${ text }
    number: ${ $first }
    again: ${ item.again }
    nested: ${ nested }
    calls: ${ calls }
    extra: ${ extra }
    usage: ${ usage }
    missing: ${ nothing }
    items: ${ item.items }
    partial: ${ $partial }
routes:
  POST /all:
    usage: { input: "${ usage.input }" }
    call: { upstream: up, path: /, body: "${ @ }" }
    respond: { stream_when: true, pipeline: [reader, renamed, writer] }
  POST /direct:
    call: { upstream: up, path: /, body: "${ @ }" }
    respond: { stream_when: true, pipeline: [reader, writer] }
  POST /looped:
    call: { upstream: up, path: /, body: "${ @ }" }
    respond: { stream_when: true, pipeline: [reader, renamed, looped] }
  POST /unknown-counts:
    usage: { input: "${ if(uuid(), usage.input) }" }
    call: { upstream: up, path: /, body: "${ @ }" }
    respond: { stream_when: true, pipeline: [reader, renamed, writer] }
"""


@contextmanager
def unfused() -> Iterator[None]:
    """Compile readers that pass all parts on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rules, "compile_with", lambda *arguments: None)
        yield


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanSet, PlanSet]:
    """The plans with and without the code of the writer in the reader."""
    file: Path = tmp_path_factory.mktemp("fused") / "pipes.yaml"
    file.write_text(MAPPING)
    with unfused():
        apart = compiled(file)
    return compiled(file), apart


def compiled(file: Path) -> PlanSet:
    findings = Findings()
    found = compile_set(load(source_files([str(file)], findings), findings), {}, findings)
    assert not list(findings), [f"{f.span}: {f.message}" for f in findings]
    return found


def code_of(plans: PlanSet, path: str) -> str:
    """The generated code of a reader's rules."""
    plan = plans.tree.find(path, "POST").leaf("POST")
    stream = plan.route.attempts[0].cases[0].pipeline.stream  # type: ignore[union-attr]
    assert stream is not None
    assert stream.translation is not None
    assert stream.translation.rules is not None
    source: str = stream.translation.rules.source
    return source


TEXTS = st.sampled_from(["", "a", "b", "ab"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(0, 3), TEXTS, st.just([]), st.just({"x": "y"}))
ITEMS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"text": TEXTS, "again": VALUES, "items": VALUES, "calls": st.lists(VALUES, max_size=2)}
    )
    | VALUES,
    max_size=3,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["stop", "fail", "other"]),
        "text": VALUES,
        "flag": VALUES,
        "items": ITEMS,
        "calls": VALUES,
        "more": st.fixed_dictionaries({}, optional={"x": VALUES, "text": VALUES, "number": VALUES}),
        "usage": st.fixed_dictionaries({}, optional={"input": VALUES}),
    },
)


def outcome(plans: PlanSet, path: str, events: list[Any]) -> tuple[int, bytes, dict[str, int], int]:
    """What a client receives, with the counts and the bytes left of the exchange's limit."""
    data = "".join(f"{json.dumps(event)}\n" for event in events).encode()
    result = run_offline(plans, path, {}, [data], "application/x-ndjson")
    return result.status, result.body, result.result.exchange.usage, result.result.exchange.output


@pytest.mark.parametrize("path", ["/all", "/direct", "/looped", "/unknown-counts"])
@settings(deadline=None, max_examples=150)
@given(events=st.lists(EVENTS, min_size=1, max_size=6))
def test_clients_receive_the_same(both: tuple[PlanSet, PlanSet], path: str, events: list[Any]) -> None:
    fused, apart = both
    assert outcome(fused, path, events) == outcome(apart, path, events)


def test_parts_with_known_fields_are_not_passed_on(both: tuple[PlanSet, PlanSet]) -> None:
    """Passed on are the part with counts, and the one with fields that are known only at request time."""
    fused, apart = both
    assert code_of(fused, "/all").count("x.take(") == 2
    assert code_of(fused, "/direct").count("x.take(") == 1, "without 'usage', no part has counts"
    assert code_of(apart, "/all").count("x.take(") == 7


@pytest.mark.parametrize("path", ["/looped", "/unknown-counts"])
def test_parts_are_passed_on_where_the_code_cannot_be_in_place(
    both: tuple[PlanSet, PlanSet], path: str
) -> None:
    """A `stop` in a loop, and a `usage` that may count any part."""
    fused, apart = both
    assert code_of(fused, path) == code_of(apart, path)


def test_the_limits_of_an_exchange_hold(tmp_path: Path) -> None:
    """The growing states of a reader and a writer are charged for, also with the writer's code in place."""
    file = tmp_path / "bounded.yaml"
    file.write_text(MAPPING + "limits: { bytes: 20000 }\n")
    with unfused():
        apart = compiled(file)
    for plans in (compiled(file), apart):
        lines = outcome(plans, "/all", [{"text": "x" * 100}] * 500)[1].splitlines()
        assert 40 < len(lines) < 400
        assert b"20000 bytes" in lines[-1]


def test_all_cases_of_shipped_mappings_pass_with_both() -> None:
    suites = sorted((ROOT / "mappings").glob("*.test.yaml"))
    assert suites
    for run in (run_suites(suites), run_unfused(suites)):
        assert run.failed == 0
        assert not run.uncovered


def run_unfused(suites: list[Path]) -> Any:
    with unfused():
        return run_suites(suites)
