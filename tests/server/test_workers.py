"""Several worker processes share one address: they are replaced, end and reload together."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.observability.test_metrics import samples
from tests.server.test_admin import admin_of, send_request
from tests.support.server import Server, dragoman_server, failed_start
from tests.support.times import SOON
from tests.support.upstream import Channel, Gated, Seen, Upstream, drip, eventually, head, json_response

MAPPING = """
dragoman: 1
name: shop
env: { UP: {} }
upstreams: { up: { url: "${ $env.UP }" } }
routes:
  GET /version: { respond: { body: { version: 1 } } }
  GET /late: { call: GET up /workers/late, respond: { body: { version: 1 } } }
  GET /stream:
    call: GET up /workers/stream
    respond:
      stream_when: true
      pipeline: [{ to: { sse: { done: "[DONE]" } }, rules: [{ emit: { version: 1 } }] }]
"""
SSE = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
CHUNK = b'e\r\ndata: {"n":1}\n\r\n1\r\n\n\r\n'
EVENTS = 20
#: Private memory that a worker may have, in MiB; twice as much if it wrote to all shared pages.
OWN = 16


async def stream(channel: Channel, seen: Seen) -> None:
    await drip(head(200, SSE), CHUNK, 0.1, EVENTS)(channel, seen)
    await channel.send(b"0\r\n\r\n")


def streamed(upstream: Upstream) -> int:
    """Returns the number of requested streams."""
    return sum(seen.path == "/workers/stream" for seen in list(upstream.requests))


def children(server: Server) -> list[int]:
    process = server.process.pid
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def private(process: int) -> float:
    """Returns the private memory of a process in MiB."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"Private_\w+:\s+(\d+) kB", text)) / 1024


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "shop.yaml"
    file.write_text(MAPPING)
    return file


@pytest.fixture
def server(file: Path, upstream: Upstream) -> Iterator[Server]:
    upstream.on("/workers/stream", stream)
    arguments = ("--workers", "2", "--admin", "0")
    with dragoman_server(file, {"UP": upstream.url}, arguments) as running:
        yield running


def requests_counted(server: Server) -> float:
    """The number of requests of `/version`, by the metrics of all workers."""
    found = samples(send_request(server, "/metrics").text).get(
        "http_server_request_duration_seconds_count", ()
    )
    return sum(value for labels, value in found if labels["http_route"] == "/version")


def test_metrics_are_aggregated(server: Server) -> None:
    assert len(children(server)) == 2
    for _ in range(200):
        assert server.get("/version").status == 200
    assert eventually(lambda: requests_counted(server) == 200)
    assert dict(samples(send_request(server, "/metrics").text))["dragoman_plan_generation"][0][1] == 1


def test_counts_of_a_worker_survive_it(server: Server) -> None:
    for _ in range(50):
        assert server.get("/version").status == 200
    assert eventually(lambda: requests_counted(server) == 50)
    for process in children(server):
        known = children(server)
        os.kill(process, signal.SIGKILL)
        assert eventually(lambda known=known: len(children(server)) == 2 and children(server) != known)
    assert requests_counted(server) == 50
    assert samples(send_request(server, "/metrics").text)["http_server_active_requests"] == [({}, 0)]


def test_workers_share_loaded_plans(server: Server) -> None:
    for _ in range(50):
        assert server.get("/version").status == 200
    sizes = [private(process) for process in children(server)]
    assert max(sizes) < OWN, f"{sizes} MiB of each worker's own"


def worker_lines(server: Server) -> list[dict[str, Any]]:
    """Returns the log lines about ended workers so far; another thread reads them from the process."""
    return [line for line in server.log() if line["event"] == "worker_exit"]


def test_a_dead_worker_is_replaced(server: Server) -> None:
    first = children(server)
    os.kill(first[0], signal.SIGKILL)
    assert eventually(lambda: len(children(server)) == 2 and children(server) != first)
    assert eventually(lambda: len(worker_lines(server)) == 1)
    (line,) = worker_lines(server)
    assert (line["pid"], line["exit_status"]) == (first[0], -signal.SIGKILL)
    for _ in range(20):
        assert server.get("/version").status == 200
    assert server.text().count("Dragoman serves") == 1
    for _ in range(3):
        known = children(server)
        os.kill(known[-1], signal.SIGKILL)
        assert eventually(lambda known=known: len(children(server)) == 2 and children(server) != known)
    assert eventually(lambda: len(worker_lines(server)) == 4)
    waits = [line["restart_in_seconds"] for line in worker_lines(server)]
    assert waits == sorted(waits)
    assert waits[-1] > waits[0]


