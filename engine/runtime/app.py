"""The ASGI application: requests in, answers out.

Contract: one plain ASGI callable for all mapped routes, hosted by Starlette for its lifespan. A client that
leaves cancels the call it was waiting for. The only importer of starlette.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.exchange import Answered, EventWriter, too_large
from engine.messages import Content, Inbound, Outbound
from engine.plan import CorsPlan, PlanSet
from engine.runtime import logs, metrics
from engine.runtime.relay import ClientLeft, Relay

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_DRAIN_SECONDS: Final = 2.0
_DRAIN_BYTES: Final = 64 * 1024 * 1024


def application(plans: PlanSet) -> Starlette:
    """The ASGI application that serves a set of plans."""
    relay = Relay(plans)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await relay.aclose()

    hosted = Starlette(lifespan=lifespan)
    hosted.router.default = Front(plans, relay)
    return hosted


class Front:
    """Everything between ASGI and the relay."""

    def __init__(self, plans: PlanSet, relay: Relay) -> None:
        self._tree = plans.tree
        self._relay = relay
        self._cors: dict[str, ASGIApp] = {
            name: _with_cors(self._serve, mapping.cors)
            for name, mapping in plans.mappings.items()
            if mapping.cors is not None
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path, asked = _raw_path(scope), _asked_method(scope)
        match = scope["dragoman.match"] = self._tree.find(path, scope["method"])
        owner = self._tree.find(path, asked).owner if asked else match.owner
        serve = self._cors.get(owner.name, self._serve) if owner else self._serve
        await serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        inbound = _inbound(scope)
        body = _Body(inbound, receive)
        started = time.monotonic_ns()
        try:
            answered = await self._relay.answer(scope["dragoman.match"], inbound, body, body.while_connected)
            if answered.outbound.is_whole:
                await _send(answered.outbound, inbound.method, send, body)
            elif answered.outbound.source is not None:
                await self._pass_while_connected(answered, inbound.method, send, body)
            else:
                await self._stream_while_connected(answered, inbound.method, send, body)
        except ClientLeft:
            logs.abandoned(inbound, scope["dragoman.match"], started)
            return
        logs.exchange(answered)
        metrics.exchange(answered)

    async def _stream_while_connected(self, answered: Answered, method: str, send: Send, body: _Body) -> None:
        """Send a stream for as long as the client stays; the upstream is let go of in any case."""
        try:
            await body.while_connected(self._stream(answered, method, send))
        finally:
            await self._relay.release(answered)

    async def _pass_while_connected(self, answered: Answered, method: str, send: Send, body: _Body) -> None:
        """Send an upstream's bytes on for as long as the client stays."""
        try:
            await body.while_connected(self._pass(answered, method, send))
        finally:
            await self._relay.release(answered)

    async def _pass(self, answered: Answered, method: str, send: Send) -> None:
        outbound = answered.outbound
        await send(_start(outbound, []))
        if method != "HEAD":
            while (data := await outbound.source.next()) is not None:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, answered: Answered, method: str, send: Send) -> None:
        """Send an answer event by event; one read from the upstream is at most one write to the client."""
        outbound, stream = answered.outbound, answered.outbound.stream
        writer = EventWriter(stream.plan, answered.exchange)
        await send(_start(outbound, []))
        async with contextlib.aclosing(self._relay.events(answered)) as events:
            if method != "HEAD":
                async for batch in _with_beats(events, stream.plan.keep_alive):
                    data = writer.comment() if batch is None else writer.write(batch, stream)
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                    if stream.error is not None:
                        break
        last = writer.close() if stream.error is None and method != "HEAD" else b""
        answered.error = answered.error or stream.error
        await send({"type": "http.response.body", "body": last})


def _with_cors(app: ASGIApp, plan: CorsPlan) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=plan.origins,
        allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
        allow_headers=plan.headers,
        allow_credentials=plan.credentials,
        expose_headers=plan.expose,
        max_age=plan.max_age,
    )


def _asked_method(scope: Scope) -> str | None:
    """The method that a preflight asks for."""
    if scope["method"] != "OPTIONS":
        return None
    asked: bytes | None = dict(scope["headers"]).get(b"access-control-request-method")
    return asked.decode("latin-1") if asked else None


def _raw_path(scope: Scope) -> str:
    raw = scope.get("raw_path") or scope["path"].encode()
    return bytes(raw).partition(b"?")[0].decode("latin-1")


def _inbound(scope: Scope) -> Inbound:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    inbound = Inbound(scope["method"], _raw_path(scope), scope["query_string"].decode("latin-1"), headers)
    given = inbound.header("x-request-id") or ""
    inbound.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
    return inbound


