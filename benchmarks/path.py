"""A run of the benchmark: rounds of slices on new servers, then the measures that need their own servers.

Contract: every server is stopped, whatever happens. A contender that is not installed is skipped, and the
reason is reported. A contender that fails or returns a wrong response is excluded from the rest of the run,
and its error is reported.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import load
from benchmarks.contenders import CONTENDERS, DIRECT, DRAGOMAN, Contender, LaunchOptions
from benchmarks.contenders.base import module
from benchmarks.contenders.dragoman import many_routes, serve
from benchmarks.load import Expected, WrongResponse
from benchmarks.measures import MEASURES, Measure, Slice
from benchmarks.requests import Request, check_json
from benchmarks.results import Results
from benchmarks.servers import (
    Command,
    Server,
    ServerFailed,
    compile_sources,
    cores,
    free_port,
    is_listening,
    on_cores,
    raise_file_limit,
    temporary_directory,
)

_START_SECONDS = 300.0
_WARM_UP_SECONDS = 0.15
_ROUTE_COUNTS = (10, 1000)
_ROUTE_SLICES = 3

#: Errors of one contender, which do not end the run.
_ERRORS = (ServerFailed, WrongResponse, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a run.

    Attributes:
        seconds: the duration of a slice.
        streams: the number of idle streams.
        pairs: the number of pairs of servers, one with few routes and one with many.
    """

    rounds: int = 5
    seconds: float = 1.0
    streams: int = load.IDLE_STREAMS
    pairs: int = 11


QUICK = Extent(rounds=2, seconds=0.2, streams=100, pairs=2)


@dataclass(slots=True)
class RunningContender:
    """A contender with its server and its expected responses, by the names of requests."""

    contender: Contender
    server: Server
    expected: dict[str, Expected] = field(default_factory=dict)

    def slice(self, seconds: float) -> Slice:
        return Slice(
            self.server, self.contender.requests, self.expected, seconds * self.contender.slice_factor
        )

    def check(self) -> None:
        """Check one complete response to each request."""
        for name, request in self.contender.requests.items():
            if request.check is not None:
                self.expected[name] = load.checked(self.server.port, request)