@pytest.mark.parametrize("to_all", [False, True], ids=["parent", "terminal"])
def test_running_requests_finish_at_shutdown(server: Server, upstream: Upstream, to_all: bool) -> None:
    workers, gated = children(server), Gated(json_response({}))
    upstream.on("/workers/late", gated)
    with ThreadPoolExecutor(20) as pool, gated:
        late = [pool.submit(server.get, "/late") for _ in range(10)]
        before = streamed(upstream)
        streams = [pool.submit(server.get, "/stream") for _ in range(10)]
        assert eventually(lambda: gated.here == 10)
        assert upstream.eventually(lambda up: streamed(up) == before + 10)
        if to_all:
            for process in (server.process.pid, *workers):
                os.kill(process, signal.SIGINT)
        else:
            server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: send_request(server, "/readyz").status == 503)
        gated.release()
        assert [call.result().status for call in late] == [200] * 10
        assert [call.result().text.count("data: {") for call in streams] == [EVENTS] * 10
    assert server.process.wait(SOON) == 0
    assert not any(Path(f"/proc/{process}").exists() for process in workers)


def test_a_reload_reaches_every_worker(server: Server, file: Path, upstream: Upstream) -> None:
    with ThreadPoolExecutor(10) as pool:
        before = streamed(upstream)
        streams = [pool.submit(server.get, "/stream") for _ in range(10)]
        assert upstream.eventually(lambda up: streamed(up) == before + 10)
        file.write_text("dragoman: 1\nroutes: { GET /version: { respond: { body: '${ nothing( }' } } }\n")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: any(line.get("outcome") == "failed" for line in server.log()))
        assert sum(line["event"] == "finding" for line in server.log()) == 1, "only the parent reports it"
        assert server.get("/version").json == {"version": 1}
        file.write_text(MAPPING.replace("version: 1", "version: 2"))
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: sum(line.get("outcome") == "done" for line in server.log()) == 3)
        assert {server.get("/version").json["version"] for _ in range(50)} == {2}
        for call in streams:
            assert call.result().text.count('{"version":1}') == EVENTS
    metrics = samples(send_request(server, "/metrics").text)
    assert metrics["dragoman_plan_generation"][0][1] == 2
    counts = {labels["outcome"]: value for labels, value in metrics["dragoman_reloads_total"]}
    assert counts == {"failed": 1, "done": 1}
    known = children(server)
    os.kill(known[0], signal.SIGKILL)
    assert eventually(lambda: len(children(server)) == 2 and children(server) != known)
    time.sleep(0.5)
    assert {server.get("/version").json["version"] for _ in range(50)} == {2}, "a new worker has the new set"


def test_workers_end_when_the_parent_is_killed(file: Path, upstream: Upstream) -> None:
    arguments = ("--workers", "2")
    with dragoman_server(file, {"UP": upstream.url}, arguments, expect_clean=False) as server:
        workers = children(server)
        server.process.kill()
        assert eventually(lambda: not any(Path(f"/proc/{process}").exists() for process in workers))


def test_nothing_is_left_behind(file: Path, upstream: Upstream, tmp_path: Path) -> None:
    env = {"UP": upstream.url, "TMPDIR": str(tmp_path)}
    with dragoman_server(file, env, ("--workers", "2")) as server:
        assert list(tmp_path.glob("dragoman-*"))
        server.get("/version")
    assert not list(tmp_path.glob("dragoman-*"))


def test_an_address_in_use_is_reported(file: Path, server: Server) -> None:
    port = str(urlsplit(server.url).port)
    status, output = failed_start(file, {"UP": "http://127.0.0.1:9"}, ("--workers", "2", "--port", port))
    assert (status, "another with --port" in output, "Traceback" in output) == (1, True, False)
    admin = f"127.0.0.1:{urlsplit(admin_of(server)).port}"
    status, output = failed_start(file, {"UP": "http://127.0.0.1:9"}, ("--workers", "2", "--admin", admin))
    assert (status, "another with --admin" in output, "Traceback" in output) == (1, True, False)


# --- Watched files ---------------------------------------------------------------------------------------


