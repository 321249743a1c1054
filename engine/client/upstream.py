"""The port to upstreams: `send(request) → reply`, one file an adapter.

Contract: an adapter raises only `ExchangeError` (`upstream_error`, `upstream_unavailable`,
`upstream_timeout`); what it puts into `cause` holds no URL and no header, as these carry credentials.
"""

from __future__ import annotations

from typing import Protocol

from engine.http.messages import OutgoingRequest, UpstreamResponse


class Upstream(Protocol):
    """A server that can be called."""

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Send one request and read its answer: whole, or if `streams` its head, with a `Source`.

        Raises:
            ExchangeError: there is no answer.
        """
        ...

    async def aclose(self) -> None:
        """Give back what the adapter holds."""
        ...
