"""A stream's own `error:` rules: what a client reads after the first event where the upstream fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine import Findings, PlanSet, compile_set, load
from engine.errors import ExchangeError, call_failed
from tests.support.exchanges import Outcome, run_offline

MAPPING = """
dragoman: 1
upstreams: { up: { url: "http://localhost:9" } }
errors: { body: { general: "${ message }" } }
routes:
  POST /own:
    call: { upstream: up, path: /x, body: {} }
    respond:
      stream: &stream
        from: sse
        to: { sse: { done: "[DONE]" } }
        state: { count: 0 }
        rules:
          - when: ${ error }
            emit: ${ fail('upstream_error', error) }
          - set: { count: "${ add($state.count, `1`) }" }
            emit: { n: "${ n }" }
        error:
          - emit: { event: error, message: "${ message }", kind: "${ kind }", after: "${ $state.count }" }
          - when: ${ kind == 'upstream_timeout' }
            emit: { event: retry }
  POST /general:
    call: { upstream: up, path: /x, body: {} }
    respond:
      stream: { <<: *stream, error: [] }
  POST /broken:
    call: { upstream: up, path: /x, body: {} }
    respond:
      stream: { <<: *stream, error: [{ emit: "${ abs(message) }" }] }
"""
ONE = b'data: {"n":1}\n\n'


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> PlanSet:
    file, findings = tmp_path_factory.mktemp("errors") / "errors.yaml", Findings()
    file.write_text(MAPPING)
    plans = compile_set(load([file], findings), {}, findings)
    assert not findings.has_errors, [f"{f.span}: {f.message}" for f in findings]
    return plans


def events(told: Outcome) -> list[Any]:
    """The data of all events; an end marker stays text."""
    data = [line.removeprefix("data: ") for line in told.body.decode().split("\n") if line]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def test_an_upstream_that_disconnects_is_reported_by_the_streams_own_rules(plans: PlanSet) -> None:
    told = run_offline(
        plans, "/own", {}, [ONE], "text/event-stream", broken=call_failed("up", "broken", "reset")
    )
    first, error = events(told)
    assert first == {"n": 1}
    assert error == {"event": "error", "message": error["message"], "kind": "upstream_error", "after": 1}
    assert error["message"]
    assert told.failed


def test_fail_in_a_rule_is_reported_by_them_too(plans: PlanSet) -> None:
    told = run_offline(
        plans, "/own", {}, [ONE, ONE, b'data: {"error":"no memory"}\n\n', ONE], "text/event-stream"
    )
    assert events(told) == [
        {"n": 1},
        {"n": 1},
        {"event": "error", "message": "no memory", "kind": "upstream_error", "after": 2},
    ]


def test_all_rules_that_hold_are_used(plans: PlanSet) -> None:
    told = run_offline(
        plans, "/own", {}, [ONE], "text/event-stream", broken=call_failed("up", "timeout", "silent")
    )
    assert [event.get("event") for event in events(told)] == [None, "error", "retry"]


def test_without_them_the_body_of_errors_is_the_event(plans: PlanSet) -> None:
    told = run_offline(plans, "/general", {}, [ONE, b'data: {"error":"no memory"}\n\n'], "text/event-stream")
    assert events(told) == [{"n": 1}, {"general": "no memory"}]


def test_before_the_first_event_the_error_is_a_response_of_its_own(plans: PlanSet) -> None:
    told = run_offline(plans, "/own", {}, [b'data: {"error":"no memory"}\n\n'], "text/event-stream")
    assert (told.status, json.loads(told.body)) == (502, {"general": "no memory"})


def test_rules_that_fail_themselves_are_a_warning_and_no_end_marker_follows(plans: PlanSet) -> None:
    error = ExchangeError("upstream_error", "gone")
    told = run_offline(plans, "/broken", {}, [ONE], "text/event-stream", broken=error)
    assert events(told)[0] == {"n": 1}
    assert "[DONE]" not in events(told)
    assert any("rules for errors failed" in warning for warning in told.result.exchange.warnings)
    assert told.failed
