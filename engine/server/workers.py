"""Serves one address with several worker processes, supervised by their parent process.

Contract: the parent binds the address and serves only the admin listener. It replaces workers that exit, with
increasing delay if they exit soon after their start. It forwards signals to all workers, and they shut down
if the parent is killed. The parent checks changed mappings before any worker loads them. It forks only while
its event loop does not run and it has a single thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
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
from engine.server.admin import Admin, url_of
from engine.server.listening import bind, log_listen_failure
from engine.server.reload import LoadedPlans, Reloader
from engine.server.serve import Service, admin_guard, bind_admin, serve_worker

#: Seconds up to which the lifetime of a worker counts as short. Each short lifetime doubles the delay
#: before the next replacement starts, from the first to the maximum delay.
_SHORT_LIFETIME: Final = 10.0
_FIRST_DELAY: Final = 0.1
_MAX_DELAY: Final = 10.0
#: Seconds after the grace time at which remaining workers are killed.
_KILL_DELAY: Final = 5.0
#: The signals that the parent handles. Windows lacks some; there the module can be imported, but not used.
_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD") if hasattr(signal, name)
)


@dataclasses.dataclass(slots=True)
class _Worker:
    """A worker process.

    Attributes:
        number: its number in the log, from 1; a replacement has the number of the worker that it replaces.
        started_at: the time of its start, on the monotonic clock.
        ready_pipe: the read end of a pipe that the worker closes when it serves.
    """

    number: int
    pid: int
    started_at: float
    ready_pipe: int
    is_ready: bool = False


def run(service: Service, count: int) -> bool:
    """Serve with `count` workers until a signal; returns whether the addresses could be bound."""
    try:
        bound = bind(service.host, service.port)
    except OSError as error:
        log_listen_failure((service.host, service.port), error)
        return False
    admin = bind_admin(service.admin)
    if service.admin is not None and admin is None:
        return False
    directory = tempfile.mkdtemp(prefix="dragoman-")
    parent_pid = os.getpid()
    try:
        metrics.enable_multiprocess(directory)
        _Supervisor(service, count, bound, admin).run()
    finally:
        if os.getpid() == parent_pid:
            shutil.rmtree(directory, ignore_errors=True)
    return True


class _Supervisor:
    """The parent process: starts, replaces and ends workers."""

    def __init__(
        self, service: Service, count: int, bound: socket.socket, admin: socket.socket | None
    ) -> None:
        self._service = service
        self._count = count
        self._missing_count = count
        self._bound = bound
        self._admin_socket = admin
        self._admin = Admin(lambda: self._is_serving and not self._is_shutting_down, admin_guard(service))
        self._workers: dict[int, _Worker] = {}
        self._delay = _FIRST_DELAY
        self._is_serving = False
        self._is_shutting_down = False
        #: Set to stop the event loop: there are workers to start, or all have exited during shutdown.
        self._stop_loop = asyncio.Event()
        self._stop_loop.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reloader = Reloader(service.source, service.loaded, self._apply, is_polling=True)
        # Only the parent holds the write end, so workers read end of file when the parent ends.
        self._parent_pipe, self._parent_pipe_write_end = os.pipe()

    def run(self) -> None:
        """Supervise the workers until the last has exited."""
        # An explicit selector, because it lists the descriptors that a worker inherits from the event loop.
        self._selector = selectors.DefaultSelector()
        with asyncio.Runner(loop_factory=partial(asyncio.SelectorEventLoop, self._selector)) as runner:
            self._loop = runner.get_loop()
            runner.run(self._open())
            while not self._is_done():
                runner.run(self._wait_for_stop())
                # The loop is stopped here, and its tasks are suspended.
                self._start_missing()
                self._reloader.resume()
            runner.run(self._close())

    async def _open(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._shut_down)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: self._start_task(self._reloader.reload()))
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap_workers)
        if self._admin_socket is not None:
            await self._admin.listen(self._admin_socket)
        if self._service.watch:
            self._start_task(self._reloader.watch())
        # Otherwise garbage collection would write to memory that workers share, which copies it.
        freeze_objects()

    async def _wait_for_stop(self) -> None:
        """Wait until there are workers to start, or all have exited; pauses reloads."""
        await self._stop_loop.wait()
        self._stop_loop.clear()
        await self._reloader.pause()

    async def _close(self) -> None:
        self._cancel_tasks()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._admin.close()

    def _is_done(self) -> bool:
        return self._is_shutting_down and not self._workers

    def _start_task(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        if self._is_shutting_down:
            coroutine.close()
            return
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _apply(self, plans: PlanSet) -> None:
        """Start later workers with a new set of plans, and make running workers load it themselves."""
        self._service = dataclasses.replace(
            self._service,
            loaded=LoadedPlans(plans, self._reloader.files),
            generation=self._reloader.generation + 1,
        )
        self._signal_workers(signal.SIGHUP)

    def _signal_workers(self, number: int) -> None:
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _start_missing(self) -> None:
        while self._missing_count and not self._is_shutting_down:
            self._missing_count -= 1
            self._start()

    def _start(self) -> None:
        number = next(n for n in itertools.count(1) if all(w.number != n for w in self._workers.values()))
        ready_pipe, ready_write_end = os.pipe()
        # Signals are blocked while the child still has the signal handlers of its parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        wakeup_fd = signal.set_wakeup_fd(-1)
        pid = os.fork()
        if pid == 0:
            os._exit(self._run_worker(number, ready_pipe, ready_write_end, wakeup_fd))
        signal.set_wakeup_fd(wakeup_fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(ready_write_end)
        self._workers[pid] = _Worker(number, pid, time.monotonic(), ready_pipe)
        logs.info("worker_start", worker=number, pid=pid)
        self._loop.add_reader(ready_pipe, self._worker_ready, pid)

    def _run_worker(self, number: int, ready_pipe: int, ready_write_end: int, wakeup_fd: int) -> int:
        """Serve in a forked process, without the parent's descriptors; returns the exit status."""
        logs.set_worker(number)
        try:
            self._close_inherited(ready_pipe, wakeup_fd)
            service = dataclasses.replace(
                self._service, ready=lambda url: os.close(ready_write_end), watch=False
            )
            serve_worker(service, self._bound, self._parent_pipe, _SIGNALS)
        except BaseException as error:
            logs.internal_error(Defect.of(error), where="worker")
            return 1
        return 0

    def _close_inherited(self, *others: int) -> None:
        """Restore default signal handlers, and close the descriptors of the parent and `others`.

        The parent's descriptors are those that its loop waits for, such as the admin listener and its
        clients. The loop object stays open: closing it would remove descriptors from the selector, which
        the parent shares.
        """
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        waiting = [key.fd for key in self._selector.get_map().values()]
        for descriptor in (self._parent_pipe_write_end, self._selector.fileno(), *waiting, *others):
            # Some systems do not let child processes inherit a selector.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _worker_ready(self, pid: int) -> None:
        """Handle the end of a worker's ready pipe: the worker serves, or has exited."""
        worker = self._workers[pid]
        self._loop.remove_reader(worker.ready_pipe)
        os.close(worker.ready_pipe)
        worker.is_ready = True
        self._reap_workers()
        is_complete = len(self._workers) == self._count and all(w.is_ready for w in self._workers.values())
        if is_complete and not self._is_serving and not self._is_shutting_down:
            self._is_serving = True
            self._service.ready(url_of(self._bound))

    def _reap_workers(self) -> None:
        """Handle all workers that have exited."""
        for pid, worker in list(self._workers.items()):
            with contextlib.suppress(ChildProcessError):
                exited, status = os.waitpid(pid, os.WNOHANG)
                if exited:
                    self._worker_exited(worker, os.waitstatus_to_exitcode(status))

    def _worker_exited(self, worker: _Worker, status: int) -> None:
        del self._workers[worker.pid]
        if not worker.is_ready:
            self._loop.remove_reader(worker.ready_pipe)
            os.close(worker.ready_pipe)
        metrics.mark_process_dead(worker.pid)
        if self._is_shutting_down:
            logs.info("worker_exit", worker=worker.number, pid=worker.pid, exit_status=status)
            if self._is_done():
                self._stop_loop.set()
            return
        delay = self._next_delay(time.monotonic() - worker.started_at)
        fields = {"worker": worker.number, "pid": worker.pid, "exit_status": status}
        logs.error("worker_exit", **fields, restart_in_seconds=delay)
        self._loop.call_later(delay, self._request_replacement)

    def _next_delay(self, lifetime: float) -> float:
        delay = _FIRST_DELAY if lifetime > _SHORT_LIFETIME else self._delay
        self._delay = min(delay * 2, _MAX_DELAY)
        return delay

    def _request_replacement(self) -> None:
        self._missing_count += 1
        self._stop_loop.set()

    def _shut_down(self) -> None:
        """Make the workers shut down: gracefully on the first signal, at once on the second."""
        if not self._is_shutting_down:
            self._is_shutting_down = True
            self._bound.close()
            seconds = self._service.limits.grace + _KILL_DELAY
            self._loop.call_later(seconds, self._signal_workers, signal.SIGKILL)
            # A reload must not delay the shutdown.
            self._cancel_tasks()
            self._stop_loop.set()
        self._signal_workers(signal.SIGTERM)
