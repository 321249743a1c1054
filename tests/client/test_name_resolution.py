"""Names that are slow to resolve delay only their own callers, up to their own timeouts.

Only the lookup is replaced, by one that waits for an event; everything else is real.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from engine.client import resolver as resolving
from engine.client.adapters import open_upstream
from engine.client.resolver import Resolver
from engine.client.upstream import Upstream as Adapter
from engine.errors import ExchangeError
from tests.support.calls import both_loops, call, plan, run
from tests.support.server import dragoman_server
from tests.support.times import PATIENCE, SOON
from tests.support.upstream import Upstream, json_response

OK = b'{"ok": true}'


def entry(address: str, family: int = socket.AF_INET) -> Any:
    return (family, socket.SOCK_STREAM, 6, "", (address, 0))


class Names:
    """The system's results for names: addresses, an exception, or nothing until `resolve`."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.found: dict[str, list[Any] | Exception] = {}
        self._resolved = threading.Event()
        self._begun = threading.Semaphore(0)

    def __call__(self, host: str) -> list[Any]:
        self.queries.append(host)
        self.threads.add(threading.current_thread())
        self._begun.release()
        if host not in self.found:
            assert self._resolved.wait(PATIENCE)
        found = self.found[host]
        if isinstance(found, Exception):
            raise found
        return found

    async def begun(self, times: int = 1) -> None:
        """Waits until this many more lookups have begun."""
        for _ in range(times):
            assert await asyncio.to_thread(self._begun.acquire, timeout=PATIENCE)

    def resolve(self) -> None:
        """Continues waiting lookups; set their results in `found` first."""
        self._resolved.set()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names()
    monkeypatch.setattr(resolving, "system_lookup", found)
    yield found
    found.found.setdefault("slow.test", [])
    found.resolve()
    for thread in found.threads:
        thread.join(PATIENCE)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        running.otherwise(json_response({"ok": True}))
        yield running


async def _fails(adapter: Adapter) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        await adapter.send(call("/"))
    return caught.value


# --- Lookups ---------------------------------------------------------------------------------------------


@both_loops
def test_callers_share_one_lookup_and_its_result(names: Names, loop: str) -> None:
    async def work() -> None:
        resolver = Resolver()
        callers = [asyncio.ensure_future(resolver.addresses("slow.test")) for _ in range(50)]
        left = asyncio.ensure_future(resolver.addresses("slow.test"))
        await names.begun()
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        names.found["slow.test"] = [entry("127.0.0.1"), entry("127.0.0.2")]
        names.resolve()
        assert await asyncio.gather(*callers) == [["127.0.0.1", "127.0.0.2"]] * 50
        assert await resolver.addresses("slow.test") == ["127.0.0.1", "127.0.0.2"]
        assert names.queries == ["slow.test"]
        resolver.forget("slow.test")
        assert await resolver.addresses("slow.test") == ["127.0.0.1", "127.0.0.2"]
        assert names.queries == ["slow.test"] * 2

    run(work, loop)


def test_a_result_is_cached_for_a_while(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        resolver = Resolver()
        names.found["a.test"] = [entry("127.0.0.1")]
        await resolver.addresses("a.test")
        monkeypatch.setattr(resolving, "_CACHE_SECONDS", 0.0)
        await resolver.addresses("a.test")
        assert names.queries == ["a.test"], "a result is valid for the configured time"
        resolver.forget("a.test")
        await resolver.addresses("a.test")
        await resolver.addresses("a.test")
        assert names.queries == ["a.test"] * 3

    run(work)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "not a host name"),
        ([], "no address"),
    ],
)
def test_a_failure_is_shared_and_not_cached(names: Names, found: list[Any] | Exception, message: str) -> None:
    async def work() -> None:
        resolver = Resolver()
        callers = [asyncio.ensure_future(resolver.addresses("slow.test")) for _ in range(3)]
        await names.begun()
        names.found["slow.test"] = found
        names.resolve()
        errors = await asyncio.gather(*callers, return_exceptions=True)
        for error in errors:
            assert isinstance(error, socket.gaierror)
            assert message in str(error)
        assert len({id(error) for error in errors}) == 3, "each caller has its own"
        with pytest.raises(socket.gaierror):
            await resolver.addresses("slow.test")
        assert names.queries == ["slow.test"] * 2

    run(work)


def test_addresses_are_not_looked_up(names: Names) -> None:
    async def work() -> None:
        assert await Resolver().addresses("127.0.0.1") == ["127.0.0.1"]
        assert await Resolver().addresses("::1") == ["::1"]

    run(work)
    assert names.queries == []


def test_address_families_alternate(names: Names) -> None:
    six = socket.AF_INET6
    names.found["a.test"] = [entry("::1", six), entry("::2", six), entry("127.0.0.1"), entry("::1", six)]

    async def work() -> None:
        assert await Resolver().addresses("a.test") == ["::1", "127.0.0.1", "::2"]

    run(work)


