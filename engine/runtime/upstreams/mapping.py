"""Another mapping as an upstream: the call stays in the process and its values are not parsed again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engine.errors import call_failed
from engine.messages import Inbound, Outbound, UpstreamReply, UpstreamRequest
from engine.plan import UpstreamPlan

#: Answers a request with the routes of the mapping named.
Answer = Callable[[str, Inbound], Awaitable[Outbound]]


class MappingUpstream:
    """One mapping that another one calls, by its paths without its prefix."""

    def __init__(self, plan: UpstreamPlan, answer: Answer) -> None:
        assert plan.mapping is not None
        self._name = plan.name
        self._mapping = plan.mapping
        self._answer = answer

    async def send(self, request: UpstreamRequest) -> UpstreamReply:
        """Answer the request from the other mapping, keys and all, as over HTTP."""
        path, _, query = request.target.partition("?")
        request_id = next((value for name, value in request.headers if name == "x-request-id"), "")
        inbound = Inbound(request.method, path, query, request.headers, request.content, request_id)
        try:
            async with asyncio.timeout(request.timeout):
                outbound = await self._answer(self._mapping, inbound)
        except TimeoutError:
            raise call_failed(self._name, "timeout", "total") from None
        headers, media_type = outbound.headers, outbound.content.media_type
        if media_type:
            headers = (*headers, ("content-type", media_type))
        return UpstreamReply(outbound.status, headers, outbound.content)

    async def aclose(self) -> None:
        """Nothing is held."""
