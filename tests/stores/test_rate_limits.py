"""Rate limits: exact under concurrency, by key and by address, in one process and across several by Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import ExchangeError
from engine.plan import RatePlan
from engine.server.client_addresses import ClientAddresses, networks
from engine.stores.memory_windows import MemoryWindows
from engine.stores.rate_limits import RateLimits
from tests.support.server import Response, Server, dragoman_server, failed_start
from tests.support.times import PATIENCE, SOON
from tests.support.upstream import Upstream, eventually

MAPPING = """
dragoman: 1
env: { UP: { default: "http://localhost:9" }, NONE: {} }
upstreams: { up: { url: "${ $env.UP }" } }
auth:
  bearer:
    - { name: small, key: sk-small, rate_limit: 3/1h }
    - { name: one, key: sk-one }
    - { name: two, key: sk-two, rate_limit: "${ $env.NONE }" }
errors: { body: { kind: "${ kind }", by: "${ $request.key }" } }
routes:
  GET /small: { respond: { body: ok } }
  GET /by-key: { rate_limit: 50/1h, respond: { body: ok } }
  GET /free: { auth: none, rate_limit: 5/1h, respond: { body: ok } }
  GET /address: { rate_limit: { limit: 4/1h, by: address }, respond: { body: ok } }
  GET /all: { rate_limit: { limit: 4/1h, by: all }, respond: { body: ok } }
  POST /soon: { rate_limit: 2/1s, call: { upstream: up, path: /echo, body: "${ @ }" }, respond: { body: ok } }
  GET /metrics: { auth: none, builtin: metrics }
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}, ("--trusted-proxies", "127.0.0.1, ::1")) as running:
        yield running


def get(server: Server, target: str, key: str = "sk-one", **headers: str) -> Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.get(target, headers={"authorization": f"Bearer {key}", **fields})


def test_a_rate_is_exact_under_concurrency(server: Server) -> None:
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: get(server, "/by-key").status, range(120)))
    assert (statuses.count(200), statuses.count(429)) == (50, 70)
    assert get(server, "/by-key", "sk-two").status == 200, "each key has its own"


def test_a_refusal_has_the_error_format_of_the_mapping(server: Server) -> None:
    assert [get(server, "/small", "sk-small").status for _ in range(3)] == [200] * 3
    response = get(server, "/small", "sk-small")
    assert (response.status, response.json) == (429, {"kind": "rate_limited", "by": "small"})
    assert 3500 <= int(response.header("retry-after") or 0) <= 3600
    assert get(server, "/small", "sk-two").status == 200


def test_requests_are_admitted_again_after_the_period(server: Server, upstream: Upstream) -> None:
    request_id = uuid.uuid4().hex
    fields = {"authorization": "Bearer sk-one", "x-request-id": request_id}
    responses: list[Response] = []

    def is_refused() -> bool:
        responses.append(server.post("/soon", {}, headers=fields))
        return responses[-1].status == 429

    assert eventually(is_refused), "three within a second"
    assert len(upstream.seen(request_id)) == len(responses) - 1
    assert responses[-1].header("retry-after") == "1"
    time.sleep(1.1)
    assert server.post("/soon", {}, headers=fields).status == 200


def test_open_routes_have_rates_by_address(server: Server) -> None:
    assert [server.get("/free").status for _ in range(6)] == [200] * 5 + [429]
    assert get(server, "/free", x_forwarded_for="192.0.2.7").status == 200, "another client"
    assert get(server, "/address", x_forwarded_for="192.0.2.8").status == 200
    keys = ("sk-one", "sk-two", "sk-one", "sk-two")
    found = [get(server, "/address", key, x_forwarded_for="192.0.2.8").status for key in keys]
    assert found == [200, 200, 200, 429]
    assert [
        get(server, "/all", key, x_forwarded_for=f"192.0.2.{n}").status for n, key in enumerate(keys)
    ] == [200] * 4
    assert get(server, "/all", x_forwarded_for="192.0.2.99").status == 429


def test_an_untrusted_forwarded_address_is_ignored() -> None:
    with dragoman_server(MAPPING) as server:
        found = [server.get("/free", headers={"x-forwarded-for": f"192.0.2.{n}"}).status for n in range(6)]
    assert found == [200] * 5 + [429]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.1", ["192.0.2.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["6.6.6.6", "192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ("10.0.0.1", ["nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:db8:1:2:ffff::9"], "2001:db8:1:2::/64"),
        ("", ["192.0.2.1"], ""),
    ],
)
def test_the_address_of_a_client(peer: str, forwarded: list[str], address: str) -> None:
    addresses = ClientAddresses(networks("10.0.0.0/8, ::1"))
    assert addresses.client_of(peer, [("x-forwarded-for", value) for value in forwarded])[1] == address


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--trusted-proxies", "everyone"), "everyone"),
        (("--limits-storage", "mysql://user:sk-canary@db"), "redis://"),
    ],
)
def test_invalid_options_stop_the_start(args: tuple[str, str], expected: str) -> None:
    status, output = failed_start(MAPPING, args=args)
    assert status == 2
    assert expected in output
    assert "sk-canary" not in output
    assert "Traceback" not in output


