"""A writer's own `error` rules: the events after an upstream error that follows the first event."""

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
      stream_when: true
      pipeline:
        - &writer
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
      stream_when: true
      pipeline: [{ <<: *writer, error: [] }]
  POST /broken:
    call: { upstream: up, path: /x, body: {} }
    respond:
      stream_when: true
      pipeline: [{ <<: *writer, error: [{ emit: "${ abs(message) }" }] }]
"""
ONE = b'data: {"n":1}\n\n'


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> PlanSet:
    file, findings = tmp_path_factory.mktemp("errors") / "errors.yaml", Findings()
    file.write_text(MAPPING)
    plans = compile_set(load([file], findings), {}, findings)
    assert not findings.has_errors, [f"{f.span}: {f.message}" for f in findings]
    return plans


def events(exchange: Outcome) -> list[Any]:
    """The data of all events; an end marker remains text."""
    data = [line.removeprefix("data: ") for line in exchange.body.decode().split("\n") if line]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def test_a_disconnect_is_reported_by_the_writers_own_rules(plans: PlanSet) -> None:
    exchange = run_offline(
        plans, "/own", {}, [ONE], "text/event-stream", broken=call_failed("up", "broken", "reset")
    )
    first, error = events(exchange)
    assert first == {"n": 1}
    assert error == {"event": "error", "message": error["message"], "kind": "upstream_error", "after": 1}
    assert error["message"]
    assert exchange.failed


def test_fail_in_a_rule_is_reported_by_the_writers_own_rules(plans: PlanSet) -> None:
    exchange = run_offline(
        plans, "/own", {}, [ONE, ONE, b'data: {"error":"no memory"}\n\n', ONE], "text/event-stream"
    )
    assert events(exchange) == [
        {"n": 1},
        {"n": 1},
        {"event": "error", "message": "no memory", "kind": "upstream_error", "after": 2},
    ]


def test_all_matching_rules_are_used(plans: PlanSet) -> None:
    exchange = run_offline(
        plans, "/own", {}, [ONE], "text/event-stream", broken=call_failed("up", "timeout", "silent")
    )
    assert [event.get("event") for event in events(exchange)] == [None, "error", "retry"]


def test_without_error_rules_the_mappings_error_body_is_the_event(plans: PlanSet) -> None:
    exchange = run_offline(
        plans, "/general", {}, [ONE, b'data: {"error":"no memory"}\n\n'], "text/event-stream"
    )
    assert events(exchange) == [{"n": 1}, {"general": "no memory"}]


def test_an_error_before_the_first_event_is_an_error_response(plans: PlanSet) -> None:
    exchange = run_offline(plans, "/own", {}, [b'data: {"error":"no memory"}\n\n'], "text/event-stream")
    assert (exchange.status, json.loads(exchange.body)) == (502, {"general": "no memory"})


def test_failing_error_rules_are_a_warning_and_no_end_marker_follows(plans: PlanSet) -> None:
    error = ExchangeError("upstream_error", "gone")
    exchange = run_offline(plans, "/broken", {}, [ONE], "text/event-stream", broken=error)
    assert events(exchange)[0] == {"n": 1}
    assert "[DONE]" not in events(exchange)
    assert any("rules for errors failed" in warning for warning in exchange.result.exchange.warnings)
    assert exchange.failed
