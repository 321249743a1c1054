"""New connections: names resolved, TCP, TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from engine.plan import UpstreamPlan
from engine.runtime.upstreams.http1.connection import Connection
from engine.runtime.upstreams.http1.failures import CallFailed, connecting_failed
from engine.runtime.upstreams.http1.request_head import PORTS
from engine.runtime.upstreams.tls import context_of


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
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds
        cause = "connect"
        if deadline is not None and deadline < ends:
            ends, cause = deadline, "total"
        try:
            async with asyncio.timeout_at(ends):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._read_seconds, on_idle_lost),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except TimeoutError as error:
            if error.errno is not None:
                raise connecting_failed(error) from None
            raise CallFailed("timeout", cause) from None
        except ssl.CertificateError as error:
            raise connecting_failed(error) from None
        except OSError as error:
            raise connecting_failed(error) from None
        return connection