@dataclass(slots=True)
class Run:
    """One run; `log` receives its progress."""

    extent: Extent
    measures: Sequence[Measure]
    directory: Path
    log: Callable[[str], None]
    results: Results = field(default_factory=Results)
    upstream: str = ""
    failed: set[str] = field(default_factory=set)

    def measure_all(self, contenders: Sequence[Contender]) -> None:
        """Take all measures of these contenders."""
        port = free_port()
        installed = [each for each in contenders if self._is_installed(each)]
        with contextlib.ExitStack() as upstreams:
            self._start_upstream(port, upstreams)
            for number in range(self.extent.rounds):
                self.log(f"round {number + 1} of {self.extent.rounds}")
                first = number % max(1, len(installed))
                order = installed[first:] + installed[:first]
                self._run_round([each for each in order if each.name not in self.failed])
            for each in installed:
                if each.name not in self.failed:
                    self._measure_alone(each)

    def _start_upstream(self, port: int, stack: contextlib.ExitStack) -> None:
        command = module("benchmarks.upstream", str(port))
        server = Server(port, command, cores()[1], self.directory / "upstream.log")
        stack.callback(server.stop)
        server.await_response(lambda: is_listening(port), _START_SECONDS)
        self.upstream = f"http://127.0.0.1:{port}"

    # --- Servers ------------------------------------------------------------------------------------------

    def _is_installed(self, contender: Contender) -> bool:
        reason = contender.missing()
        if reason:
            self.results.skipped[contender.name] = reason
        return not reason

    def _start(self, contender: Contender, stack: contextlib.ExitStack) -> RunningContender | None:
        """Start a contender, check its responses and pause it."""
        with self._reported_errors(contender), contextlib.ExitStack() as own:
            running = RunningContender(contender, own.enter_context(self._serving(contender)))
            self._add("start", contender, running.server.seconds)
            self._add("idle", contender, running.server.resident_bytes / 1e6)
            running.check()
            running.server.pause()
            stack.push(own.pop_all())
            return running
        return None

    @contextlib.contextmanager
    def _serving(self, contender: Contender, for_streams: bool = False) -> Iterator[Server]:
        """A contender's server after its first response; if `for_streams`, one for thousands of streams."""
        directory = self.directory / contender.name
        directory.mkdir(exist_ok=True)
        port = free_port()
        make_command = (for_streams and contender.streams_command) or contender.command
        command = make_command(LaunchOptions(port, self.upstream, directory))
        request = contender.requests["first" if for_streams else "models"]
        with self._responding(command, port, request, contender.name) as server:
            yield server

    @contextlib.contextmanager
    def _responding(self, command: Command, port: int, request: Request, name: str) -> Iterator[Server]:
        def responds() -> bool:
            with contextlib.suppress(OSError, WrongResponse):
                return load.once(port, request, _START_SECONDS)[0] == 200
            return False

        server = Server(port, command, cores()[0], self.directory / f"{name}.log")
        try:
            server.await_response(responds, _START_SECONDS)
            yield server
        finally:
            server.stop()

    @contextlib.contextmanager
    def _reported_errors(self, contender: Contender) -> Iterator[None]:
        """Report an error of a contender, and exclude it from the rest of the run."""
        try:
            yield
        except _ERRORS as error:
            self.failed.add(contender.name)
            self.results.broken.append(f"{contender.name}: {type(error).__name__}: {error}")
            self.log(self.results.broken[-1])

    # --- Rounds -------------------------------------------------------------------------------------------

    def _run_round(self, contenders: Sequence[Contender]) -> None:
        """Start each contender, and take one slice of each measure of each contender in turn.

        Two processes with the same code differ by several percent for their whole lifetime. So each round
        starts new processes, and a run compares several pairs of processes.
        """
        with contextlib.ExitStack() as stack:
            running = [each for each in (self._start(one, stack) for one in contenders) if each]
            for measure in self.measures:
                for each in running:
                    if measure.take and measure.request in each.contender.requests and each.server.is_running:
                        self._take_slice(measure, each)
            if all(self.results.rounds("latency", name) for name in (DRAGOMAN.name, DIRECT.name)):
                self._add_added_latency(running)
            self._add_memory([each for each in running if each.server.is_running])

    def _take_slice(self, measure: Measure, running: RunningContender) -> None:
        assert measure.take is not None
        with self._reported_errors(running.contender):
            running.server.resume()
            try:
                measure.take(running.slice(min(_WARM_UP_SECONDS, self.extent.seconds / 2)))
                found = measure.take(running.slice(self.extent.seconds * measure.length))
            except _ERRORS:
                running.server.stop()
                raise
            running.server.pause()
            self._add(measure.name, running.contender, found)

    def _add_added_latency(self, running: Sequence[RunningContender]) -> None:
        """Add the difference between the chunk latency of each contender and that without a proxy."""
        direct = self.results.rounds("latency", DIRECT.name)[-1]
        for each in running:
            name = each.contender.name
            rounds = self.results.rounds("latency", name)
            if rounds and each.server.is_running and name != DIRECT.name:
                self._add("added", each.contender, rounds[-1] - direct)

    def _add_memory(self, running: Sequence[RunningContender]) -> None:
        for each in running:
            self._add("loaded", each.contender, each.server.resident_bytes / 1e6)

    # --- Measures with their own servers ------------------------------------------------------------------

    def _measure_alone(self, contender: Contender) -> None:
        """Measure idle streams, and for this project many routes."""
        with self._reported_errors(contender):
            if self._wants("held") and "idle" in contender.requests and contender is not DIRECT:
                self._measure_idle_streams(contender)
            if self._wants("routes") and contender is DRAGOMAN:
                self._measure_routes()

    def _wants(self, measure: str) -> bool:
        return any(each.name == measure for each in self.measures)

    def _measure_idle_streams(self, contender: Contender) -> None:
        self.log(f"idle streams of {contender.name}")
        with self._serving(contender, for_streams=True) as server:
            load.checked(server.port, contender.requests["first"])
            request, wanted = contender.requests["idle"], self.extent.streams
            growth, held = load.idle(server.port, request, wanted, lambda: server.resident_bytes)
        if held < wanted:
            self.results.notes.append(f"{contender.name} held {held} of {wanted} idle streams")
        if held:
            self._add("held", contender, growth / held / 1e3)

    def _measure_routes(self) -> None:
        """Compare the time of a request with many routes and with few. Two processes with the same code
        differ by several percent for their whole lifetime, so there are many pairs."""
        self.log("many routes")
        for number in range(self.extent.pairs):
            with contextlib.ExitStack() as stack:
                few, many = (self._start_with_routes(count, stack) for count in _ROUTE_COUNTS)
                for each in range(_ROUTE_SLICES):
                    self._compare_routes(few, many, many_first=bool((number + each) % 2))

    def _compare_routes(self, few: RunningContender, many: RunningContender, many_first: bool) -> None:
        pair = (many, few) if many_first else (few, many)
        rates = {each.server.port: self._requests_per_second(each) for each in pair}
        self._add("routes", DRAGOMAN, rates[few.server.port] / rates[many.server.port])

    def _start_with_routes(self, count: int, stack: contextlib.ExitStack) -> RunningContender:
        file = many_routes(count, self.directory / f"{count}-routes.yaml")
        request = Request("GET", f"/r{count - 1}/items/7", check=check_json)
        port = free_port()
        command = serve(port, str(file))
        server = stack.enter_context(self._responding(command, port, request, f"{count}-routes"))
        contender = Contender("routes", "", {"models": request}, lambda launch: Command([]))
        running = RunningContender(contender, server)
        running.check()
        server.pause()
        return running

    def _requests_per_second(self, running: RunningContender) -> float:
        port, request, expected = running.server.port, running.contender.requests["models"], running.expected
        running.server.resume()
        load.counts(port, request, expected["models"], _WARM_UP_SECONDS / 3)
        found = load.counts(port, request, expected["models"], self.extent.seconds / 2)
        running.server.pause()
        return found.responses / found.seconds

    def _add(self, measure: str, contender: Contender, value: float) -> None:
        if self._wants(measure):
            self.results.add(measure, contender.name, value)


def run(
    extent: Extent = Extent(),
    contenders: Sequence[Contender] = CONTENDERS,
    measures: Sequence[Measure] = MEASURES,
    log: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> Results:
    """Measure contenders side by side."""
    raise_file_limit()
    compile_sources()
    with temporary_directory() as directory, on_cores(cores()[1]):
        one_run = Run(extent, measures, directory, log)
        one_run.measure_all(contenders)
    return one_run.results
