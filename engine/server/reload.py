"""Mappings that change while they are served: noticing it, and putting a new set in the place of the old one.

Contract: a set is loaded and compiled whole, in a thread, and applied at once or not at all; what is wrong
with it is logged, and the old one stays. A change is told by what the files hold, never by events alone.
A process that forks polls the files and pauses reloads while it forks: then no thread of this module runs.
The only importer of watchfiles.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from watchfiles import awatch

from engine.compiler import compile_set, load, source_files
from engine.diagnostics import Findings
from engine.errors import Defect
from engine.language import yaml
from engine.locations import SourceFile, Span
from engine.observability import logs, metrics
from engine.plan import PlanSet
from engine.server.missing_keys import check_exposure

#: Milliseconds without a change after which files count as written, and the longest to wait for that.
_QUIET: Final = 200
_LONGEST: Final = 2000
#: Milliseconds after which files are looked at even where the system tells of no change.
_LOOK: Final = 1000
#: Seconds between two looks without events, and the number of looks in a row that each find another change
#: after which files are loaded all the same.
_POLL: Final = 0.5
_UNSETTLED_LOOKS: Final = 4

_T = TypeVar("_T")
_Signature: TypeAlias = tuple[tuple[str, int, int, int], ...]


@dataclass(slots=True)
class Loaded:
    """A set of plans, and the digests of all files it was made from, by their names."""

    plans: PlanSet | None
    files: yaml.Digests

    def take(self) -> PlanSet:
        """Give the plans away: who serves them must be the only one to hold them, so that they are freed."""
        plans, self.plans = self.plans, None
        assert plans is not None, "they were taken already"
        return plans


@dataclass(frozen=True, slots=True)
class Origin:
    """Where plans come from: what `serve` was given.

    Attributes:
        paths: files, directories, globs and names of shipped mappings.
        env_files: gives the files with variables that there are now.
        later_files: those that are read once they are there.
        environ: reads the environment anew, with what these files add; raises OSError where one is no text.
        host: the address on which the plans are served, which decides whether they may be.
    """

    paths: tuple[str, ...]
    env_files: Callable[[], tuple[str, ...]]
    environ: Callable[[], Mapping[str, str]]
    host: str
    later_files: tuple[str, ...] = ()

    def load(self, findings: Findings) -> Loaded:
        """Read and compile everything; the plans can be served where `findings` has no error."""
        with yaml.track_reads() as files:
            for name in self.env_files():
                yaml.read_bytes(Path(name), findings, Span(SourceFile(name, ""), 1, 1))
            sources = source_files(self.paths, findings)
            plans = compile_set(load(sources, findings), self.environ(), findings, served_together=True)
        check_exposure(plans, self.host, findings)
        expected = (*self.later_files, *map(str, sources))
        return Loaded(plans, {**dict.fromkeys(expected), **files})

    def names(self) -> list[str]:
        """The files that the paths stand for now."""
        files = map(Path, (*self.later_files, *self.env_files()))
        return [str(file) for file in (*files, *source_files(self.paths, Findings()))]

    def directories(self) -> list[str]:
        """The directories among the paths, with those below them."""
        found: list[str] = []
        for path in self.paths:
            for root, inner, _ in os.walk(path):
                inner[:] = [name for name in inner if not name.startswith(".")]
                found.append(root)
        return found


class Reloads:
    """Keeps what is served up with its files.

    Attributes:
        generation: the number of the set that is served.
        files: what the set that was loaded last was made from.

    Args:
        apply: puts a new set in the place of the old one; called in the event loop.
        is_counted: whether the metrics count these reloads; those of one worker among several do not.
        is_polling: `watch` polls the files; events of the system need a thread, which a process that forks
            must not have.
    """

    def __init__(
        self,
        origin: Origin,
        loaded: Loaded,
        apply: Callable[[PlanSet], None],
        generation: int = 1,
        is_counted: bool = True,
        is_polling: bool = False,
    ) -> None:
        self.generation = generation
        self._origin = origin
        self.files = loaded.files
        self._apply = apply
        self._is_counted = is_counted
        self._is_polling = is_polling
        self._lock = asyncio.Lock()
        metrics.set_generation(generation)

    async def reload(self) -> bool:
        """Load everything anew, whether something has changed or not; whether it is served now."""
        async with self._lock:
            return await self._reload()

    async def reload_changed(self) -> None:
        """Load everything anew if some file holds something else than what was loaded last."""
        async with self._lock:
            if await _in_thread(self._current) != self.files:
                await self._reload()

    async def pause(self) -> None:
        """Wait until no reload and no thread of one runs, and start none before `resume`."""
        await self._lock.acquire()

    def resume(self) -> None:
        """End a pause."""
        self._lock.release()

    async def watch(self) -> None:
        """Look after the files until this is cancelled."""
        signature: _Signature | None = None
        suspected: _Signature | None = None
        unsettled = 0
        while True:
            places = self._places()
            async for is_changed in _ticks() if self._is_polling else _events(places):
                now = self._signature(places)
                unsettled = unsettled + 1 if now != signature else 0
                is_settled = now == suspected or unsettled >= _UNSETTLED_LOOKS
                # What no event told of is taken up once it has stood still for as long as from look to look.
                if is_changed or (unsettled and is_settled):
                    await self.reload_changed()
                    # The signature from before: a change during the reload differs from it.
                    signature, unsettled = now, 0
                    if self._places() != places:
                        break
                suspected = now

    async def _reload(self) -> bool:
        started = time.monotonic()
        findings = Findings()
        try:
            loaded = await _in_thread(self._origin.load, findings)
        except OSError as error:
            return self._failed(str(error))
        except Exception as error:
            logs.internal_error(Defect.of(error), where="reload")
            return self._failed("internal error")
        self.files = loaded.files
        for diagnostic in findings:
            logs.finding(diagnostic)
        if findings.has_errors:
            return self._failed("there are errors")
        plans = loaded.take()
        if not plans.mappings:
            return self._failed("there is no route to serve in these files")
        self._apply(plans)
        self.generation += 1
        metrics.set_generation(self.generation)
        self._count("done")
        seconds = round(time.monotonic() - started, 3)
        names = sorted(plans.mappings)
        logs.info("reload", outcome="done", generation=self.generation, mappings=names, seconds=seconds)
        return True

    def _failed(self, reason: str) -> bool:
        self._count("failed")
        logs.error("reload", outcome="failed", generation=self.generation, reason=reason)
        return False

    def _count(self, outcome: str) -> None:
        if self._is_counted:
            metrics.record_reload(outcome)

    # What is watched

    def _current(self) -> yaml.Digests:
        """The digests of what was read, and of what would be read now."""
        return {name: yaml.digest(Path(name)) for name in {*self.files, *self._origin.names()}}

    def _signature(self, places: Iterable[str]) -> _Signature:
        """What tells cheaply that files, or the directories they are in, may have changed."""
        names = {*self.files, *places}
        return tuple(sorted((name, *_stat(name)) for name in names))

    def _places(self) -> list[str]:
        """The directories to watch; whatever a file's name is led through by links is among them."""
        found = {place for name in self.files for place in _led_through(name)}
        found |= set(self._origin.directories())
        return sorted(place for place in found if os.path.isdir(place))