def test_an_endless_lookup_is_started_again_a_few_times(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_STUCK_SECONDS", 0.0)

    async def work() -> None:
        resolver = Resolver()
        callers = [asyncio.ensure_future(resolver.addresses("slow.test")) for _ in range(20)]
        await names.begun(resolving._MAX_LOOKUPS)
        names.found["slow.test"] = [entry("127.0.0.1")]
        names.resolve()
        assert await asyncio.gather(*callers) == [["127.0.0.1"]] * 20

    run(work)
    assert len(names.queries) == resolving._MAX_LOOKUPS


# --- Upstreams -------------------------------------------------------------------------------------------

#: Ways to reach an upstream with a slow name.
WAYS: dict[str, dict[str, Any]] = {
    "http1": {},
    "http2": {"http2": True},
    "proxy": {"proxy": "http://slow.test:3128"},
}


@both_loops
@pytest.mark.parametrize("way", WAYS)
def test_a_slow_name_times_out_and_delays_no_other(
    names: Names, upstream: Upstream, way: str, loop: str
) -> None:
    names.found["fine.test"] = [entry("127.0.0.1")]
    origin = "http://fine.test:9" if way == "proxy" else "http://slow.test:9"

    async def work() -> None:
        slow = open_upstream(plan(origin, connect=0.5, **WAYS[way]))
        fine = open_upstream(plan(f"http://fine.test:{upstream.port}"))
        behind = open_upstream(plan("http://a.test", proxy=f"http://fine.test:{upstream.port}"))
        failing = [asyncio.ensure_future(_fails(slow)) for _ in range(12)]
        await names.begun()
        for other in [fine] * 8 + [behind] * 8:
            response = await other.send(call("/"))
            assert response.content.data == OK
        for error in await asyncio.gather(*failing):
            assert (error.kind, error.how) == ("upstream_timeout", "timeout")
            assert error.cause == ("name lookup" if way == "http1" else "ConnectTimeout")
        assert names.queries.count("slow.test") == 1
        for adapter in (slow, fine, behind):
            await adapter.aclose()

    run(work, loop)


@pytest.mark.parametrize("way", ["http1", "proxy"])
def test_another_address_is_used_if_one_is_dead(names: Names, upstream: Upstream, way: str) -> None:
    names.found["fine.test"] = [entry("::1", socket.AF_INET6), entry("127.0.0.1")]
    url = f"http://fine.test:{upstream.port}"
    described = plan(url) if way == "http1" else plan("http://a.test", proxy=url)

    async def work() -> None:
        adapter = open_upstream(described)
        response = await adapter.send(call("/"))
        assert response.content.data == OK
        await adapter.aclose()

    run(work)


def test_a_name_is_looked_up_again_if_its_address_fails(names: Names, upstream: Upstream) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.2", 0))
        port = nobody.getsockname()[1]
        names.found["moved.test"] = [entry("127.0.0.2")]

        async def work() -> None:
            adapter = open_upstream(plan(f"http://moved.test:{port}"))
            assert (await _fails(adapter)).how == "connect"
            assert (await _fails(adapter)).how == "connect"
            await adapter.aclose()

        run(work)
    assert names.queries == ["moved.test"] * 2


@pytest.mark.parametrize("way", ["http1", "proxy"])
def test_an_unknown_name(names: Names, way: str) -> None:
    names.found["slow.test"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def work() -> None:
        adapter = open_upstream(plan("http://slow.test", **WAYS[way]))
        error = await _fails(adapter)
        assert (error.kind, error.how) == ("upstream_error", "connect")
        assert "gaierror" in (error.cause or "") or "ConnectError" in (error.cause or "")
        await adapter.aclose()

    run(work)


# --- A process -------------------------------------------------------------------------------------------

_CODE = """
import threading
from engine.client import resolver as resolving
system = resolving.system_lookup
def look_up(host):
    if host == "slow.test":
        threading.Event().wait()
    return system(host)
resolving.system_lookup = look_up
from cli.main import main
main()
"""
MAPPING = """
dragoman: 1
env: { UP: {} }
upstreams:
  slow: { url: "http://slow.test", health: GET /health, timeout: { connect: 500ms } }
  slower: { url: "http://slow.test:81", http2: true, health: GET /health, timeout: { connect: 500ms } }
  up: { url: "${ $env.UP }", health: GET /health }
routes:
  GET /slow: { call: GET slow /x, respond: { body: "${ @ }" } }
  GET /slower: { call: GET slower /x, respond: { body: "${ @ }" } }
  GET /up: { call: GET up /x, respond: { body: "${ @ }" } }
  GET /health: { builtin: health }
"""


def test_twelve_calls_to_a_slow_name_and_eight_to_another(upstream: Upstream) -> None:
    command = [sys.executable, "-c", _CODE]
    url = f"http://localhost:{upstream.port}"
    with (
        dragoman_server(MAPPING, {"UP": url}, command=command) as server,
        ThreadPoolExecutor(24) as pool,
    ):
        slow = [pool.submit(server.get, path) for path in ("/slow", "/slower") * 6]
        health = pool.submit(server.get, "/health")
        assert [server.get("/up").status for _ in range(8)] == [200] * 8
        assert {each.result().status for each in slow} == {504}
        report = {each["name"]: each["healthy"] for each in health.result().json["upstreams"]}
        assert report == {"slow": False, "slower": False, "up": True}
        assert server.stop(seconds=SOON) == 0, "a lookup that hangs does not keep the process"
