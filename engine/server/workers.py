"""Several processes that serve one address, and the parent that looks after them.

Contract: the parent binds the address and serves nothing but the admin listener. A worker that ends is
replaced, later and later if it ends at once; a signal to the parent reaches all of them, and a parent that
is killed takes them with it. Mappings are checked by the parent before any worker takes them up. The parent
forks only while its event loop does not run and it has a single thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

from engine.errors import Defect
from engine.observability import logs, metrics
from engine.plan import PlanSet
from engine.process.garbage_collection import freeze_objects
from engine.server.admin import Admin, bind, url_of
from engine.server.reload import Loaded, Reloads
from engine.server.serve import Service, admin_guard, cannot_listen, serve_worker

#: A worker that lived for less than so many seconds is replaced after a wait, twice as long each time.
_SHORT: Final = 10.0
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 10.0
#: Seconds beyond the grace time after which a worker is killed.
_BEYOND: Final = 5.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclasses.dataclass(slots=True)
class _Worker:
    """A worker's life: `told` is where it says that it serves."""

    process: int
    since: float
    told: int
    is_ready: bool = False


def run(service: Service, count: int) -> bool:
    """Serve with so many workers until a signal; whether the address could be served at all."""
    try:
        bound = bind(service.host, service.port)
        try:
            admin = None if service.admin is None else bind(*service.admin)
        except OSError as error:
            return cannot_listen(service.admin, error)
    except OSError as error:
        return cannot_listen((service.host, service.port), error)
    directory = tempfile.mkdtemp(prefix="dragoman-")
    own = os.getpid()
    try:
        metrics.enable_multiprocess(directory)
        _Workers(service, count, bound, admin).run()
    finally:
        if os.getpid() == own:
            shutil.rmtree(directory, ignore_errors=True)
    return True


class _Workers:
    """The parent."""

    def __init__(
        self, service: Service, count: int, bound: socket.socket, admin: socket.socket | None
    ) -> None:
        self._service = service
        self._count = count
        self._missing = count
        self._bound = bound
        self._admin_socket = admin
        self._admin = Admin(lambda: self._is_serving and not self._is_ending, admin_guard(service))
        self._workers: dict[int, _Worker] = {}
        self._wait = _FIRST_WAIT
        self._is_serving = False
        self._is_ending = False
        #: Workers are missing, or all have ended at the end.
        self._due = asyncio.Event()
        self._due.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reloads = Reloads(service.origin, service.loaded, self._apply, is_polling=True)
        # The parent alone holds the other end: workers read its end when it is no more.
        self._life, self._held = os.pipe()

    def run(self) -> None:
        """Look after the workers until the last has ended."""
        # Our own selector, as it knows the descriptors that a worker inherits from the event loop.
        self._selector = selectors.DefaultSelector()
        with asyncio.Runner(loop_factory=partial(asyncio.SelectorEventLoop, self._selector)) as runner:
            self._loop = runner.get_loop()
            runner.run(self._open())
            while not self._is_over():
                runner.run(self._until_due())
                # Here the loop is stopped, with all its tasks where they are.
                self._start_missing()
                self._reloads.resume()
            runner.run(self._close())

    async def _open(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self._reloads.reload()))
        self._loop.add_signal_handler(signal.SIGCHLD, self._look)
        if self._admin_socket is not None:
            await self._admin.listen(self._admin_socket)
        if self._service.watch:
            self._begin(self._reloads.watch())
        # So collecting does not touch, and copy, what workers share.
        freeze_objects()

    async def _until_due(self) -> None:
        """Wait until workers are to be started, or all have ended; no reload runs from then on."""
        await self._due.wait()
        self._due.clear()
        await self._reloads.pause()

    async def _close(self) -> None:
        self._cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._admin.close()

    def _is_over(self) -> bool:
        return self._is_ending and not self._workers

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._is_ending:
            work.close()
            return
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _apply(self, plans: PlanSet) -> None:
        """Another set was found good: later workers begin with it, those there are load it themselves."""
        self._service = dataclasses.replace(
            self._service, loaded=Loaded(plans, self._reloads.files), generation=self._reloads.generation + 1
        )
        self._tell(signal.SIGHUP)

    def _tell(self, number: int) -> None:
        for process in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    # --- The life of workers -----------------------------------------------------------------------------

    def _start_missing(self) -> None:
        while self._missing and not self._is_ending:
            self._missing -= 1
            self._start()

    def _start(self) -> None:
        told, telling = os.pipe()
        # No signal may come to a child that still has its parent's ways of taking it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        waking = signal.set_wakeup_fd(-1)
        process = os.fork()
        if process == 0:
            os._exit(self._work(told, telling, waking))
        signal.set_wakeup_fd(waking)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(telling)
        self._workers[process] = _Worker(process, time.monotonic(), told)
        self._loop.add_reader(told, self._note_ready, process)

    def _work(self, told: int, telling: int, waking: int) -> int:
        """What a worker does, with nothing left of its parent's loop; its exit status."""
        try:
            self._close_inherited(told, waking)
            service = dataclasses.replace(self._service, ready=lambda url: os.close(telling), watch=False)
            serve_worker(service, self._bound, self._life, _SIGNALS)
        except BaseException as error:
            logs.internal_error(Defect.of(error), where="worker")
            return 1
        return 0

    def _close_inherited(self, *others: int) -> None:
        """Close the descriptors of the parent: all that its loop waits for, such as the admin listener and
        its clients. The loop object stays open: closing it would remove descriptors from the selector, which
        the parent shares."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        waiting = [key.fd for key in self._selector.get_map().values()]
        for descriptor in (self._held, self._selector.fileno(), *waiting, *others):
            # Not every system lets a selector be inherited.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _note_ready(self, process: int) -> None:
        """A worker has closed its end: it serves, or is no more."""
        worker = self._workers[process]
        self._loop.remove_reader(worker.told)
        os.close(worker.told)
        worker.is_ready = True
        self._look()
        is_complete = len(self._workers) == self._count and all(w.is_ready for w in self._workers.values())
        if is_complete and not self._is_serving and not self._is_ending:
            self._is_serving = True
            self._service.ready(url_of(self._bound))

    def _look(self) -> None:
        """Find out which workers have ended."""
        for process, worker in list(self._workers.items()):
            with contextlib.suppress(ChildProcessError):
                found, status = os.waitpid(process, os.WNOHANG)
                if found:
                    self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: _Worker, status: int) -> None:
        del self._workers[worker.process]
        if not worker.is_ready:
            self._loop.remove_reader(worker.told)
            os.close(worker.told)
        metrics.mark_process_dead(worker.process)
        if self._is_ending:
            if self._is_over():
                self._due.set()
            return
        wait = self._next_wait(time.monotonic() - worker.since)
        logs.error("worker_exit", pid=worker.process, exit_status=status, restart_in_seconds=wait)
        self._loop.call_later(wait, self._replace)

    def _next_wait(self, lived: float) -> float:
        wait = _FIRST_WAIT if lived > _SHORT else self._wait
        self._wait = min(wait * 2, _LONGEST_WAIT)
        return wait

    def _replace(self) -> None:
        self._missing += 1
        self._due.set()

    def _end(self) -> None:
        """The first signal lets workers end what they do, the second ends them at once."""
        if not self._is_ending:
            self._is_ending = True
            self._bound.close()
            seconds = self._service.limits.grace + _BEYOND
            self._loop.call_later(seconds, self._tell, signal.SIGKILL)
            # A reload must not delay the end.
            self._cancel()
            self._due.set()
        self._tell(signal.SIGTERM)
