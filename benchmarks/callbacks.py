"""The longest callback of the event loop: for how long one request can keep all others waiting.

Each workload is one large exchange through the shipped mappings. The figure is the CPU time of the callback
that took longest while it ran: CPU time, not wall time, so that a busy machine does not change it. The server
runs on asyncio's own loop, as the callbacks of uvloop cannot be timed from Python.

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
from benchmarks.requests import Ask
from benchmarks.servers import (
    ROOT,
    Command,
    Failed,
    Server,
    compile_sources,
    cores,
    free_port,
    listens,
    on,
    scratch,
)

_START_SECONDS = 60.0
_SECONDS = 600.0

#: Statuses that a workload may end with: one that is refused, as larger than a limit, blocks nobody either.
_ENDS = (200, 400, 413, 502)


@dataclass(frozen=True, slots=True)
class Workload:
    """One large exchange."""

    title: str
    ask: Callable[[], Ask]


def _chat(model: str, stream: bool, **more: Any) -> Callable[[], Ask]:
    return lambda: Ask("POST", "/api/chat", payloads.ollama_request(model, stream) | more)


def _tool_calls(count: int) -> Callable[[], Ask]:
    """A chat whose history has so many calls of a tool, each with its result."""

    def ask() -> Ask:
        call = {"function": {"name": "look_up", "arguments": {"word": "sky"}}}
        turns = [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_name": "look_up", "content": "blue"},
        ]
        body = payloads.ollama_request("plain", False)
        return Ask("POST", "/api/chat", body | {"messages": [*body["messages"], *turns * count]})

    return ask


def _long_text(mebibytes: int) -> Callable[[], Ask]:
    def ask() -> Ask:
        body = payloads.ollama_request("plain", False)
        message = {"role": "user", "content": "sky " * (mebibytes << 18)}
        return Ask("POST", "/api/chat", body | {"messages": [message]})

    return ask


WORKLOADS = (
    Workload("a usual chat", _chat("plain", False)),
    Workload("a stream of 50,000 chunks at once", _chat("flood", True)),
    Workload("a response of 15 MB", _chat("large", False)),
    Workload("a request of 15 MB", _long_text(15)),
    Workload("a history of 500 tool calls", _tool_calls(500)),
    Workload("a history of 2,000 tool calls", _tool_calls(2_000)),
)


@dataclass(frozen=True, slots=True)
class Longest:
    """CPU milliseconds of a callback, and which it was."""

    ms: float
    callback: str
    status: int


class _Timed:
    """A server whose callbacks are timed."""

    def __init__(self, server: Server, file: Path) -> None:
        self.server = server
        self._file = file

    def longest(self, ask: Ask) -> Longest:
        """The longest callback while one request is carried out."""
        self._taken()
        status, _ = load.once(self.server.port, ask, _SECONDS)
        if status not in _ENDS:
            raise Failed(f"{ask.method} {ask.path}: status {status}")
        found = self._taken()
        return Longest(found["ms"], found["callback"], status)

    def _taken(self) -> dict[str, Any]:
        self._file.unlink(missing_ok=True)
        self.server.report()
        self.server.await_response(self._file.exists, _SECONDS)
        found: dict[str, Any] = json.loads(self._file.read_text())
        return found


@contextlib.contextmanager
def _serving(checkout: Path, upstream: str, directory: Path) -> Iterator[_Timed]:
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
        server.await_response(lambda: listens(port), _START_SECONDS)
        yield _Timed(server, file)
    finally:
        server.stop()


def measure(
    checkout: Path, upstream: str, directory: Path, workloads: Sequence[Workload]
) -> dict[str, Longest]:
    """The longest callback of each workload, by its title."""
    with _serving(checkout, upstream, directory) as timed:
        timed.longest(WORKLOADS[0].ask())
        return {each.title: timed.longest(each.ask()) for each in workloads}


def _rows(found: list[dict[str, Longest]]) -> Iterator[tuple[str, ...]]:
    yield "longest callback, CPU ms", *(("this checkout", "against")[: len(found)]), "callback", "status"
    for title, own in found[0].items():
        yield title, *(report.number(each[title].ms) for each in found), own.callback, str(own.status)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.callbacks")
    titles = [each.title for each in WORKLOADS]
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout to compare with")
    parser.add_argument("--workload", action="append", choices=titles, help="this one; several times")
    arguments = parser.parse_args()
    compile_sources()
    chosen = [each for each in WORKLOADS if each.title in (arguments.workload or titles)]
    checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    port = free_port()
    with scratch() as directory, on(cores()[1]):
        upstream = Server(
            port, module("benchmarks.upstream", str(port)), cores()[1], directory / "upstream.log"
        )
        try:
            upstream.await_response(lambda: listens(port), _START_SECONDS)
            url = f"http://127.0.0.1:{port}"
            found = [measure(each, url, directory, chosen) for each in checkouts]
        finally:
            upstream.stop()
    print(report.table(_rows(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