async def _events(places: Iterable[str]) -> AsyncIterator[bool]:
    """Whether the system reports a change, when it does and at least once a second."""
    async for changes in awatch(
        *places,
        watch_filter=None,
        step=_QUIET,
        debounce=_LONGEST,
        rust_timeout=_LOOK,
        yield_on_timeout=True,
        recursive=False,
        ignore_permission_denied=True,
    ):
        yield bool(changes)


async def _ticks() -> AsyncIterator[bool]:
    """The same without events: False, at regular intervals."""
    while True:
        await asyncio.sleep(_POLL)
        yield False


async def _in_thread(function: Callable[..., _T], *args: Any) -> _T:
    """The result of a call in a thread that has ended when this returns. If this is cancelled, the call goes
    on, and nothing waits for it."""
    executor = ThreadPoolExecutor(1)
    call = executor.submit(function, *args)
    try:
        return await asyncio.wrap_future(call)
    finally:
        executor.shutdown(wait=call.done())


def _stat(name: str) -> tuple[int, int, int]:
    try:
        state = os.stat(name)
    except OSError:
        return (0, 0, 0)
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def _led_through(name: str) -> Iterable[str]:
    """The directories in which a change makes `name` another file: its own, those that hold a symbolic link
    on the way, and the one where it really is. (A mounted ConfigMap is replaced by a link beside it.)"""
    path = Path(os.path.abspath(name))
    yield str(path.parent)
    yield os.path.dirname(os.path.realpath(path))
    for step in path.parents:
        if step.is_symlink():
            yield str(step.parent)
