"""New connections: names resolved, TCP, TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from engine.client.happy_eyeballs import first_connected
from engine.client.http1.connection import Connection
from engine.client.http1.errors import CallFailed, connecting_failed
from engine.client.http1.request_head import PORTS
from engine.client.resolver import resolver
from engine.client.tls import context_of
from engine.plan import UpstreamPlan
from engine.process.file_descriptors import DESCRIPTORS, EXHAUSTED

#: How long a transport takes to close after it was aborted.
_CLOSING_SECONDS: Final = 0.01


class Connector:
    """Makes connections to one upstream. Its TLS context is made here, once: that takes some 30 ms."""

    def __init__(self, plan: UpstreamPlan) -> None:
        parts = urlsplit(plan.origin or "")
        self._host = parts.hostname or ""
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
        addresses: list[str] = []
        try:
            async with asyncio.timeout_at(ends):
                addresses = await resolver().addresses(self._host)
                return await first_connected(
                    addresses, lambda address: self._dial(address, on_idle_lost), Connection.abort
                )
        except OSError as error:
            resolver().forget(self._host)
            if isinstance(error, TimeoutError) and error.errno is None:
                raise CallFailed("timeout", cause if addresses else "name lookup") from None
            raise connecting_failed(error) from None

    async def _dial(self, address: str, on_idle_lost: Callable[[Connection], None]) -> Connection:
        """A connection to an address; where no descriptor is left, once another one has been closed."""
        try:
            return await self._dial_once(address, on_idle_lost)
        except OSError as error:
            if error.errno not in EXHAUSTED or not DESCRIPTORS.release():
                raise
        await asyncio.sleep(_CLOSING_SECONDS)
        return await self._dial_once(address, on_idle_lost)

    async def _dial_once(self, address: str, on_idle_lost: Callable[[Connection], None]) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self._read_seconds, on_idle_lost)
        try:
            transport, _ = await loop.create_connection(
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
        DESCRIPTORS.opened(transport.get_extra_info("socket").fileno())
        return connection
