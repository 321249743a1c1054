"""New connections: name resolution, TCP and TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from engine.client.happy_eyeballs import connect_first
from engine.client.http1.connection import Connection
from engine.client.http1.errors import CallFailed, connecting_failed
from engine.client.http1.request_head import PORTS
from engine.client.resolver import resolver
from engine.client.tls import context_of
from engine.plan import UpstreamPlan
from engine.process.file_descriptors import DESCRIPTORS, EXHAUSTED

#: Seconds that a transport takes to close after `abort`.
_CLOSING_SECONDS: Final = 0.01


class Connector:
    """Opens connections to one upstream. The TLS context is created once, as that takes about 30 ms."""

    def __init__(self, plan: UpstreamPlan) -> None:
        parts = urlsplit(plan.origin or "")
        self._host = parts.hostname or ""
        self._port = PORTS[parts.scheme] if parts.port is None else parts.port
        self._tls = context_of(plan, "http/1.1") if parts.scheme == "https" else None
        self._seconds = plan.timeouts.connect
        self._read_seconds = plan.timeouts.read

    async def connect(self, deadline: float | None, on_idle_lost: Callable[[Connection], None]) -> Connection:
        """Open a connection, including the TLS handshake.

        Raises:
            CallFailed: connecting failed or timed out.
        """
        ends, cause = asyncio.get_running_loop().time() + self._seconds, "connect"
        if deadline is not None and deadline < ends:
            ends, cause = deadline, "total"
        addresses: list[str] = []
        try:
            async with asyncio.timeout_at(ends):
                addresses = await resolver().addresses(self._host)
                return await connect_first(
                    addresses, lambda address: self._dial(address, on_idle_lost), Connection.abort
                )
        except OSError as error:
            resolver().forget(self._host)
            if isinstance(error, TimeoutError) and error.errno is None:
                raise CallFailed("timeout", cause if addresses else "name lookup") from None
            raise connecting_failed(error) from None

    async def _dial(self, address: str, on_idle_lost: Callable[[Connection], None]) -> Connection:
        """Connect to an address. If there is no free file descriptor, close an idle one and retry."""
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
            # If it was cancelled after connecting, the transport does not report the close.
            connection.abort()
            raise
        DESCRIPTORS.note_opened(transport.get_extra_info("socket").fileno())
        return connection
