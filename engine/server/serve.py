"""Serving: a set of plans on an address, until the process is told to stop.

Contract: a signal closes the address and what is idle; what runs is answered, or told shortly before the
grace time is over that the server ends; a second signal ends at once. With `protocol.connection` the only
importer of uvicorn.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from types import FrameType
from typing import Any, Final, NoReturn

import uvicorn

from engine.errors import ExchangeError
from engine.observability import logs, metrics, tracing
from engine.plan import PlanSet
from engine.process.file_descriptors import DESCRIPTORS, EXHAUSTED
from engine.process.garbage_collection import freeze_objects
from engine.server.admin import Admin, address, bind, url_of
from engine.server.app import Application
from engine.server.browser_guard import BrowserGuard, host_names
from engine.server.client_addresses import Addresses, networks
from engine.server.http1 import Connection, Limits, Room
from engine.server.missing_keys import is_loopback, unset_keys, without_keys
from engine.server.reload import Loaded, Origin, Reloads
from engine.stores.rate_limits import RateLimits

__all__ = [
    "Limits",
    "Loaded",
    "Origin",
    "Server",
    "Service",
    "address",
    "check_clients",
    "openness",
    "run",
    "warn_of_unset_keys",
]

#: Asks for the mappings to be loaded anew; not everywhere.
_RELOAD: Final = getattr(signal, "SIGHUP", None)

#: Seconds from the beginning until what was loaded counts as there for good.
_SETTLING: Final = 0.2
#: Seconds before the end of the grace time at which exchanges are told of it; of a short one, a quarter.
_FAREWELL: Final = 1.0
_TICK: Final = 0.05
#: Descriptors for all that is no connection, and the share of the rest that clients may have.
_OWN_FILES: Final = 32
_CLIENTS_SHARE: Final = 0.6
#: Seconds between two lines of the log about connections that were closed to make room.
_TOLD_EVERY: Final = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """What is served, where and how.

    Attributes:
        loaded: the first set of plans.
        limits: what clients may cost.
        ready: called with the URL once requests are answered.
        watch: changes of files are taken up as they come; without it, on SIGHUP alone.
        admin: the address of the admin listener, or None for none.
        generation: the number of the set of plans.
    """

    origin: Origin
    loaded: Loaded
    host: str
    port: int
    limits: Limits
    ready: Callable[[str], None]
    watch: bool = False
    admin: tuple[str, int] | None = None
    generation: int = 1


def check_clients(storage: str, trusted_proxies: str, allowed_hosts: str = "") -> None:
    """Check the options that concern clients: where requests are counted, whose headers are believed, and
    which names this server has.

    Raises:
        ValueError: one is wrong. The message never holds the storage's URL, which may have a password.
    """
    RateLimits(storage)
    networks(trusted_proxies)
    host_names(allowed_hosts)


def openness(plans: PlanSet, host: str) -> str:
    """Who can call without a key, in words for the start line; empty where every mapping has keys."""
    names = without_keys(plans)
    if not names:
        return ""
    whose = "" if len(names) == len(plans.mappings) else f" for {', '.join(names)}"
    return f"no keys{whose}: open to {'local processes' if is_loopback(host) else 'everyone'}"


def warn_of_unset_keys(plans: PlanSet) -> None:
    """Log the mappings whose keys are not set."""
    for name in unset_keys(plans):
        logs.warning("no_keys", mapping=name, message="'auth.bearer' gives no key")


def guard_of(host: str, limits: Limits) -> BrowserGuard | None:
    """What protects a listener from pages of other sites; None where other machines can reach it."""
    return BrowserGuard(host_names(limits.allowed_hosts)) if is_loopback(host) else None


def run(service: Service) -> bool:
    """Serve until a signal stops it.

    Returns:
        Whether the address could be served at all.
    """
    try:
        admin = None if service.admin is None else bind(*service.admin)
    except OSError as error:
        return cannot_listen(service.admin, error)
    server = Server(service, admin)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    if _RELOAD is not None:
        signal.signal(_RELOAD, signal.SIG_IGN)
    with contextlib.suppress(SystemExit):
        server.run()
    return server.started


def serve_worker(service: Service, bound: socket.socket, life: int, signals: Iterable[int]) -> None:
    """Serve a socket as one process of several.

    Args:
        life: a descriptor whose end is read when the parent is no more.
        signals: those that wait until they can be taken.
    """
    server = Server(service, life=life, signals=signals)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(SystemExit):
        server.run([bound])


def admin_guard(service: Service) -> BrowserGuard | None:
    """What protects the admin listener from pages of other sites."""
    return None if service.admin is None else guard_of(service.admin[0], service.limits)


def cannot_listen(address: tuple[str, int] | None, error: OSError) -> bool:
    """Tell of an address that cannot be served: False."""
    logs.error("listen_failed", address=address, message=error.strerror or str(error))
    return False


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """A signal is how a service is ended, no failure: exit status 0. uvicorn raises it anew once all requests
    are done, and then it comes here."""
    raise SystemExit(0)


def _most_connections() -> int | None:
    """How many clients there may be, so that descriptors are left for their upstreams; the process takes all
    that it may have. None where the system has no such bound."""
    files = DESCRIPTORS.raise_limit()
    return None if files is None else max(1, int((files - _OWN_FILES) * _CLIENTS_SHARE))


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready and at which port, keeps the deadlines of connections,
    and ends within the grace time."""

    def __init__(
        self,
        service: Service,
        admin: socket.socket | None = None,
        life: int | None = None,
        signals: Iterable[int] = (),
    ) -> None:
        limits = service.limits
        self._room = Room(_most_connections() if limits.connections is None else limits.connections)
        self._told_closed, self._told_at = 0, 0.0
        # Before the pools of upstreams, so that their idle connections are let go of before those of clients.
        DESCRIPTORS.register(self._room.release)
        connection = {"limits": limits, "room": self._room}
        self.application = Application(
            service.loaded.take(),
            limits.in_flight,
            RateLimits(limits.storage),
            Addresses(networks(limits.trusted_proxies)),
            guard_of(service.host, limits),
        )
        super().__init__(
            uvicorn.Config(
                self.application,
                host=service.host,
                port=service.port,
                http=type("Connection", (Connection,), connection),
                loop="auto",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                interface="asgi3",
            )
        )
        self._service = service
        self._grace = limits.grace
        self._admin_socket = admin
        self._life = life
        self._signals = signals
        self._admin = Admin(lambda: self.started and not self.should_exit, admin_guard(service))
        self._tasks: set[asyncio.Task[Any]] = set()
        metrics.observe_active_requests(lambda: self.application.running)

    async def startup(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        """Listen."""
        # Another protocol would have no deadlines, and understand some requests otherwise.
        assert issubclass(self.config.http_protocol_class, Connection), "not served by our own protocol"
        asyncio.get_running_loop().set_exception_handler(self._note_exception)
        await super().startup(sockets)
        if not self.started:
            return
        problem = tracing.start(os.environ)
        if problem is not None:
            logs.warning("tracing_disabled", message=problem)
        self._look_after_mappings()
        if self._signals:
            # Only now all have handlers: one that came before would end the process in its midst, or be lost.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
        if self._admin_socket is not None:
            await self._admin.listen(self._admin_socket)
        if self._life is not None:
            asyncio.get_running_loop().add_reader(self._life, self._orphaned, self._life)
        self._service.ready(url_of(self.servers[0].sockets[0]))
        asyncio.get_running_loop().call_later(_SETTLING, freeze_objects)

    def _look_after_mappings(self) -> None:
        service = self._service
        is_only = self._life is None
        reloads = Reloads(
            service.origin, service.loaded, self.application.replace, service.generation, is_only
        )
        if _RELOAD is not None and threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(_RELOAD, lambda: self._begin(reloads.reload()))
        if service.watch:
            self._begin(reloads.watch())

    def _orphaned(self, life: int) -> None:
        """The parent was killed."""
        asyncio.get_running_loop().remove_reader(life)
        self.should_exit = True

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something beside serving."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: deadlines, and whether to go on."""
        self._sweep()
        DESCRIPTORS.check()
        self._tell_of_room()
        metrics.update_active_requests()
        return await super().on_tick(counter)

    def _tell_of_room(self) -> None:
        """Log now and then that connections were closed to make room for others."""
        now, closed = time.monotonic(), self._room.closed
        if closed > self._told_closed and now >= self._told_at:
            logs.warning("connections_closed", count=closed - self._told_closed, limit=self._room.most)
            self._told_closed, self._told_at = closed, now + _TOLD_EVERY

    def _note_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Make room where no descriptor is left for a new connection; all else is logged."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            DESCRIPTORS.release()
        else:
            loop.default_exception_handler(context)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self._open():
            connection.sweep(now)

    def _open(self) -> Iterable[Connection]:
        return list(self.server_state.connections)  # type: ignore[arg-type]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends what is idle, the second one everything. A terminal's interrupt comes to all
        processes; that of a worker is its parent's to tell."""
        if sig == signal.SIGINT and self._life is not None:
            return
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        """End: no new connection, then what runs, then the upstreams."""
        for server in self.servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        for connection in self._open():
            connection.shutdown()
        farewell = min(_FAREWELL, self._grace / 4)
        if not await self._are_done(self._grace - farewell):
            for connection in self._open():
                connection.interrupt(ExchangeError("upstream_unavailable", "the server is shutting down"))
            await self._are_done(farewell)
        for connection in self._open():
            connection.transport.abort()
        await self._are_done(_TICK * 4, even_forced=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._admin.close()
        metrics.update_active_requests()
        await asyncio.to_thread(tracing.stop)
        await self.lifespan.shutdown()

    async def _are_done(self, seconds: float, even_forced: bool = False) -> bool:
        """Wait, at most so long, until all connections and tasks have ended."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self.server_state.connections or self.server_state.tasks:
            if loop.time() >= until or (self.force_exit and not even_forced):
                return False
            await asyncio.sleep(_TICK)
            self._sweep()
        return True
