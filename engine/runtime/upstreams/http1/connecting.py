"""New connections: names resolved, TCP, TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from engine.plan import UpstreamPlan
from engine.runtime.upstreams.http1.connection import Connection
from engine.runtime.upstreams.http1.failures import CallFailed, connecting_failed
from engine.runtime.upstreams.http1.request_head import PORTS
from engine.runtime.upstreams.tls import context_of

#: How long one address may keep silent before the next one is tried beside it (RFC 8305, 5).
_START_SECONDS: Final = 0.25


class Connector:
    """Makes connections to one upstream. Its TLS context is made here, once: that takes some 30 ms."""

    def __init__(self, plan: UpstreamPlan) -> None:
        parts = urlsplit(plan.origin or "")
        self._host = parts.hostname or ""
        self._is_address = _is_address(self._host)
        self._port = PORTS[parts.scheme] if parts.port is None else parts.port
        self._tls = context_of(plan, "http/1.1") if parts.scheme == "https" else None
        self._seconds = plan.timeouts.connect
        self._read_seconds = plan.timeouts.read

    async def connect(self, deadline: float | None, on_idle_lost: Callable[[Connection], None]) -> Connection:
        """A connection that is up, TLS included.

        Raises:
            CallFailed: there is none in time, or none at all.
        """
        ends, cause = asyncio.get_running_loop().time() + self._seconds, "connect"
        if deadline is not None and deadline < ends:
            ends, cause = deadline, "total"
        try:
            async with asyncio.timeout_at(ends):
                addresses = await self._addresses()
                if len(addresses) == 1:
                    return await self._dial(addresses[0], on_idle_lost)
                return await self._race(addresses, on_idle_lost)
        except TimeoutError as error:
            if error.errno is not None:
                raise connecting_failed(error) from None
            raise CallFailed("timeout", cause) from None
        except OSError as error:
            raise connecting_failed(error) from None

    async def _addresses(self) -> list[str]:
        """What the host's name stands for, the families by turns."""
        if self._is_address:
            return [self._host]
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        families: dict[int, list[str]] = {}
        for family, _, _, _, address in found:
            families.setdefault(family, []).append(str(address[0]))
        turns = itertools.zip_longest(*families.values())
        return list(dict.fromkeys(address for turn in turns for address in turn if address))

    async def _race(self, addresses: list[str], on_idle_lost: Callable[[Connection], None]) -> Connection:
        """The first address to answer: a network that swallows one family of them costs little."""
        running: set[asyncio.Task[Connection]] = set()
        failure: BaseException = OSError()
        try:
            while addresses or running:
                if addresses:
                    running.add(asyncio.create_task(self._dial(addresses.pop(0), on_idle_lost)))
                patience = _START_SECONDS if addresses else None
                done, running = await asyncio.wait(
                    running, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                errors = {task: task.exception() for task in done}
                up = [task.result() for task, error in errors.items() if error is None]
                if up:
                    _abort(up[1:])
                    return up[0]
                failure = next(filter(None, errors.values()), failure)
        finally:
            await _stop(running)
        raise failure

    async def _dial(self, address: str, on_idle_lost: Callable[[Connection], None]) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self._read_seconds, on_idle_lost)
        try:
            await loop.create_connection(
                lambda: connection,
                address,
                self._port,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except BaseException:
            # Cancelled after it came up, it is not told that it is closed.
            connection.abort()
            raise
        return connection


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _stop(dialling: set[asyncio.Task[Connection]]) -> None:
    """End those that were slower."""
    for task in dialling:
        task.cancel()
    ended = await asyncio.gather(*dialling, return_exceptions=True)
    _abort(connection for connection in ended if isinstance(connection, Connection))


def _abort(connections: Iterable[Connection]) -> None:
    for connection in connections:
        connection.abort()