@pytest.fixture
def watched(file: Path, upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(file, {"UP": upstream.url}, ("--workers", "3", "--watch")) as running:
        time.sleep(0.5)
        yield running


def versions(server: Server) -> set[int]:
    """Returns the served versions; this many requests, each on its own connection, reach every worker."""
    return {server.get("/version").json["version"] for _ in range(60)}


def outcomes(server: Server) -> list[str]:
    return [line["outcome"] for line in server.log() if line["event"] == "reload"]


def put(file: Path, text: str) -> None:
    other = file.with_name(".new")
    other.write_text(text)
    other.replace(file)


def test_an_invalid_file_leaves_the_old_set_in_use_and_is_reported_once(watched: Server, file: Path) -> None:
    workers = children(watched)
    for text in (MAPPING.replace("version: 1", "version: '${ nothing( }'"), "dragoman: 1\nroutes: [\n"):
        before = len(outcomes(watched))
        put(file, text)
        assert eventually(lambda before=before: len(outcomes(watched)) > before), watched.text()
        assert versions(watched) == {1}
    time.sleep(1.5)
    assert outcomes(watched) == ["failed", "failed"], "the parent alone, and once for each"
    assert len([line for line in watched.log() if line["event"] == "finding"]) == 3 + 1
    assert children(watched) == workers, "no worker has ended of it"


def test_a_fixed_file_is_loaded_by_all(watched: Server, file: Path) -> None:
    workers = children(watched)
    put(file, "dragoman: 1\nroutes: [\n")
    assert eventually(lambda: outcomes(watched) == ["failed"]), watched.text()
    put(file, MAPPING.replace("version: 1", "version: 2"))
    # The parent reports that the set is valid, then each worker that it serves it.
    assert eventually(lambda: outcomes(watched).count("done") == 4), watched.text()
    assert versions(watched) == {2}
    assert children(watched) == workers
    put(file, MAPPING.replace("version: 1", "version: 3"))
    assert eventually(lambda: versions(watched) == {3}), watched.text()


def test_a_later_worker_serves_the_current_set(watched: Server, file: Path) -> None:
    """The new set after a reload; if the file is invalid by then, the set that the others serve."""
    put(file, MAPPING.replace("version: 1", "version: 2"))
    assert eventually(lambda: outcomes(watched).count("done") == 4), watched.text()
    put(file, "dragoman: 1\nroutes: [\n")
    assert eventually(lambda: "failed" in outcomes(watched)), watched.text()
    for process in children(watched):
        known = children(watched)
        os.kill(process, signal.SIGKILL)
        assert eventually(lambda known=known: len(children(watched)) == 3 and children(watched) != known)
    time.sleep(1)
    assert versions(watched) == {2}


OTHER = "dragoman: 1\nname: {0}\nroutes: {{ GET /{0}: {{ respond: {{ body: {{ version: 1 }} }} }} }}\n"


def test_the_parent_notices_each_kind_of_change(tmp_path: Path, upstream: Upstream) -> None:
    """It polls, because system events would need a thread."""
    for number in (1, 9):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "shop.yaml").write_text(MAPPING.replace("version: 1", f"version: {number}"))
    current, globbed = tmp_path / "current", tmp_path / "globbed"
    current.symlink_to("1")
    globbed.mkdir()
    (globbed / "a.yaml").write_text(OTHER.format("a"))
    file = current / "shop.yaml"
    deep = current / "deep" / "deeper" / "b.yaml"
    paths, args = (str(current), str(globbed / "*.yaml")), ("--workers", "2", "--watch")

    def statuses(path: str) -> set[int]:
        return {server.get(path).status for _ in range(40)}

    def all_have_reloaded(times: int) -> bool:
        return eventually(lambda: outcomes(server) == ["done"] * (3 * times))

    with dragoman_server(paths, {"UP": upstream.url}, args) as server:
        file.write_text(MAPPING.replace("version: 1", "version: 2"))
        assert all_have_reloaded(1), server.text()
        assert versions(server) == {2}
        put(file, MAPPING.replace("version: 1", "version: 3"))
        assert all_have_reloaded(2), server.text()
        assert versions(server) == {3}
        deep.parent.mkdir(parents=True)
        put(deep, OTHER.format("b"))
        assert all_have_reloaded(3), server.text()
        assert statuses("/b") == {200}
        deep.unlink()
        assert all_have_reloaded(4), server.text()
        assert statuses("/b") == {404}
        put(globbed / "c.yaml", OTHER.format("c"))
        assert all_have_reloaded(5), server.text()
        assert statuses("/c") == {200}
        (tmp_path / "next").symlink_to("9")
        (tmp_path / "next").rename(current)
        assert all_have_reloaded(6), server.text()
        assert versions(server) == {9}


def test_a_change_in_a_constantly_changing_directory_is_noticed(watched: Server, file: Path) -> None:
    stop = threading.Event()

    def make_files() -> None:
        number = 0
        while not stop.wait(0.02):
            number += 1
            (file.parent / f"{number}.tmp").touch()

    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(make_files)
        put(file, MAPPING.replace("version: 1", "version: 2"))
        try:
            assert eventually(lambda: outcomes(watched) == ["done"] * 4), watched.text()
        finally:
            stop.set()
        making.result()
    assert versions(watched) == {2}
