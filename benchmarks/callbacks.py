"""The longest callback of the event loop: how long one request can block all others.

Each workload is one large exchange through the shipped mappings. The result is the CPU time of the longest
callback of the exchange: CPU time, not wall time, so that a busy machine does not change it. The server runs
on asyncio's own loop, as Python cannot time the callbacks of uvloop.

    python -m benchmarks.callbacks [--against PATH] [--workload TITLE]...
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import load, payloads, report
from benchmarks.contenders.base import module
from benchmarks.requests import Request
from benchmarks.servers import (
    ROOT,
    Command,
    Server,
    ServerFailed,
    compile_sources,
    cores,
    free_port,
    is_listening,
    on_cores,
    temporary_directory,
)

_START_SECONDS = 60.0
_SECONDS = 600.0

#: Statuses that a workload may end with: a request rejected for its size must not block others either.
_ACCEPTED_STATUSES = (200, 400, 413, 502)


@dataclass(frozen=True, slots=True)
class Workload:
    """One large exchange."""

    title: str
    make_request: Callable[[], Request]


def _chat(model: str, stream: bool, **more: Any) -> Callable[[], Request]:
    return lambda: Request("POST", "/api/chat", payloads.ollama_request(model, stream) | more)


def _tool_calls(count: int) -> Callable[[], Request]:
    """Makes a chat whose history has `count` tool calls, each with its result."""

    def make_request() -> Request:
        call = {"function": {"name": "look_up", "arguments": {"word": "sky"}}}
        turns = [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_name": "look_up", "content": "blue"},
        ]
        body = payloads.ollama_request("plain", False)
        return Request("POST", "/api/chat", body | {"messages": [*body["messages"], *turns * count]})

    return make_request


def _long_text(mebibytes: int) -> Callable[[], Request]:
    def make_request() -> Request:
        body = payloads.ollama_request("plain", False)
        message = {"role": "user", "content": "sky " * (mebibytes << 18)}
        return Request("POST", "/api/chat", body | {"messages": [message]})

    return make_request


WORKLOADS = (
    Workload("typical chat", _chat("plain", False)),
    Workload("stream of 50,000 chunks at once", _chat("flood", True)),
    Workload("15 MB response", _chat("large", False)),
    Workload("15 MB request", _long_text(15)),
    Workload("history of 500 tool calls", _tool_calls(500)),
    Workload("history of 2,000 tool calls", _tool_calls(2_000)),
)


@dataclass(frozen=True, slots=True)
class Longest:
    """The longest callback: its CPU milliseconds and its name, and the status of the response."""

    ms: float
    callback: str
    status: int


class _TimedServer:
    """A server that times its callbacks."""

    def __init__(self, server: Server, file: Path) -> None:
        self.server = server
        self._file = file

    def longest(self, request: Request) -> Longest:
        """The longest callback while the server handles one request."""
        self._read_and_reset()
        status, _ = load.once(self.server.port, request, _SECONDS)
        if status not in _ACCEPTED_STATUSES:
            raise ServerFailed(f"{request.method} {request.path}: status {status}")
        found = self._read_and_reset()
        return Longest(found["ms"], found["callback"], status)

    def _read_and_reset(self) -> dict[str, Any]:
        self._file.unlink(missing_ok=True)
        self.server.request_report()
        self.server.await_response(self._file.exists, _SECONDS)
        found: dict[str, Any] = json.loads(self._file.read_text())
        return found


@contextlib.contextmanager
def _serving(checkout: Path, upstream: str, directory: Path) -> Iterator[_TimedServer]:
    port, file = free_port(), directory / "longest.json"
    options = ["--port", str(port), "--log-level", "warning"]
    argv = [sys.executable, "-P", str(ROOT / "benchmarks" / "timed_server.py")]
    env = {
        "PYTHONPATH": str(checkout),
        "OPENAI_BASE_URL": f"{upstream}/v1",
        "DRAGOMAN_BENCH_CALLBACKS": str(file),
    }
    command = Command([*argv, "serve", *options, "ollama-over-openai"], env)
    server = Server(port, command, cores()[0], directory / "timed.log")
    try:
        server.await_response(lambda: is_listening(port), _START_SECONDS)
        yield _TimedServer(server, file)
    finally:
        server.stop()


def measure(
    checkout: Path, upstream: str, directory: Path, workloads: Sequence[Workload]
) -> dict[str, Longest]:
    """The longest callback of each workload, by the workload's title."""
    with _serving(checkout, upstream, directory) as timed:
        timed.longest(WORKLOADS[0].make_request())
        return {each.title: timed.longest(each.make_request()) for each in workloads}


def _rows(found: list[dict[str, Longest]]) -> Iterator[tuple[str, ...]]:
    yield "longest callback, CPU ms", *(("this checkout", "against")[: len(found)]), "callback", "status"
    for title, own in found[0].items():
        yield title, *(report.number(each[title].ms) for each in found), own.callback, str(own.status)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.callbacks")
    titles = [each.title for each in WORKLOADS]
    parser.add_argument("--against", type=Path, metavar="PATH", help="compare with another checkout")
    parser.add_argument(
        "--workload", action="append", choices=titles, help="run this workload only; repeatable"
    )
    arguments = parser.parse_args()
    compile_sources()
    chosen = [each for each in WORKLOADS if each.title in (arguments.workload or titles)]
    checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    port = free_port()
    with temporary_directory() as directory, on_cores(cores()[1]):
        upstream = Server(
            port, module("benchmarks.upstream", str(port)), cores()[1], directory / "upstream.log"
        )
        try:
            upstream.await_response(lambda: is_listening(port), _START_SECONDS)
            url = f"http://127.0.0.1:{port}"
            found = [measure(each, url, directory, chosen) for each in checkouts]
        finally:
            upstream.stop()
    print(report.table(_rows(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
