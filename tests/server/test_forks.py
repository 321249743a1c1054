"""Workers are forked from a process with one thread and no running event loop, and inherit little from it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.server.test_admin import admin_of, send_request
from tests.server.test_workers import children, outcomes, put
from tests.support.forks import watch_forks
from tests.support.receiver import Receiver
from tests.support.server import Server, dragoman_server
from tests.support.times import SOON
from tests.support.upstream import eventually

MAPPING = "dragoman: 1\nname: shop\nroutes: { GET /version: { respond: { body: { version: %d } } } }\n"
BROKEN = "dragoman: 1\nroutes: [\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "mappings" / "shop.yaml"
    file.parent.mkdir()
    file.write_text(MAPPING % 1)
    return file


def versions(server: Server) -> set[int]:
    return {server.get("/version").json["version"] for _ in range(40)}


def kill_one(server: Server) -> None:
    """Kills one of two workers and waits for its replacement.

    A read of the list of children can miss some (proc(5)), so one that has fewer than two is repeated.
    """
    assert eventually(lambda: len(children(server)) == 2)
    known = children(server)
    os.kill(known[0], signal.SIGKILL)
    assert eventually(lambda: len({*children(server)} - {known[0]}) == 2)


def change(server: Server, file: Path, text: str, is_watched: bool) -> None:
    """Changes the mapping and waits for the outcome."""
    before = len(outcomes(server))
    put(file, text)
    if not is_watched:
        server.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: len(outcomes(server)) > before), server.text()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.mark.parametrize("is_traced", [True, False], ids=["traced", "untraced"])
@pytest.mark.parametrize("is_watched", [True, False], ids=["watch", "hangup"])
def test_forks_come_from_a_single_thread_without_a_loop(
    file: Path, tmp_path: Path, receiver: Receiver, is_watched: bool, is_traced: bool
) -> None:
    """With the admin listener, --watch or SIGHUP, and an OTLP exporter, whose thread belongs to a worker."""
    forks = watch_forks(tmp_path)
    args = ("--workers", "2", "--admin", "0", *(["--watch"] if is_watched else []))
    exporter = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with dragoman_server(file, {**forks.env, **(exporter if is_traced else {})}, args) as server:
        for path in ("/readyz", "/livez", "/metrics"):
            assert send_request(server, path).status == 200
        assert versions(server) == {1}
        if is_traced:
            assert eventually(lambda: receiver.spans), "workers send spans"
        kill_one(server)
        change(server, file, MAPPING % 2, is_watched)
        assert eventually(lambda: versions(server) == {2}), server.text()
        kill_one(server)
        change(server, file, BROKEN, is_watched)
        kill_one(server)
        assert eventually(lambda: versions(server) == {2}), server.text()
        parent = server.process.pid
    assert forks.records() == [
        {"process": parent, "python_threads": 1, "system_threads": 1, "is_loop_running": False}
    ] * (2 + 3)


def test_a_fork_waits_for_the_end_of_a_reload(file: Path, tmp_path: Path) -> None:
    """The files are loaded in a thread."""
    forks = watch_forks(tmp_path)
    with dragoman_server(file, forks.env, ("--workers", "2", "--admin", "0")) as server:
        threads = Path(f"/proc/{server.process.pid}/task")
        known = children(server)
        forks.loading.touch()
        put(file, MAPPING % 2)
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: len(list(threads.iterdir())) == 2)
        os.kill(known[0], signal.SIGKILL)
        assert eventually(lambda: any(line["event"] == "worker_exit" for line in server.log()))
        for _ in range(20):
            assert send_request(server, "/livez").status == 200, "the parent responds meanwhile"
        time.sleep(1)
        assert children(server) == known[1:], "none was forked"
        forks.loading.unlink()
        assert eventually(lambda: len(children(server)) == 2)
        assert eventually(lambda: versions(server) == {2}), server.text()
    assert [record["system_threads"] for record in forks.records()] == [1, 1, 1]


def test_shutdown_does_not_wait_for_a_reload(file: Path, tmp_path: Path) -> None:
    """The workers end at once and nothing is served."""
    forks = watch_forks(tmp_path)
    with dragoman_server(file, forks.env, ("--workers", "2", "--admin", "0")) as server:
        threads = Path(f"/proc/{server.process.pid}/task")
        forks.loading.touch()
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: len(list(threads.iterdir())) == 2)
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: not children(server))
        forks.loading.unlink()
        assert server.process.wait(SOON) == 0
        assert outcomes(server) == []


def test_a_single_process_does_not_fork(file: Path, tmp_path: Path) -> None:
    forks = watch_forks(tmp_path)
    with dragoman_server(file, forks.env, ("--watch", "--admin", "0")) as server:
        change(server, file, MAPPING % 2, is_watched=True)
        assert eventually(lambda: versions(server) == {2})
    assert forks.records() == []


def shared(server: Server, worker: int) -> set[str]:
    """Returns the sockets and pipes shared by a worker and its parent, without the standard streams."""

    def found(process: int) -> set[str]:
        links = set()
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            # It may be closed between the listing and the read.
            with contextlib.suppress(FileNotFoundError):
                if int(descriptor.name) > 2:
                    links.add(str(descriptor.readlink()))
        return {link for link in links if link.startswith(("socket:", "pipe:"))}

    return found(server.process.pid) & found(worker)


def test_a_worker_inherits_only_the_listener_and_the_parents_pipe(file: Path) -> None:
    """Not the admin listener or its connections: a client would not see its connection closed."""
    with dragoman_server(file, {}, ("--workers", "2", "--admin", "0", "--watch")) as server:
        parts = urlsplit(admin_of(server))
        with socket.create_connection((str(parts.hostname), parts.port or 0)):
            assert send_request(server, "/livez").status == 200, "the connection before it is accepted too"
            kill_one(server)
            kinds = [sorted(link.partition(":")[0] for link in shared(server, n)) for n in children(server)]
        # The worker closes inherited descriptors before it serves.
        assert eventually(lambda: all(len(shared(server, n)) == 2 for n in children(server))), kinds
        assert [sorted(link.partition(":")[0] for link in shared(server, n)) for n in children(server)] == [
            ["pipe", "socket"]
        ] * 2


def test_a_worker_started_during_a_reload_loads_the_new_set(file: Path, tmp_path: Path) -> None:
    """It was forked with the old set and cannot yet handle the signal for the new one."""
    forks = watch_forks(tmp_path)
    with dragoman_server(file, forks.env, ("--workers", "2")) as server:
        forks.held.touch()
        kill_one(server)
        change(server, file, MAPPING % 2, is_watched=False)
        assert eventually(lambda: outcomes(server) == ["done"] * 2), "the parent and the other worker"
        forks.held.unlink()
        assert eventually(lambda: outcomes(server) == ["done"] * 3), server.text()
        assert versions(server) == {2}