def test_redis_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ValueError, match=r"install dragoman\[redis\]"):
        RateLimits("redis://localhost")


# --- Several processes -----------------------------------------------------------------------------------


def admitted(limits: RateLimits, rate: RatePlan, subject: str = "a") -> int:
    """Returns 0 for an admitted request, else the seconds after which it may be repeated."""
    try:
        asyncio.run(limits.admit([(rate, subject)]))
    except ExchangeError as error:
        return int(dict(error.headers)["retry-after"])
    return 0


@pytest.mark.parametrize("step", [-3600.0, -1e9, 3600.0, 1e9])
def test_a_change_of_the_wall_clock_has_no_effect(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    limits, rate, real = RateLimits(), RatePlan(2, 60, "all", "scope"), time.time
    assert [admitted(limits, rate) for _ in range(2)] == [0, 0]
    monkeypatch.setattr(time, "time", lambda: real() + step)
    assert 1 <= admitted(limits, rate) <= 60, "those two still count"
    assert admitted(limits, rate, "b") == 0


def test_a_window_slides_with_its_clock() -> None:
    now = 1000.0
    windows, rate = MemoryWindows(lambda: now), RatePlan(2, 60, "all", "scope")

    def hit() -> float | None:
        return asyncio.run(windows.hit(rate, "a"))

    assert (hit(), hit(), hit()) == (None, None, 60.0)
    now = 1059.0
    assert hit() == 1.0
    now = 1060.0
    assert (hit(), hit(), hit()) == (None, None, 60.0)


needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server")


@contextlib.contextmanager
def redis(directory: Path) -> Iterator[str]:
    """Yields the URL of a Redis on its own socket."""
    path = directory / "redis.sock"
    command = [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        str(path),
        "--save",
        "",
        "--dir",
        str(directory),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        assert eventually(path.exists)
        yield f"redis+unix://{path}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@needs_redis
def test_two_processes_share_one_limit(tmp_path: Path) -> None:
    with redis(tmp_path) as url, contextlib.ExitStack() as stack:
        env = {"DRAGOMAN_LIMITS_STORAGE": url}
        servers = [stack.enter_context(dragoman_server(MAPPING, env)) for _ in range(2)]
        with ThreadPoolExecutor(16) as pool:
            responses = list(pool.map(lambda n: get(servers[n % 2], "/by-key"), range(120)))
        statuses = [response.status for response in responses]
        assert (statuses.count(200), statuses.count(429)) == (50, 70)
        waits = [int(response.header("retry-after") or 0) for response in responses if response.status == 429]
        assert 3500 <= min(waits) <= max(waits) <= 3600


@needs_redis
def test_requests_are_admitted_if_the_storage_fails(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with redis(tmp_path) as url:
            server = stack.enter_context(dragoman_server(MAPPING, {"DRAGOMAN_LIMITS_STORAGE": url}))
            assert [server.get("/free").status for _ in range(6)] == [200] * 5 + [429]
        assert [server.get("/free").status for _ in range(6)] == [200] * 6
        found = [line["available"] for line in server.log() if line["event"] == "limits_storage"]
        assert found == [False], "once"
        assert "dragoman_limits_storage_failures_total 6.0" in server.get("/metrics").text
        with redis(tmp_path):
            assert eventually(lambda: server.get("/free").status == 429), "it counts again"
            found = [line["available"] for line in server.log() if line["event"] == "limits_storage"]
            assert found == [False, True]


def test_requests_do_not_wait_for_a_silent_storage() -> None:
    pytest.importorskip("redis")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://:sk-canary@127.0.0.1:{silent.getsockname()[1]}"
        with dragoman_server(MAPPING, {"DRAGOMAN_LIMITS_STORAGE": url}) as server:
            started = time.monotonic()
            assert [server.get("/free").status for _ in range(6)] == [200] * 6
            assert time.monotonic() - started < SOON
            assert "sk-canary" not in server.text()


def test_expired_counters_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.stores.memory_windows._SWEEP", 100)

    async def run() -> int:
        limits = RateLimits()
        rate, slow = RatePlan(1, 1, "address", "short"), RatePlan(1, 60, "address", "long")
        for number in range(500):
            await limits.admit([(rate, f"address {number}")])
        await limits.admit([(slow, "address")])
        await asyncio.sleep(1.1)
        for _ in range(100):
            with contextlib.suppress(ExchangeError):
                await limits.admit([(slow, "address")])
        return len(limits._storage)  # type: ignore[arg-type]

    assert asyncio.run(run()) == 1


def test_mapping_tests_are_not_counted(tmp_path: Path) -> None:
    from engine import run_suites

    (tmp_path / "m.yaml").write_text(
        "dragoman: 1\nrate_limit: 1/1h\nroutes: { GET /x: { concurrency: 1, respond: { body: x } } }"
    )
    cases = [{"name": f"case {n}", "request": "GET /x", "expect": {"text": "x"}} for n in range(3)]
    (tmp_path / "m.test.yaml").write_text(json.dumps({"dragoman": 1, "cases": cases}))
    run = run_suites([tmp_path / "m.test.yaml"])
    assert (run.passed, run.failed, run.not_run) == (3, 0, 0)
