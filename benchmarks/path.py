"""A run of the benchmark: in each round new servers and slices in turn, then what needs servers of its own.

Contract: whatever happens, every server is stopped. A contender that is not installed is skipped with the
reason; one that fails or answers wrongly takes no further part and is told as broken.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import load
from benchmarks.contenders import CONTENDERS, DIRECT, DRAGOMAN, Contender, Place
from benchmarks.contenders.base import module
from benchmarks.contenders.dragoman import many_routes, serve
from benchmarks.load import Expected, WrongResponse
from benchmarks.measures import MEASURES, Measure, Slice
from benchmarks.requests import Ask, any_json
from benchmarks.results import Figures
from benchmarks.servers import (
    Command,
    Failed,
    Server,
    compile_sources,
    cores,
    free_port,
    listens,
    more_files,
    on,
    scratch,
)

_START_SECONDS = 60.0
_WARM_UP_SECONDS = 0.15
_ROUTE_COUNTS = (10, 1000)
_ROUTE_SLICES = 3

#: What goes wrong in one contender, and does not end the run.
_FAULTS = (Failed, WrongResponse, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is done: rounds, seconds of a slice, silent streams, and pairs of servers with few and with
    many routes."""

    rounds: int = 5
    seconds: float = 1.0
    streams: int = load.IDLE_STREAMS
    pairs: int = 11


QUICK = Extent(rounds=2, seconds=0.2, streams=100, pairs=2)


@dataclass(slots=True)
class Running:
    """A contender that is up, and what its right answers are like."""

    contender: Contender
    server: Server
    expected: dict[str, Expected] = field(default_factory=dict)

    def slice(self, seconds: float) -> Slice:
        return Slice(self.server, self.contender.asks, self.expected, seconds * self.contender.patience)

    def check(self) -> None:
        """Check one whole answer of each kind."""
        for name, ask in self.contender.asks.items():
            if ask.check is not None:
                self.expected[name] = load.checked(self.server.port, ask)


