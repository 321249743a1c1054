"""Reloads mappings while they are served: detects changed files, and replaces the plans.

Contract: all files are loaded and compiled in a thread, and the new plans are applied together or not at all.
If they have errors, these are logged and the old plans stay in use. A change is detected by the contents of
the files, never by events alone. A process that forks polls the files instead, and pauses reloads while it
forks, so that no thread of this module runs then. The only importer of watchfiles.
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
from engine.locations import Span
from engine.observability import logs, metrics
from engine.plan import PlanSet
from engine.server.missing_keys import check_missing_keys
from engine.server.no_routes import describe_no_routes

#: Milliseconds without an event after which files count as written, and the maximum time to wait for that.
_QUIET_MS: Final = 200
_MAX_DEBOUNCE_MS: Final = 2000
#: Milliseconds after which files are checked even if the system reports no change.
_CHECK_INTERVAL_MS: Final = 1000
#: Seconds between two checks when polling.
_POLL_INTERVAL: Final = 0.5
#: The number of consecutive checks that each find another change, after which files are loaded anyway.
_MAX_UNSETTLED_CHECKS: Final = 4

_T = TypeVar("_T")
_Signature: TypeAlias = tuple[tuple[str, int, int, int], ...]


@dataclass(slots=True)
class LoadedPlans:
    """A set of plans, with the digests of all files that it was loaded from, by file name."""

    plans: PlanSet | None
    files: yaml.Digests

    def take(self) -> PlanSet:
        """Return the plans and drop the reference to them, so that only the caller keeps them alive."""
        plans, self.plans = self.plans, None
        assert plans is not None, "take() was called before"
        return plans


@dataclass(frozen=True, slots=True)
class PlanSource:
    """The files and the environment that plans are loaded from: the arguments of `serve`.

    Attributes:
        paths: files, directories, globs and names of shipped mappings.
        env_files: returns the files with variables that exist now.
        environ: reads the environment and these files again; raises OSError if a file is not text.
        host: the address that serves the plans; some addresses require keys.
        later_files: files that are watched, and read as soon as they exist.
    """

    paths: tuple[str, ...]
    env_files: Callable[[], tuple[str, ...]]
    environ: Callable[[], Mapping[str, str]]
    host: str
    later_files: tuple[str, ...] = ()

    def load(self, findings: Findings) -> LoadedPlans:
        """Read and compile all mappings. The plans can be served only if `findings` has no error."""
        with yaml.track_reads() as files:
            for name in self.env_files():
                yaml.read_bytes(Path(name), findings, Span.whole(name))
            sources = source_files(self.paths, findings)
            plans = compile_set(load(sources, findings), self.environ(), findings, served_together=True)
        check_missing_keys(plans, self.host, findings)
        expected = (*self.later_files, *map(str, sources))
        return LoadedPlans(plans, {**dict.fromkeys(expected), **files})

    def names(self) -> list[str]:
        """The files that the paths match now."""
        files = map(Path, (*self.later_files, *self.env_files()))
        return [str(file) for file in (*files, *source_files(self.paths, Findings()))]

    def directories(self) -> list[str]:
        """The directories among the paths, with their subdirectories."""
        found: list[str] = []
        for path in self.paths:
            for root, inner, _ in os.walk(path):
                inner[:] = [name for name in inner if not name.startswith(".")]
                found.append(root)
        return found


class Reloader:
    """Reloads the plans when their files change.

    Attributes:
        generation: the number of the set of plans in use.
        files: the digests of the files of the set loaded last.

    Args:
        apply: replaces the plans in use; called in the event loop.
        is_counted: whether the metrics count these reloads; those of one worker among several are not.
        is_polling: whether `watch` polls the files. Events of the system need a thread, which a process that
            forks must not have.
    """

    def __init__(
        self,
        source: PlanSource,
        loaded: LoadedPlans,
        apply: Callable[[PlanSet], None],
        generation: int = 1,
        is_counted: bool = True,
        is_polling: bool = False,
    ) -> None:
        self.generation = generation
        self._source = source
        self.files = loaded.files
        self._apply = apply
        self._is_counted = is_counted
        self._is_polling = is_polling
        self._lock = asyncio.Lock()
        metrics.set_generation(generation)

    async def reload(self) -> bool:
        """Reload even if nothing has changed; returns whether the new plans are in use."""
        async with self._lock:
            return await self._reload()

    async def reload_changed(self) -> None:
        """Reload if the contents of a file differ from those loaded last."""
        async with self._lock:
            if await _in_thread(self._current_digests) != self.files:
                await self._reload()

    async def pause(self) -> None:
        """Wait until no reload and none of its threads runs, and start none before `resume`."""
        await self._lock.acquire()

    def resume(self) -> None:
        """Allow reloads again."""
        self._lock.release()

    async def watch(self) -> None:
        """Reload when files change, until cancelled."""
        signature: _Signature | None = None
        suspected: _Signature | None = None
        unsettled = 0
        while True:
            directories = self._directories()
            async for is_changed in _poll_ticks() if self._is_polling else _file_events(directories):
                now = self._signature(directories)
                unsettled = unsettled + 1 if now != signature else 0
                is_settled = now == suspected or unsettled >= _MAX_UNSETTLED_CHECKS
                # Without an event, reload when the files are unchanged since the previous check, or after
                # several checks if they change all the time.
                if is_changed or (unsettled and is_settled):
                    await self.reload_changed()
                    # Store the signature from before the reload, so that changes during it are detected.
                    signature, unsettled = now, 0
                    if self._directories() != directories:
                        break
                suspected = now

    async def _reload(self) -> bool:
        started = time.monotonic()
        findings = Findings()
        try:
            loaded = await _in_thread(self._source.load, findings)
        except OSError as error:
            return self._log_failure(str(error))
        except Exception as error:
            logs.internal_error(Defect.of(error), where="reload")
            return self._log_failure("internal error")
        self.files = loaded.files
        if self._is_counted or findings.has_errors:
            # Of several workers, the parent has logged the warnings.
            logs.findings(findings)
        if findings.has_errors:
            return self._log_failure("the mappings have errors")
        plans = loaded.take()
        if not plans.public:
            return self._log_failure(describe_no_routes(plans))
        self._apply(plans)
        self.generation += 1
        metrics.set_generation(self.generation)
        self._count_reload("done")
        seconds = round(time.monotonic() - started, 3)
        names = sorted(plans.mappings)
        logs.info("reload", outcome="done", generation=self.generation, mappings=names, seconds=seconds)
        return True

    def _log_failure(self, reason: str) -> bool:
        self._count_reload("failed")
        logs.error("reload", outcome="failed", generation=self.generation, reason=reason)
        return False

    def _count_reload(self, outcome: str) -> None:
        if self._is_counted:
            metrics.record_reload(outcome)

    def _current_digests(self) -> yaml.Digests:
        """The digests of the files that were read, and of those that would be read now."""
        return {name: yaml.digest(Path(name)) for name in {*self.files, *self._source.names()}}

    def _signature(self, directories: Iterable[str]) -> _Signature:
        """The metadata of the files and directories: a cheap indication that something may have changed."""
        names = {*self.files, *directories}
        return tuple(sorted((name, *_stat(name)) for name in names))

    def _directories(self) -> list[str]:
        """The directories to watch, including those of symbolic links in file paths."""
        found = {directory for name in self.files for directory in _path_directories(name)}
        found |= set(self._source.directories())
        return sorted(directory for directory in found if os.path.isdir(directory))


async def _file_events(directories: Iterable[str]) -> AsyncIterator[bool]:
    """True when the system reports a change; False after each second without one."""
    async for changes in awatch(
        *directories,
        watch_filter=None,
        step=_QUIET_MS,
        debounce=_MAX_DEBOUNCE_MS,
        rust_timeout=_CHECK_INTERVAL_MS,
        yield_on_timeout=True,
        recursive=False,
        ignore_permission_denied=True,
    ):
        yield bool(changes)


async def _poll_ticks() -> AsyncIterator[bool]:
    """False at regular intervals: replaces `_file_events` when polling."""
    while True:
        await asyncio.sleep(_POLL_INTERVAL)
        yield False


async def _in_thread(function: Callable[..., _T], *args: Any) -> _T:
    """The result of a call in a thread, which has ended when this returns. If this is cancelled, the call
    continues, and nothing waits for it."""
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


def _path_directories(name: str) -> Iterable[str]:
    """The directories in which a change can make `name` refer to another file: its parent, the parents of
    symbolic links in its path, and the real directory. (Kubernetes updates a mounted ConfigMap by replacing a
    symbolic link next to its files.)"""
    path = Path(os.path.abspath(name))
    yield str(path.parent)
    yield os.path.dirname(os.path.realpath(path))
    for step in path.parents:
        if step.is_symlink():
            yield str(step.parent)
