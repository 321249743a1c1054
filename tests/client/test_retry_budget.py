"""Retries are at most a fifth of the calls: a failing upstream receives 1.2 times the traffic."""

from __future__ import annotations

import pytest

from engine.client.retry_budget import RESERVE, RetryBudget
from tests.support.server import dragoman_server
from tests.support.upstream import Upstream


@pytest.mark.parametrize("rate", [20, 5, 100])
@pytest.mark.parametrize("attempts", [2, 5])
def test_over_a_minute_a_failing_upstream_receives_a_fifth_more(rate: int, attempts: int) -> None:
    now = [0.0]
    budget, sent = RetryBudget(lambda: now[0]), 0
    for number in range(60 * rate):
        now[0] = number / rate
        budget.record_call()
        sent += 1
        for _ in range(attempts - 1):
            if not budget.acquire():
                break
            budget.record_call()
            sent += 1
        assert sent <= max(number + 1 + RESERVE, 1.2 * (number + 1)), f"at {now[0]} s"
    assert 1.15 * 60 * rate <= sent <= 1.2 * 60 * rate


def test_a_few_calls_may_always_be_retried() -> None:
    now = [0.0]
    budget = RetryBudget(lambda: now[0])
    for minute in range(10):
        now[0] = minute * 60.0
        budget.record_call()
        assert budget.acquire()


MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }", retry: { attempts: 3, wait: 1ms } } }
routes: { GET /x: { call: GET up /status/503, respond: {} } }
"""


def test_a_failing_upstream_is_not_flooded() -> None:
    with Upstream() as upstream, dragoman_server(MAPPING, {"UP": upstream.url}) as server:
        for _ in range(100):
            assert server.get("/x").status == 503
        assert 110 <= len(upstream.requests) <= 120