@dataclass(slots=True)
class Run:
    """One run; `measure_all` carries it out."""

    extent: Extent
    measures: Sequence[Measure]
    directory: Path
    tell: Callable[[str], None]
    figures: Figures = field(default_factory=Figures)
    upstream: str = ""
    failed: set[str] = field(default_factory=set)

    def measure_all(self, contenders: Sequence[Contender]) -> None:
        """Take every figure of these contenders."""
        port = free_port()
        able = [each for each in contenders if self._can_start(each)]
        with contextlib.ExitStack() as upstreams:
            self._upstream(port, upstreams)
            for number in range(self.extent.rounds):
                self.tell(f"round {number + 1} of {self.extent.rounds}")
                first = number % max(1, len(able))
                self._round([each for each in able[first:] + able[:first] if each.name not in self.failed])
            for each in able:
                if each.name not in self.failed:
                    self._alone(each)

    def _upstream(self, port: int, stack: contextlib.ExitStack) -> None:
        command = module("benchmarks.upstream", str(port))
        server = Server(port, command, cores()[1], self.directory / "upstream.log")
        stack.callback(server.stop)
        server.await_response(lambda: listens(port), _START_SECONDS)
        self.upstream = f"http://127.0.0.1:{port}"

    # --- Servers ------------------------------------------------------------------------------------------

    def _can_start(self, contender: Contender) -> bool:
        reason = contender.missing()
        if reason:
            self.figures.skipped[contender.name] = reason
        return not reason

    def _up(self, contender: Contender, stack: contextlib.ExitStack) -> Running | None:
        """Start a contender, check its answers and let it rest."""
        with self._faults(contender), contextlib.ExitStack() as own:
            running = Running(contender, own.enter_context(self._served(contender)))
            self._add("start", contender, running.server.seconds)
            self._add("idle", contender, running.server.bytes / 1e6)
            running.check()
            running.server.rest()
            stack.push(own.pop_all())
            return running
        return None

    @contextlib.contextmanager
    def _served(self, contender: Contender, is_holding: bool = False) -> Iterator[Server]:
        """A server of a contender that has answered; where `is_holding`, one for thousands of streams."""
        directory = self.directory / contender.name
        directory.mkdir(exist_ok=True)
        port = free_port()
        command_of = contender.holding if is_holding and contender.holding is not None else contender.command
        command = command_of(Place(port, self.upstream, directory))
        with self._answering(
            command, port, contender.asks["first" if is_holding else "models"], contender.name
        ) as server:
            yield server

    @contextlib.contextmanager
    def _answering(self, command: Command, port: int, ask: Ask, name: str) -> Iterator[Server]:
        def answers() -> bool:
            with contextlib.suppress(OSError, WrongResponse):
                return load.once(port, ask, _START_SECONDS)[0] == 200
            return False

        server = Server(port, command, cores()[0], self.directory / f"{name}.log")
        try:
            server.await_response(answers, _START_SECONDS)
            yield server
        finally:
            server.stop()

    @contextlib.contextmanager
    def _faults(self, contender: Contender) -> Iterator[None]:
        """What goes wrong in a contender is told, and ends no more than its part."""
        try:
            yield
        except _FAULTS as error:
            self.failed.add(contender.name)
            self.figures.broken.append(f"{contender.name}: {type(error).__name__}: {error}")
            self.tell(self.figures.broken[-1])

    # --- Rounds -------------------------------------------------------------------------------------------

    def _round(self, contenders: Sequence[Contender]) -> None:
        """Start each contender and take one slice of each measure of each in turn.

        Two processes with the same code differ by several percent for all of their lives: so each round has
        processes of its own, and what is compared are several pairs of processes.
        """
        with contextlib.ExitStack() as stack:
            running = [each for each in (self._up(one, stack) for one in contenders) if each]
            for measure in self.measures:
                for each in running:
                    if measure.take and measure.ask in each.contender.asks and each.server.is_running:
                        self._slice(measure, each)
            if all(self.figures.rounds("latency", name) for name in (DRAGOMAN.name, DIRECT.name)):
                self._added(running)
            self._weigh([each for each in running if each.server.is_running])

    def _slice(self, measure: Measure, running: Running) -> None:
        assert measure.take is not None
        with self._faults(running.contender):
            running.server.wake()
            try:
                measure.take(running.slice(min(_WARM_UP_SECONDS, self.extent.seconds / 2)))
                found = measure.take(running.slice(self.extent.seconds * measure.length))
            except _FAULTS:
                running.server.stop()
                raise
            running.server.rest()
            self._add(measure.name, running.contender, found)

    def _added(self, running: Sequence[Running]) -> None:
        """What each adds to the way that a chunk takes without a proxy, in this round."""
        direct = self.figures.rounds("latency", DIRECT.name)[-1]
        for each in running:
            name = each.contender.name
            rounds = self.figures.rounds("latency", name)
            if rounds and each.server.is_running and name != DIRECT.name:
                self._add("added", each.contender, rounds[-1] - direct)

    def _weigh(self, running: Sequence[Running]) -> None:
        for each in running:
            self._add("loaded", each.contender, each.server.bytes / 1e6)

    # --- Servers of their own -----------------------------------------------------------------------------

    def _alone(self, contender: Contender) -> None:
        """Silent streams, and for this project many routes."""
        with self._faults(contender):
            if self._wants("held") and "idle" in contender.asks and contender is not DIRECT:
                self._held(contender)
            if self._wants("routes") and contender is DRAGOMAN:
                self._routes()

    def _wants(self, measure: str) -> bool:
        return any(each.name == measure for each in self.measures)

    def _held(self, contender: Contender) -> None:
        self.tell(f"silent streams of {contender.name}")
        with self._served(contender, is_holding=True) as server:
            load.checked(server.port, contender.asks["first"])
            asked, wanted = contender.asks["idle"], self.extent.streams
            growth, held = load.idle(server.port, asked, wanted, lambda: server.bytes)
        if held < wanted:
            self.figures.notes.append(f"{contender.name} held {held} of {wanted} silent streams")
        if held:
            self._add("held", contender, growth / held / 1e3)

    def _routes(self) -> None:
        """The time of a request among many routes against one among few. Two processes that do the same
        differ by some hundredths for all of their lives, so there are many pairs."""
        self.tell("many routes")
        for number in range(self.extent.pairs):
            with contextlib.ExitStack() as stack:
                few, many = (self._with_routes(count, stack) for count in _ROUTE_COUNTS)
                for each in range(_ROUTE_SLICES):
                    self._pair(few, many, is_turned=bool((number + each) % 2))

    def _pair(self, few: Running, many: Running, is_turned: bool) -> None:
        found = {
            each.server.port: self._answers(each) for each in ((many, few) if is_turned else (few, many))
        }
        self._add("routes", DRAGOMAN, found[few.server.port] / found[many.server.port])

    def _with_routes(self, count: int, stack: contextlib.ExitStack) -> Running:
        file = many_routes(count, self.directory / f"{count}-routes.yaml")
        ask = Ask("GET", f"/r{count - 1}/items/7", check=any_json)
        port = free_port()
        server = stack.enter_context(self._answering(serve(port, str(file)), port, ask, f"{count}-routes"))
        running = Running(Contender("routes", "", {"models": ask}, lambda place: Command([])), server)
        running.check()
        server.rest()
        return running

    def _answers(self, running: Running) -> float:
        """Answers a second to its one question."""
        port, ask, expected = running.server.port, running.contender.asks["models"], running.expected
        running.server.wake()
        load.counts(port, ask, expected["models"], _WARM_UP_SECONDS / 3)
        found = load.counts(port, ask, expected["models"], self.extent.seconds / 2)
        running.server.rest()
        return found.responses / found.seconds

    def _add(self, measure: str, contender: Contender, value: float) -> None:
        if self._wants(measure):
            self.figures.add(measure, contender.name, value)


def run(
    extent: Extent = Extent(),
    contenders: Sequence[Contender] = CONTENDERS,
    measures: Sequence[Measure] = MEASURES,
    tell: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> Figures:
    """Measure contenders side by side."""
    more_files()
    compile_sources()
    with scratch() as directory, on(cores()[1]):
        made = Run(extent, measures, directory, tell)
        made.measure_all(contenders)
    return made.figures
