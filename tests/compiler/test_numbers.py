"""Numbers and durations that an expression gives at load, from the environment and from `vars`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Findings, compile_set, load
from engine.plan import MappingPlan

MAPPING = """
dragoman: 1
env: { N: {}, T: {}, R: {} }
vars: { n: "${ $env.N }" }
limits: { steps: "${ $env.N }", bytes: "${ $vars.n }" }
cors: { origins: "*", max_age: "${ $env.T }" }
rate_limit: ${ $env.R }
upstreams:
  api:
    url: http://localhost
    connections: ${ $env.N }
    breaker: ${ $env.N }
    retry: { attempts: "${ $env.N }", wait: "${ $env.T }" }
    health: { path: /health, timeout: "${ $env.T }", keep: "${ $env.T }" }
    timeout: { connect: "${ $env.T }", read: "${ $env.T }", total: "${ $env.T }", stream: "${ $env.T }" }
  long: { url: http://localhost, breaker: { failures: "${ $vars.n }", open: "${ $env.T }" } }
routes:
  POST /a:
    concurrency: ${ $env.N }
    timeout: ${ $env.T }
    cache: ${ $env.T }
    request: { max_bytes: "${ $env.N }" }
    calls:
      one: { upstream: api, path: /a, each: [1], parallel: "${ $env.N }", max_bytes: "${ $env.N }", cache: "${ $env.T }", timeout: "${ $env.T }" }
    respond: { body: "${ $calls.one }" }
  GET /ticks: { respond: { stream: { to: sse, emit: [{ a: 1 }], every: "${ $env.T }", keep_alive: "${ $env.T }" } } }
  GET /long: { call: GET long /, respond: { body: "${ @ }" } }
"""  # noqa: E501


def compiled(tmp_path: Path, environ: dict[str, str], text: str = MAPPING) -> tuple[MappingPlan, list[str]]:
    (tmp_path / "numbers.yaml").write_text(text)
    findings = Findings()
    plans = compile_set(load([tmp_path / "numbers.yaml"], findings), environ, findings)
    return plans.mappings["numbers"], [finding.message for finding in findings]


#: What each number is in the plan: the number itself, or nothing where the variable has no value.
NUMBERS: dict[str, tuple[Callable[[MappingPlan], Any], Any]] = {
    "limits.steps": (lambda plan: plan.limits.steps, 10_000_000),
    "limits.bytes": (lambda plan: plan.limits.bytes, 64 * 1024 * 1024),
    "connections": (lambda plan: plan.upstreams["api"].connections, 200),
    "breaker": (lambda plan: plan.upstreams["api"].breaker.failures, 20),
    "breaker.failures": (lambda plan: plan.upstreams["long"].breaker.failures, 20),
    "retry.attempts": (lambda plan: plan.upstreams["api"].retry.attempts, 2),
    "concurrency": (lambda plan: plan.routes[0].concurrency, None),
    "request.max_bytes": (lambda plan: plan.routes[0].max_bytes, 16 * 1024 * 1024),
    "request.max_bytes of a forward": (lambda plan: plan.routes[0].max_forwarded, None),
    "parallel": (lambda plan: plan.routes[0].attempts[0].calls[0].parallel, 8),
    "max_bytes": (lambda plan: plan.routes[0].attempts[0].calls[0].max_bytes, 16 * 1024 * 1024),
}
DURATIONS: dict[str, tuple[Callable[[MappingPlan], Any], Any]] = {
    "cors.max_age": (lambda plan: plan.cors.max_age, 600),
    "retry.wait": (lambda plan: plan.upstreams["api"].retry.wait, 0.1),
    "health.timeout": (lambda plan: plan.upstreams["api"].health.timeout, 2),
    "health.keep": (lambda plan: plan.upstreams["api"].health.cache_seconds, 5),
    "timeout.connect": (lambda plan: plan.upstreams["api"].timeouts.connect, 5),
    "timeout.read": (lambda plan: plan.upstreams["api"].timeouts.read, 60),
    "timeout.total": (lambda plan: plan.upstreams["api"].timeouts.total, 600),
    "timeout.stream": (lambda plan: plan.upstreams["api"].timeouts.stream, 3600),
    "breaker.open": (lambda plan: plan.upstreams["long"].breaker.open, 5),
    "timeout of a route": (lambda plan: plan.routes[0].timeout, None),
    "cache": (lambda plan: plan.routes[0].cache and plan.routes[0].cache.seconds, None),
    "cache of a call": (lambda plan: plan.routes[0].attempts[0].calls[0].cache, None),
    "timeout of a call": (lambda plan: plan.routes[0].attempts[0].calls[0].timeout, None),
    "every": (lambda plan: plan.routes[1].cases[0].stream.every, 0),
    "keep_alive": (lambda plan: plan.routes[1].cases[0].stream.keep_alive, None),
}


def test_each_has_the_value_of_its_variable(tmp_path: Path) -> None:
    plan, findings = compiled(tmp_path, {"N": "7", "T": "9s", "R": "3/1m"})
    assert findings == []
    assert {name: read(plan) for name, (read, _) in NUMBERS.items()} == dict.fromkeys(NUMBERS, 7)
    assert {name: read(plan) for name, (read, _) in DURATIONS.items()} == dict.fromkeys(DURATIONS, 9)
    assert [rate.limit for rate in plan.routes[0].rates] == [3]


@pytest.mark.parametrize("environ", [{}, {"N": "", "T": " ", "R": ""}])
def test_without_a_value_each_has_its_default(environ: dict[str, str], tmp_path: Path) -> None:
    plan, findings = compiled(tmp_path, environ)
    assert findings == []
    every = {**NUMBERS, **DURATIONS}
    assert {name: read(plan) for name, (read, _) in every.items()} == {
        name: default for name, (_, default) in every.items()
    }
    assert plan.routes[0].rates == ()


@pytest.mark.parametrize(
    "text", ["many", "0", "-1", "1.5", "1e999", "true", "0x10", "07", "[7]", "7 MiB", "\ud800"]
)
def test_a_wrong_value_is_reported_by_the_name_of_its_variable(text: str, tmp_path: Path) -> None:
    _, findings = compiled(tmp_path, {"N": text, "T": text, "R": text})
    in_range = 2 if text in ("0", "1e999") else 0  # both max_bytes may be 0, and have no upper bound
    assert sum("$env.N: expected a whole number from" in message for message in findings) == 8 - in_range
    assert sum(message.startswith("$env.T: ") for message in findings) == len(DURATIONS)
    assert sum(message.startswith("$env.R: expected a rate") for message in findings) == 1
    if text != "0":
        assert [message for message in findings if text in message] == []
