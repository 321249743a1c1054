"""Serves a set of plans on an address, until a signal ends the process.

Contract: a signal closes the address and idle connections. Running exchanges can complete; shortly before the
grace time is over, the rest end with an error. A second signal ends the process at once. The only importer of
uvicorn besides `http1.connection`.
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
from engine.server.admin import Admin, parse_address, url_of
from engine.server.app import Application
from engine.server.browser_guard import BrowserGuard, host_names
from engine.server.client_addresses import ClientAddresses, networks
from engine.server.http1 import Connection, ConnectionLimit, Limits
from engine.server.listening import bind, bind_all, log_listen_failure
from engine.server.missing_keys import is_loopback, mappings_with_unset_keys, mappings_without_keys
from engine.server.no_routes import describe_no_routes
from engine.server.reload import LoadedPlans, PlanSource, Reloader
from engine.stores.rate_limits import RateLimits

__all__ = [
    "Limits",
    "LoadedPlans",
    "PlanSource",
    "Server",
    "Service",
    "check_client_options",
    "describe_no_routes",
    "describe_open_access",
    "parse_address",
    "run",
    "warn_about_unset_keys",
]

#: The signal that reloads the mappings; None on systems without it.
_RELOAD_SIGNAL: Final = getattr(signal, "SIGHUP", None)

#: Seconds from startup until the objects that exist count as long-lived.
_FREEZE_DELAY: Final = 0.2
#: Seconds before the end of the grace time when running exchanges are interrupted; at most a quarter of it.
_INTERRUPT_TIME: Final = 1.0
#: Seconds between two checks during shutdown.
_TICK: Final = 0.05
#: File descriptors reserved for other uses than connections, and the share of the rest for clients.
_RESERVED_FILES: Final = 32
_CLIENT_SHARE: Final = 0.6
#: Minimum seconds between two log lines about connections closed because of the limit.
_LOG_INTERVAL: Final = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """What to serve, where and how.

    Attributes:
        source: where later sets of plans are loaded from.
        loaded: the first set of plans.
        limits: the limits for clients.
        ready: called with the URL when the server accepts requests.
        watch: whether to reload when files change; if not, only SIGHUP reloads.
        admin: the address of the admin listener, or None for no listener.
        generation: the number of the first set of plans.
    """

    source: PlanSource
    loaded: LoadedPlans
    host: str
    port: int
    limits: Limits
    ready: Callable[[str], None]
    watch: bool = False
    admin: tuple[str, int] | None = None
    generation: int = 1


def check_client_options(storage: str, trusted_proxies: str, allowed_hosts: str = "") -> None:
    """Check the options that concern clients: the storage of request counters, the trusted proxies and the
    names of this server.

    Raises:
        ValueError: An option is invalid. The message never contains the storage URL, which may contain a
            password.
    """
    RateLimits(storage)
    networks(trusted_proxies)
    host_names(allowed_hosts)


def describe_open_access(plans: PlanSet, host: str) -> str:
    """Who can call without a key, as text for the startup line; empty if every mapping has keys."""
    names = mappings_without_keys(plans)
    if not names:
        return ""
    scope = "" if len(names) == len(plans.public) else f" for {', '.join(names)}"
    return f"no keys{scope}: open to {'local processes' if is_loopback(host) else 'everyone'}"


def warn_about_unset_keys(plans: PlanSet) -> None:
    """Log a warning for each mapping whose keys are not set."""
    for name in mappings_with_unset_keys(plans):
        logs.warning("no_keys", mapping=name, message="'auth.bearer' has no key")


def _browser_guard(host: str, limits: Limits) -> BrowserGuard | None:
    """The guard of a loopback address against pages of other sites; None for other addresses."""
    return BrowserGuard(host_names(limits.allowed_hosts)) if is_loopback(host) else None


def run(service: Service) -> bool:
    """Serve until a signal ends the process; returns whether the server could start."""
    admin = bind_admin(service.admin)
    if service.admin is not None and admin is None:
        return False
    try:
        bound = bind_all(service.host, service.port)
    except OSError as error:
        log_listen_failure((service.host, service.port), error)
        return False
    server = Server(service, admin)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    if _RELOAD_SIGNAL is not None:
        signal.signal(_RELOAD_SIGNAL, signal.SIG_IGN)
    with contextlib.suppress(SystemExit):
        server.run(bound)
    return server.started


def bind_admin(address: tuple[str, int] | None) -> socket.socket | None:
    """The socket of the admin listener; None without an address, or after a logged failure."""
    if address is None:
        return None
    try:
        return bind(*address)
    except OSError as error:
        log_listen_failure(address, error, "--admin", "--admin")
        return None


def serve_worker(
    service: Service, bound: socket.socket, parent_pipe: int, blocked_signals: Iterable[int]
) -> None:
    """Serve a bound socket as one of several worker processes.

    Args:
        parent_pipe: the read end of a pipe that reaches end of file when the parent process ends.
        blocked_signals: signals to unblock once their handlers are installed.
    """
    server = Server(service, parent_pipe=parent_pipe, blocked_signals=blocked_signals)
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(SystemExit):
        server.run([bound])


def admin_guard(service: Service) -> BrowserGuard | None:
    """The guard of the admin listener against pages of other sites, if it needs one."""
    return None if service.admin is None else _browser_guard(service.admin[0], service.limits)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    """Exit with status 0, because a signal is the normal end of a service. uvicorn raises the signal again
    after shutdown, when this handler is installed."""
    raise SystemExit(0)


def _max_connections() -> int | None:
    """The maximum number of client connections, which leaves descriptors for calls to upstreams; None if the
    system has no limit. Raises the limit of the process as far as permitted."""
    files = DESCRIPTORS.raise_limit()
    return None if files is None else max(1, int((files - _RESERVED_FILES) * _CLIENT_SHARE))


class Server(uvicorn.Server):
    """uvicorn's server, which also reports when it is ready, enforces the deadlines of connections, reloads
    mappings, and ends within the grace time."""

    def __init__(
        self,
        service: Service,
        admin: socket.socket | None = None,
        parent_pipe: int | None = None,
        blocked_signals: Iterable[int] = (),
    ) -> None:
        limits = service.limits
        self._connection_limit = ConnectionLimit(
            _max_connections() if limits.connections is None else limits.connections
        )
        self._logged_closed, self._next_log_at = 0, 0.0
        # Registered before the pools of upstreams, so that idle upstream connections are closed first.
        DESCRIPTORS.register(self._connection_limit.release)
        attributes = {"limits": limits, "connection_limit": self._connection_limit}
        self.application = Application(
            service.loaded.take(),
            limits.in_flight,
            RateLimits(limits.storage),
            ClientAddresses(networks(limits.trusted_proxies)),
            _browser_guard(service.host, limits),
        )
        super().__init__(
            uvicorn.Config(
                self.application,
                host=service.host,
                port=service.port,
                http=type("Connection", (Connection,), attributes),
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
        self._parent_pipe = parent_pipe
        self._blocked_signals = blocked_signals
        self._admin = Admin(lambda: self.started and not self.should_exit, admin_guard(service))
        self._tasks: set[asyncio.Task[Any]] = set()
        metrics.observe_active_requests(lambda: self.application.running)

    async def startup(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        """Listen, and start reloading and the admin listener."""
        # Another protocol class would enforce no deadlines, and parse some requests differently.
        assert issubclass(self.config.http_protocol_class, Connection), "not our own protocol class"
        asyncio.get_running_loop().set_exception_handler(self._handle_exception)
        await super().startup(sockets)
        if not self.started:
            return
        problem = tracing.start(os.environ)
        if problem is not None:
            logs.warning("tracing_disabled", message=problem)
        self._start_reloader()
        if self._blocked_signals:
            # Only now are all handlers installed: an earlier signal would kill the process, or be lost.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._blocked_signals)
        if self._admin_socket is not None:
            await self._admin.listen(self._admin_socket)
        if self._parent_pipe is not None:
            asyncio.get_running_loop().add_reader(
                self._parent_pipe, self._shut_down_without_parent, self._parent_pipe
            )
        self._service.ready(url_of(self.servers[0].sockets[0]))
        asyncio.get_running_loop().call_later(_FREEZE_DELAY, freeze_objects)

    def _start_reloader(self) -> None:
        service = self._service
        is_only_process = self._parent_pipe is None
        reloader = Reloader(
            service.source, service.loaded, self.application.replace, service.generation, is_only_process
        )
        if _RELOAD_SIGNAL is not None and threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(_RELOAD_SIGNAL, lambda: self._start_task(reloader.reload()))
        if service.watch:
            self._start_task(reloader.watch())

    def _shut_down_without_parent(self, parent_pipe: int) -> None:
        """Shut down because the parent process has ended."""
        asyncio.get_running_loop().remove_reader(parent_pipe)
        self.should_exit = True

    def _start_task(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine in the background until shutdown."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def on_tick(self, counter: int) -> bool:
        """Check deadlines and descriptors ten times a second; returns whether to stop serving."""
        self._check_deadlines()
        DESCRIPTORS.check()
        self._log_closed_connections()
        metrics.update_active_requests()
        return await super().on_tick(counter)

    def _log_closed_connections(self) -> None:
        """Log at intervals how many connections were closed because of the limit."""
        now, limit = time.monotonic(), self._connection_limit
        if limit.closed_count > self._logged_closed and now >= self._next_log_at:
            count = limit.closed_count - self._logged_closed
            logs.warning("connections_closed", count=count, limit=limit.max_connections)
            self._logged_closed, self._next_log_at = limit.closed_count, now + _LOG_INTERVAL

    def _handle_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Close a descriptor if none is free for a new connection; other exceptions are logged."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            DESCRIPTORS.release()
        else:
            loop.default_exception_handler(context)

    def _check_deadlines(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self._connections():
            connection.sweep(now)

    def _connections(self) -> Iterable[Connection]:
        return list(self.server_state.connections)  # type: ignore[arg-type]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down gracefully on the first signal, and at once on the second.

        A terminal sends SIGINT to all processes. Workers ignore it, because the parent sends them SIGTERM.
        """
        if sig == signal.SIGINT and self._parent_pipe is not None:
            return
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        """Stop accepting connections, wait for running exchanges, then close the upstreams' connections."""
        for server in self.servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        for connection in self._connections():
            connection.shutdown()
        interrupt_time = min(_INTERRUPT_TIME, self._grace / 4)
        if not await self._wait_until_done(self._grace - interrupt_time):
            for connection in self._connections():
                connection.interrupt(ExchangeError("upstream_unavailable", "the server is shutting down"))
            await self._wait_until_done(interrupt_time)
        for connection in self._connections():
            connection.transport.abort()
        await self._wait_until_done(_TICK * 4, even_if_forced=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._admin.close()
        metrics.update_active_requests()
        await asyncio.to_thread(tracing.stop)
        await self.lifespan.shutdown()

    async def _wait_until_done(self, seconds: float, even_if_forced: bool = False) -> bool:
        """Wait until all connections and tasks have ended; returns False on a timeout or a forced exit."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.server_state.connections or self.server_state.tasks:
            if loop.time() >= deadline or (self.force_exit and not even_if_forced):
                return False
            await asyncio.sleep(_TICK)
            self._check_deadlines()
        return True
