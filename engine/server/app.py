"""The ASGI application that serves mapped routes.

Contract: a Starlette application. It runs under any ASGI server on asyncio, and mounted in other ASGI
applications. The `RequestCycle` of a request provides the features that ASGI lacks: our own HTTP/1.1 protocol
attaches one to the scope; for other servers the application creates an `AsgiCycle`. A client disconnect
cancels the task of the request. The only importer of starlette.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from types import TracebackType
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.client.response_events import ResponseEvents
from engine.client.runner import ExchangeRunner
from engine.errors import ExchangeError, overloaded, release_frames
from engine.exchange import (
    EventStream,
    EventStreamResponse,
    EventWriter,
    ExchangeResult,
    Response,
    too_large,
    usage_of,
)
from engine.http.messages import ByteStreamResponse, CompleteResponse, Content, Inbound
from engine.http.routing import Match
from engine.observability import logs, metrics, tracing
from engine.plan import CorsPlan, PlanMatch, PlanSet
from engine.process.garbage_collection import note_body, refreeze_objects
from engine.server.asgi_cycle import AsgiCycle
from engine.server.browser_guard import BrowserGuard
from engine.server.client_addresses import ClientAddresses
from engine.server.http1 import EXTENSION
from engine.server.request_cycle import RequestCycle, own_cycle
from engine.stores.rate_limits import RateLimits

#: The scope key of a response that needs `Vary: Origin`, although no web page made the request.
_VARIES_BY_ORIGIN: Final = "dragoman.varies"
_VARY_ORIGIN: Final = ("vary", "Origin")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
#: Seconds between the end of a replaced set of plans and the garbage collection that frees it.
_COLLECTION_DELAY: Final = 0.2
#: The most bytes of a complete body that one ASGI message contains.
_MESSAGE_BYTES: Final = 256 * 1024
#: The match of a request that is rejected before its path is known.
_NO_MATCH: Final[PlanMatch] = Match(None, {}, ())


class Application(Starlette):
    """Serves a set of plans.

    The lifespan or the first request opens the upstreams of an event loop. The end of the lifespan, `aclose`
    or the end of the event loop closes them.

    Args:
        in_flight: the maximum number of concurrent requests; further ones get 503.
        limits: the rate limits of clients; the counts persist when the plans are replaced.
        addresses: determines the addresses of clients.
        guard: checks requests that require no key; None disables the check.
    """

    def __init__(
        self,
        plans: PlanSet,
        in_flight: int,
        limits: RateLimits | None = None,
        addresses: ClientAddresses | None = None,
        guard: BrowserGuard | None = None,
    ) -> None:
        super().__init__(lifespan=_lifespan)
        self.router.default = self._default
        self._plans = plans
        self._request_count = RequestCount(in_flight)
        self._limits = limits or RateLimits()
        self._addresses = addresses or ClientAddresses()
        self._guard = guard
        self._handlers: dict[asyncio.AbstractEventLoop, RequestHandler] = {}
        self._closers: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one scope. Requests bypass Starlette unless middleware or routes were added to it."""
        if scope["type"] == "http" and not self.user_middleware and not self.router.routes:
            await self._handle(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _default(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a scope that matches none of Starlette's own routes. WebSockets are closed, not accepted."""
        handle = self._handle if scope["type"] == "http" else self.router.not_found
        await handle(scope, receive, send)

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        cycle = own_cycle(scope, receive, send)
        loop = asyncio.get_running_loop() if cycle is None else cycle.loop
        handler = self._handlers.get(loop) or self._open_lazily()
        if cycle is not None:
            return handler(scope, receive, send)
        return AsgiCycle(scope, receive, send).run(handler)

    @property
    def running(self) -> int:
        """The number of requests that are being handled."""
        return self._request_count.running

    def open(self) -> None:
        """Open the upstreams of this event loop, unless they are open; they connect on their first call."""
        loop = asyncio.get_running_loop()
        if loop not in self._handlers:
            self._handlers[loop] = self._new_handler()

    def _new_handler(self) -> RequestHandler:
        return RequestHandler(self._plans, self._request_count, self._limits, self._addresses, self._guard)

    def _open_lazily(self) -> RequestHandler:
        """Open the upstreams without a lifespan, until the end of the event loop."""
        self.open()
        loop = asyncio.get_running_loop()
        self._closers[loop] = loop.create_task(self._close_with_loop())
        return self._handlers[loop]

    async def _close_with_loop(self) -> None:
        """Close the upstreams when this task is cancelled, as `asyncio.run` does at its end."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._closers.pop(asyncio.get_running_loop(), None)
            await self.aclose()

    async def aclose(self) -> None:
        """Close the upstreams of this event loop after running exchanges have ended.

        A later request opens them again.
        """
        loop = asyncio.get_running_loop()
        handler, closer = self._handlers.pop(loop, None), self._closers.pop(loop, None)
        if closer is not None:
            closer.cancel()
        if handler is not None:
            await handler.end()
            await asyncio.gather(*self._closing)
            await self._limits.aclose()

    def replace(self, plans: PlanSet) -> None:
        """Serve later requests with `plans`; running exchanges finish with their plans and upstreams.

        Call it in the event loop.
        """
        self.open()
        loop = asyncio.get_running_loop()
        self._plans = plans
        old, self._handlers[loop] = self._handlers[loop], self._new_handler()
        closing = asyncio.ensure_future(old.end())
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Task[None]) -> None:
        """Schedule a garbage collection: plans and their generated functions form reference cycles."""
        self._closing.discard(closing)
        asyncio.get_running_loop().call_later(_COLLECTION_DELAY, refreeze_objects)


@contextlib.asynccontextmanager
async def _lifespan(app: Application) -> AsyncIterator[None]:
    app.open()
    try:
        yield
    finally:
        await app.aclose()


class RequestCount:
    """The number of running requests, over all sets of plans, and its limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0


class RequestHandler:
    """Handles the HTTP requests of an event loop with one set of plans."""

    def __init__(
        self,
        plans: PlanSet,
        request_count: RequestCount,
        limits: RateLimits,
        addresses: ClientAddresses,
        guard: BrowserGuard | None,
    ) -> None:
        self._tree = plans.tree
        self._runner = ExchangeRunner(plans, limits)
        self._request_count = request_count
        self._addresses = addresses
        self._guard = guard
        self._running = 0
        self._is_idle: asyncio.Event | None = None
        self._cors: dict[str, ASGIApp] = {
            name: _with_cors(self._serve, mapping.cors)
            for name, mapping in plans.mappings.items()
            if mapping.cors is not None
        }

    async def end(self) -> None:
        """Close the upstreams after the last exchange has ended."""
        if self._running:
            self._is_idle = asyncio.Event()
            await self._is_idle.wait()
        await self._runner.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running += 1
        self._request_count.running += 1
        try:
            path = scope["extensions"][EXTENSION].path
            match = scope["dragoman.match"] = self._tree.find(path, scope["method"]) if path else _NO_MATCH
            is_rejected = self._guard is not None and self._reject_cross_site(self._guard, scope, match)
            serve = self._serve if is_rejected or not self._cors else self._select_app(scope, match)
            await serve(scope, receive, send)
        finally:
            self._request_count.running -= 1
            self._running -= 1
            # An idle connection holds its last scope, which must not keep replaced plans in memory.
            scope.pop("dragoman.match", None)
            if self._is_idle is not None and not self._running:
                self._is_idle.set()

    def _reject_cross_site(self, guard: BrowserGuard, scope: Scope, match: PlanMatch) -> bool:
        """Set the `fault` of a request if it requires no key and `guard` rejects it; returns whether it does.

        A preflight is checked as the request that it announces.
        """
        cycle: RequestCycle = scope["extensions"][EXTENSION]
        framing, method = cycle.framing, scope["method"]
        if guard.trusts(framing.host, framing.is_from_page):
            return False
        if method == "OPTIONS" and (requested := _preflight_method(scope)) is not None:
            match, method = self._tree.find(cycle.path, requested), requested
        if cycle.fault is not None or _requires_key(match, method):
            return False
        cors = None if match.owner is None else match.owner.cors
        cycle.fault = guard.refusal(scope["headers"], None if cors is None else cors.origins)
        return cycle.fault is not None

    def _select_app(self, scope: Scope, match: PlanMatch) -> ASGIApp:
        """The application that serves a request, if any mapping configures CORS."""
        owner = match.owner
        requested = _preflight_method(scope) if scope["method"] == "OPTIONS" else None
        if requested is not None:
            owner = self._tree.find(scope["extensions"][EXTENSION].path, requested).owner
            if owner is not None and owner.name in self._cors:
                return partial(self._preflight, self._cors[owner.name])
        cors = None if owner is None else self._cors.get(owner.name)
        if cors is None or scope["extensions"][EXTENSION].framing.is_from_page:
            return cors or self._serve
        # If no web page made the request, the middleware would only add `Vary`; this avoids its overhead.
        scope[_VARIES_BY_ORIGIN] = True
        return self._serve

    async def _preflight(self, cors: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the CORS middleware respond to a preflight request, and log it."""
        started, status = time.monotonic_ns(), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await cors(scope, receive, send_and_note)
        inbound = _inbound(scope)
        peer = (scope.get("client") or ("",))[0]
        inbound.client, inbound.address = self._addresses.client_of(peer, inbound.headers)
        logs.record_preflight(inbound, scope["dragoman.match"], status, started)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run an exchange, send its response, and record both in logs, metrics and traces."""
        cycle: RequestCycle = scope["extensions"][EXTENSION]
        started = time.monotonic_ns()
        match, inbound = scope["dragoman.match"], _inbound(scope)
        peer = (scope.get("client") or ("",))[0]
        inbound.client, inbound.address = self._addresses.client_of(peer, inbound.headers)
        if self._addresses.has_proxies:
            inbound.is_proxied = self._addresses.is_proxy(peer)
        result: ExchangeResult | None = None
        span = tracing.begin(inbound)
        try:
            body = RequestBody(inbound, receive, cycle.framing.has_body)
            result = await self._run_exchange(match, inbound, body, cycle, started)
            if _VARIES_BY_ORIGIN in scope:
                result.response = _with_vary_origin(result.response)
            response = result.response
            if isinstance(response, CompleteResponse):
                await _send_complete(result, response, inbound.method, send, cycle)
            elif isinstance(response, EventStreamResponse):
                await self._send_stream(result, response, inbound.method, send, cycle)
            else:
                await self._forward(result, response, send, cycle)
        except asyncio.CancelledError:
            if not cycle.is_gone:
                raise
            logs.record_client_disconnect(inbound, match, started, result)
            metrics.record_client_disconnect(match, inbound, started)
            tracing.abandon(span)
            return
        usage = usage_of(result)
        logs.record_exchange(result, usage)
        metrics.record_exchange(result, usage)
        tracing.end(span, result)

    async def _run_exchange(
        self, match: PlanMatch, inbound: Inbound, body: RequestBody, cycle: RequestCycle, started: int
    ) -> ExchangeResult:
        """Run an exchange; a rejected or interrupted one results in an error response."""
        fault = cycle.fault
        if fault is None and self._request_count.running > self._request_count.limit:
            fault = overloaded("too many concurrent requests")
        if fault is None:
            if cycle.framing.has_body and not _reads_body(match, inbound.method):
                cycle.ignore_body()
            try:
                return await self._runner.run(match, inbound, body)
            except asyncio.CancelledError:
                fault = cycle.interruption()
        return self._runner.reject(match, inbound, fault, started)

    async def _forward(
        self, result: ExchangeResult, response: ByteStreamResponse, send: Send, cycle: RequestCycle
    ) -> None:
        """Send an upstream's bytes; if the upstream response is truncated, truncate the response too."""
        try:
            await send(_start_message(response, []))
            if not any(name == "content-length" for name, _ in response.headers):
                await send(_body_message(b""))
            while cycle.wants_body and (data := await response.source.next()) is not None:
                assert isinstance(data, bytes), "a forwarded response has bytes"
                await send(_body_message(result.sent(data)))
            await send({"type": "http.response.body"})
        except ExchangeError as error:
            release_frames(error)
            result.error = error
            if error.is_in_band:
                await send({"type": "http.response.body"})
            else:
                cycle.truncate()
        except asyncio.CancelledError:
            result.error = cycle.interruption()
            cycle.truncate()
        finally:
            cycle.settle()
            await self._runner.release(result)

    async def _send_stream(
        self,
        result: ExchangeResult,
        response: EventStreamResponse,
        method: str,
        send: Send,
        cycle: RequestCycle,
    ) -> None:
        """Send a stream of events, then release its upstream."""
        stream = response.stream
        try:
            await send(_start_message(response, []))
            writer = EventWriter(stream.plan, result.exchange)
            if method != "HEAD":
                await self._send_events(result, stream, writer, send, cycle)
            result.error = result.error or stream.error
            if stream.error is not None and not stream.error.is_in_band:
                cycle.truncate()
                return
            # After an error event the body is complete, but has no end marker, which would signal success.
            has_marker = method != "HEAD" and stream.error is None
            last = result.sent(writer.close()) if has_marker else b""
            await send({"type": "http.response.body", "body": last})
        finally:
            cycle.settle()
            await self._runner.release(result)

    async def _send_events(
        self,
        result: ExchangeResult,
        stream: EventStream,
        writer: EventWriter,
        send: Send,
        cycle: RequestCycle,
    ) -> None:
        """Send events as they arrive, with at most one write to the client per read from the upstream."""
        try:
            if not (stream.first or stream.script or stream.is_over):
                # The first event has not arrived: send the head now, as the client would wait for it.
                await send(_body_message(result.sent(writer.comment())))
            with _KeepAlive(cycle, writer.comment(), stream.plan.keep_alive) as keep_alive:

                def write(events: list[Any]) -> bool:
                    cycle.write(result.sent(writer.write(events, stream), len(events)))
                    keep_alive.note_write()
                    return cycle.is_writable

                response_events = ResponseEvents(result, stream)
                while await response_events.pump(write):
                    await cycle.drained()
        except asyncio.CancelledError:
            error_events = stream.fail(cycle.interruption())
            await send(_body_message(result.sent(writer.write(error_events, stream), len(error_events))))


def _requires_key(match: PlanMatch, method: str) -> bool:
    """Whether a request requires a key; one without a route does if its mapping has keys."""
    leaf = match.found(method)
    if leaf is not None:
        return leaf.route.requires_key
    return match.owner is not None and bool(match.owner.keys)


def _reads_body(match: PlanMatch, method: str) -> bool:
    """Whether the route of a request reads or forwards its body."""
    leaf = match.found(method)
    if leaf is None:
        return False
    return leaf.route.reads_body or any(attempt.forward for attempt in leaf.route.attempts)


def _body_message(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


class _KeepAlive:
    """Writes a comment to a stream after each `seconds` without a write; None disables the comments."""

    def __init__(self, cycle: RequestCycle, comment: bytes, seconds: float | None) -> None:
        self._cycle = cycle
        self._comment = comment
        self._seconds = seconds
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> _KeepAlive:
        if self._seconds is not None:
            self.note_write()
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._tick, self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def note_write(self) -> None:
        """Restart the interval."""
        if self._seconds is not None:
            self._last = time.monotonic()

    def _tick(self, seconds: float) -> None:
        if time.monotonic() - self._last >= seconds:
            self._cycle.write_comment(self._comment)
            self.note_write()
        left = max(0.0, self._last + seconds - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(left, self._tick, seconds)


# --- Requests --------------------------------------------------------------------------------------------


def _with_cors(app: ASGIApp, plan: CorsPlan) -> ASGIApp:
    origins = plan.origins
    return CORSMiddleware(
        app,
        allow_origins=("*",) if origins.is_any else origins.exact,
        allow_origin_regex=None if origins.pattern is None else origins.pattern.pattern,
        allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
        allow_headers=plan.headers,
        allow_credentials=plan.credentials,
        expose_headers=plan.expose,
        max_age=plan.max_age,
    )


def _with_vary_origin(response: Response) -> Response:
    """The response with `Origin` added to `Vary`, for caches (RFC 9110, 12.5.5)."""
    existing = [value for name, value in response.headers if name == "vary"]
    if not existing:
        return response.with_headers((*response.headers, _VARY_ORIGIN))
    others = [field for field in response.headers if field[0] != "vary"]
    return response.with_headers((*others, ("vary", ", ".join((*existing, "Origin")))))


def _preflight_method(scope: Scope) -> str | None:
    """The method that a preflight request announces; None for other requests and rejected ones."""
    headers = dict(scope["headers"])
    requested: bytes | None = headers.get(b"access-control-request-method")
    if not requested or b"origin" not in headers or scope["extensions"][EXTENSION].fault is not None:
        return None
    return requested.decode("latin-1")


def _inbound(scope: Scope) -> Inbound:
    """The request of a scope, with the client's X-Request-ID if that is valid, or else a random one."""
    headers = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
    path, query = scope["extensions"][EXTENSION].path, scope.get("query_string", b"")
    inbound = Inbound(scope["method"], path, query.decode("latin-1"), headers)
    request_id = inbound.header("x-request-id")
    if not request_id or not _REQUEST_ID.match(request_id):
        request_id = random.randbytes(16).hex()
    inbound.request_id = request_id
    return inbound


class RequestBody:
    """A client's request body, received on demand."""

    def __init__(self, inbound: Inbound, receive: Receive, has_body: bool) -> None:
        self._inbound = inbound
        self._receive = receive
        self._is_read = not has_body
        self._size = 0

    @property
    def length(self) -> int | None:
        """The Content-Length in bytes, or None if the request has none."""
        value = self._inbound.header("content-length")
        return None if value is None else int(value)

    async def next(self, limit: int | None) -> bytes | None:
        """The next piece, which can be empty; None at the end. Each call receives one message of the client.

        Args:
            limit: the maximum size of the complete body in bytes; None for no limit.

        Raises:
            ExchangeError: `payload_too_large`, before anything is received if Content-Length exceeds the
                limit; or the body is invalid or took too long.
            CancelledError: the client has disconnected.
        """
        if self._is_read:
            return None
        if not self._size:
            self._check_length(limit)
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        data: bytes = message["body"]
        self._is_read = not message["more_body"]
        self._size += len(data)
        if limit is not None and self._size > limit:
            raise too_large(limit)
        return data if data or not self._is_read else None

    def _check_length(self, limit: int | None) -> None:
        length = self.length
        if limit is not None and length is not None and length > limit:
            raise too_large(limit)

    def open(self, limit: int | None) -> RequestBodyStream | None:
        """The body as a stream for an upstream; None if there is none.

        Raises:
            ExchangeError: `payload_too_large`, if Content-Length exceeds the limit.
        """
        self._check_length(limit)
        return None if self._is_read else RequestBodyStream(self, limit)

    async def read(self, limit: int) -> Content:
        """The complete body; raises as `next`."""
        pieces = []
        try:
            while (piece := await self.next(limit)) is not None:
                pieces.append(piece)
        finally:
            note_body(self._size)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return Content(data, self._inbound.header("content-type") or "")


class RequestBodyStream:
    """A `BodySource` that forwards a client's body to an upstream.

    Attributes:
        length: the Content-Length in bytes, or None.
    """

    def __init__(self, body: RequestBody, limit: int | None) -> None:
        self.length = body.length
        self._body = body
        self._limit = limit

    async def next(self) -> bytes | None:
        """The next bytes, never empty; None at the end. Raises as `RequestBody.next`."""
        while (data := await self._body.next(self._limit)) == b"":
            pass
        return data


# --- Responses -------------------------------------------------------------------------------------------


def _start_message(response: Response, framing: list[tuple[bytes, bytes]]) -> Message:
    """The `http.response.start` message of a response, with the header fields of `framing` added."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    if response.media_type:
        headers.append((b"content-type", response.media_type.encode("latin-1")))
    return {"type": "http.response.start", "status": response.status, "headers": headers + framing}


async def _send_complete(
    result: ExchangeResult, response: CompleteResponse, method: str, send: Send, cycle: RequestCycle
) -> None:
    """Send a complete response. The protocol omits the body if the method or status does not allow one."""
    data, media_type = response.content.data, response.content.media_type
    has_length = response.status not in (204, 304)
    if has_length and method != "HEAD":
        result.sent(data)
    if send == cycle.send and cycle.is_writable and len(data) <= _MESSAGE_BYTES:
        fields = [*response.headers, ("content-type", media_type)] if media_type else [*response.headers]
        if has_length:
            fields.append(("content-length", str(len(data))))
        cycle.respond(response.status, fields, data)
        return
    await send(_start_message(response, [(b"content-length", b"%d" % len(data))] if has_length else []))
    sent = 0
    while len(data) - sent > _MESSAGE_BYTES:
        await send(_body_message(data[sent : sent + _MESSAGE_BYTES]))
        await asyncio.sleep(0)
        sent += _MESSAGE_BYTES
    await send({"type": "http.response.body", "body": data[sent:], "more_body": False})