class _Body:
    """The client's body, read when it is wanted, and the client's presence while its answer is made.

    `is_read`: nothing of the body is still to come.
    """

    def __init__(self, inbound: Inbound, receive: Receive) -> None:
        self._inbound = inbound
        self._receive = receive
        self.is_read = not _has_body(inbound)

    async def read(self, limit: int) -> Content:
        """The whole body.

        Raises:
            ExchangeError: `payload_too_large`, at once where the length is announced.
            ClientLeft: the client closed in the middle.
        """
        announced = self._inbound.header("content-length")
        if announced is not None and announced.isdigit() and int(announced) > limit:
            raise too_large(limit)
        chunks, size = [], 0
        async for chunk in self._chunks():
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            chunks.append(chunk)
        return Content(b"".join(chunks), self._inbound.header("content-type") or "")

    async def _chunks(self) -> AsyncIterator[bytes]:
        while not self.is_read:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            self.is_read = not message.get("more_body", False)
            yield message.get("body", b"")

    def open(self, limit: int) -> _PassingBody | None:
        """The body as it comes, for an upstream.

        Raises:
            ExchangeError: `payload_too_large`, where the length that is announced is.
        """
        announced = self._inbound.header("content-length")
        length = int(announced) if announced is not None and announced.isdigit() else None
        if length is not None and length > limit:
            raise too_large(limit)
        return None if self.is_read else _PassingBody(self._chunks(), length, limit)

    async def drain(self) -> None:
        """Take and drop what the client still sends, for a while: closing at once would reset the connection,
        and the client would never read its answer."""
        size = 0
        with contextlib.suppress(TimeoutError, ClientLeft):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for chunk in self._chunks():
                    size += len(chunk)
                    if size > _DRAIN_BYTES:
                        return

    async def while_connected(self, work: Awaitable[Any]) -> Any:
        """Await `work`; cancel it once the client has left.

        Raises:
            ClientLeft: it has.
        """
        task = asyncio.ensure_future(work)
        presence = asyncio.ensure_future(self._departure())
        try:
            await asyncio.wait({task, presence}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientLeft
            return task.result()
        finally:
            for each in (task, presence):
                each.cancel()
            await asyncio.gather(task, presence, return_exceptions=True)

    async def _departure(self) -> None:
        with contextlib.suppress(ClientLeft):
            async for _ in self._chunks():
                pass
            while (await self._receive())["type"] != "http.disconnect":
                pass


class _PassingBody:
    """A client's body on its way to an upstream. `length` in bytes, or None."""

    def __init__(self, chunks: AsyncIterator[bytes], length: int | None, limit: int) -> None:
        self.length = length
        self._chunks = chunks
        self._left = limit

    async def next(self) -> bytes | None:
        """The next bytes; None at the end.

        Raises:
            ExchangeError: `payload_too_large`.
            ClientLeft: the client closed in the middle.
        """
        async for chunk in self._chunks:
            self._left -= len(chunk)
            if self._left < 0:
                raise too_large(0)
            if chunk:
                return chunk
        return None


def _has_body(inbound: Inbound) -> bool:
    length = inbound.header("content-length")
    return length not in (None, "0") or inbound.header("transfer-encoding") is not None


def _start(outbound: Outbound, framing: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The head of an answer, as ASGI has it."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in outbound.headers]
    if outbound.content.media_type:
        headers.append((b"content-type", outbound.content.media_type.encode("latin-1")))
    return {"type": "http.response.start", "status": outbound.status, "headers": [*headers, *framing]}


async def _with_beats(
    events: AsyncGenerator[list[Any], None], seconds: float | None
) -> AsyncIterator[list[Any] | None]:
    """Events as they come, and None wherever there was none for so long."""
    if seconds is None:
        async for found in events:
            yield found
        return
    waiting = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
            if not done:
                yield None
                continue
            batch = waiting.result()
            if batch is None:
                return
            yield batch
            waiting = asyncio.ensure_future(anext(events, None))
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _send(outbound: Outbound, method: str, send: Send, body: _Body) -> None:
    data = outbound.content.data
    has_length = outbound.status not in (204, 304)
    await send(_start(outbound, [(b"content-length", str(len(data)).encode())] if has_length else []))
    data = b"" if method == "HEAD" else data
    if not body.is_read:
        await send({"type": "http.response.body", "body": data, "more_body": True})
        await body.drain()
        data = b""
    await send({"type": "http.response.body", "body": data})
