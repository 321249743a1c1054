"""The interface of upstreams, `send(request) → response`. Each adapter has its own file.

Contract: an adapter raises only `ExchangeError` (`upstream_error`, `upstream_unavailable`,
`upstream_timeout`); what it puts into `cause` holds no URL and no header, as these carry credentials.
"""

from __future__ import annotations

from typing import Protocol

from engine.http.messages import OutgoingRequest, UpstreamResponse


class Upstream(Protocol):
    """An upstream that can be called."""

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Send one request and read its response: complete, or only its head and a `Source` if `streams`.

        Raises:
            ExchangeError: there is no valid response.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections of the adapter."""
        ...
