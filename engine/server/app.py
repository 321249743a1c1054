"""The ASGI application: requests in, responses out.

Contract: a Starlette application for all mapped routes, under any ASGI server on asyncio and mounted in other
ASGI applications. What ASGI does not have comes from the `RequestCycle` of a request: that of our own
`protocol`, or one made from the scope. A client that disconnects cancels the task of its request.
The only importer of starlette.
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
from engine.server.client_addresses import Addresses
from engine.server.http1 import EXTENSION
from engine.server.request_cycle import RequestCycle, has_cycle
from engine.stores.rate_limits import RateLimits

#: A key of the scope: the response depends on the origin of the page, and no page made this request.
_VARIES: Final = "dragoman.varies"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
#: Seconds until a set of plans that was replaced is looked for in memory.
_SETTLING: Final = 0.2
#: Bytes of a body that are given to the transport at a time.
_PIECE_BYTES: Final = 256 * 1024
#: Where a request is refused before its path is known.
_NOWHERE: Final[PlanMatch] = Match(None, {}, ())


class Application(Starlette):
    """Serves a set of plans.

    The lifespan or the first request opens the upstreams of an event loop. The end of the lifespan, `aclose`
    or the end of the event loop closes them.

    Args:
        in_flight: exchanges at a time; all others are refused.
        limits: counts clients' requests, over all sets of plans.
        addresses: finds the addresses of clients.
        guard: checks requests that need no key; None for no such check.
    """

    def __init__(
        self,
        plans: PlanSet,
        in_flight: int,
        limits: RateLimits | None = None,
        addresses: Addresses | None = None,
        guard: BrowserGuard | None = None,
    ) -> None:
        super().__init__(lifespan=_lifespan)
        self.router.default = self._default
        self._plans = plans
        self._load = Load(in_flight)
        self._limits = limits or RateLimits()
        self._addresses = addresses or Addresses()
        self._guard = guard
        self._fronts: dict[asyncio.AbstractEventLoop, Front] = {}
        self._keepers: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one scope. Requests need Starlette only if it has middleware or routes of its own."""
        if scope["type"] == "http" and not self.user_middleware and not self.router.routes:
            await self._handle(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _default(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle what none of Starlette's own routes does. WebSockets are closed before they are accepted."""
        handle = self._handle if scope["type"] == "http" else self.router.not_found
        await handle(scope, receive, send)

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        front = self._fronts.get(asyncio.get_running_loop()) or self._open_lazily()
        if has_cycle(scope, receive, send):
            return front(scope, receive, send)
        return AsgiCycle(scope, receive, send).run(front)

    @property
    def running(self) -> int:
        """How many requests are being handled."""
        return self._load.running

    def open(self) -> None:
        """Open the upstreams of this event loop, if they are not; they connect when first called."""
        loop = asyncio.get_running_loop()
        if loop not in self._fronts:
            self._fronts[loop] = self._front()

    def _front(self) -> Front:
        return Front(self._plans, self._load, self._limits, self._addresses, self._guard)

    def _open_lazily(self) -> Front:
        """Open the upstreams without a lifespan, until the end of the event loop."""
        self.open()
        loop = asyncio.get_running_loop()
        self._keepers[loop] = loop.create_task(self._close_with_loop())
        return self._fronts[loop]

    async def _close_with_loop(self) -> None:
        """Close the upstreams when this task is cancelled, as `asyncio.run` does at its end."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._keepers.pop(asyncio.get_running_loop(), None)
            await self.aclose()

    async def aclose(self) -> None:
        """Close the upstreams of this event loop once running exchanges have ended. A later request opens
        them again."""
        loop = asyncio.get_running_loop()
        front, keeper = self._fronts.pop(loop, None), self._keepers.pop(loop, None)
        if keeper is not None:
            keeper.cancel()
        if front is not None:
            await front.end()
            await asyncio.gather(*self._ending)
            await self._limits.aclose()

    def replace(self, plans: PlanSet) -> None:
        """Serve all later requests by `plans`; running exchanges end on the plans and upstreams that they
        began with. To be called in the event loop."""
        self.open()
        loop = asyncio.get_running_loop()
        self._plans = plans
        old, self._fronts[loop] = self._fronts[loop], self._front()
        ending = asyncio.ensure_future(old.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ended)

    def _ended(self, ending: asyncio.Task[None]) -> None:
        """Plans and their generated functions refer to each other: the collector alone frees them."""
        self._ending.discard(ending)
        asyncio.get_running_loop().call_later(_SETTLING, refreeze_objects)


@contextlib.asynccontextmanager
async def _lifespan(app: Application) -> AsyncIterator[None]:
    app.open()
    try:
        yield
    finally:
        await app.aclose()


class Load:
    """How many exchanges run, and how many may."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = 0


class Front:
    """Everything between ASGI and the relay, for one set of plans."""

    def __init__(
        self,
        plans: PlanSet,
        load: Load,
        limits: RateLimits,
        addresses: Addresses,
        guard: BrowserGuard | None,
    ) -> None:
        self._tree = plans.tree
        self._runner = ExchangeRunner(plans, limits)
        self._load = load
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
        """Close the upstreams, once the last exchange has ended."""
        if self._running:
            self._is_idle = asyncio.Event()
            await self._is_idle.wait()
        await self._runner.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running += 1
        self._load.running += 1
        try:
            path = scope["extensions"][EXTENSION].path
            match = scope["dragoman.match"] = self._tree.find(path, scope["method"]) if path else _NOWHERE
            is_refused = self._guard is not None and self._refuse_page(self._guard, scope, match)
            serve = self._serve if is_refused or not self._cors else self._chosen(scope, match)
            await serve(scope, receive, send)
        finally:
            self._load.running -= 1
            self._running -= 1
            # A connection that waits idly still has its last scope, which must not keep old plans.
            scope.pop("dragoman.match", None)
            if self._is_idle is not None and not self._running:
                self._is_idle.set()

    def _refuse_page(self, guard: BrowserGuard, scope: Scope, match: PlanMatch) -> bool:
        """Whether a request that needs no key is refused, as a page of another site makes it."""
        cycle: RequestCycle = scope["extensions"][EXTENSION]
        framing, method = cycle.framing, scope["method"]
        if guard.trusts(framing.host, framing.is_from_page):
            return False
        if method == "OPTIONS" and (asked := _asked_method(scope)) is not None:
            match, method = self._tree.find(cycle.path, asked), asked
        if cycle.fault is not None or _wants_key(match, method):
            return False
        cors = None if match.owner is None else match.owner.cors
        cycle.fault = guard.refusal(scope["headers"], None if cors is None else cors.origins)
        return cycle.fault is not None

    def _chosen(self, scope: Scope, match: PlanMatch) -> ASGIApp:
        """What serves a request where mappings have rules for other origins' pages."""
        owner = match.owner
        asked = _asked_method(scope) if scope["method"] == "OPTIONS" else None
        if asked is not None:
            owner = self._tree.find(scope["extensions"][EXTENSION].path, asked).owner
            if owner is not None and owner.name in self._cors:
                return partial(self._preflight, self._cors[owner.name])
        cors = None if owner is None else self._cors.get(owner.name)
        if cors is None or scope["extensions"][EXTENSION].framing.is_from_page:
            return cors or self._serve
        # There is nothing to allow: all that the middleware would do is to say that it depends on the origin.
        scope[_VARIES] = True
        return self._serve

    async def _preflight(self, cors: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """A browser's question before the request itself, which the middleware answers."""
        started, status = time.monotonic_ns(), 0

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await cors(scope, receive, note)
        logs.record_preflight(_inbound(scope), scope["dragoman.match"], status, started)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle: RequestCycle = scope["extensions"][EXTENSION]
        started = time.monotonic_ns()
        match, inbound = scope["dragoman.match"], _inbound(scope)
        peer = (scope.get("client") or ("",))[0]
        inbound.address = self._addresses.of(peer, inbound.headers)
        if self._addresses.has_proxies:
            inbound.is_proxied = self._addresses.is_proxy(peer)
        result: ExchangeResult | None = None
        span = tracing.begin(inbound)
        try:
            body = Body(inbound, receive, cycle.framing.has_body)
            result = await self._answer(match, inbound, body, cycle, started)
            if _VARIES in scope:
                result.response = _varying(result.response)
            response = result.response
            if isinstance(response, CompleteResponse):
                await _send(result, response, inbound.method, send, cycle)
            elif isinstance(response, EventStreamResponse):
                await self._stream(result, response, inbound.method, send, cycle)
            else:
                await self._pass(result, response, send, cycle)
        except asyncio.CancelledError:
            if not cycle.is_gone:
                raise
            logs.record_client_disconnect(inbound, match, started, result)
            metrics.record_client_disconnect(match, inbound, started)
            tracing.abandon(span)
            return
        logs.record_exchange(result)
        metrics.record_exchange(result, usage_of(result))
        tracing.end(span, result)

    async def _answer(
        self, match: PlanMatch, inbound: Inbound, body: Body, cycle: RequestCycle, started: int
    ) -> ExchangeResult:
        """Carry out an exchange, unless it is refused or interrupted."""
        fault = cycle.fault
        if fault is None and self._load.running > self._load.most:
            fault = overloaded("too many requests are being answered")
        if fault is None:
            if cycle.framing.has_body and not _reads_body(match, inbound.method):
                cycle.ignore_body()
            try:
                return await self._runner.run(match, inbound, body)
            except asyncio.CancelledError:
                fault = cycle.interruption()
        return self._runner.reject(match, inbound, fault, started)

    async def _pass(
        self, result: ExchangeResult, response: ByteStreamResponse, send: Send, cycle: RequestCycle
    ) -> None:
        """Send an upstream's bytes on; where they are truncated, so is the response."""
        try:
            await send(_start(response, []))
            if not any(name == "content-length" for name, _ in response.headers):
                await send(_piece(b""))
            while cycle.wants_body and (data := await response.source.next()) is not None:
                assert isinstance(data, bytes), "a forwarded response has bytes"
                await send(_piece(result.sent(data)))
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

    async def _stream(
        self,
        result: ExchangeResult,
        response: EventStreamResponse,
        method: str,
        send: Send,
        cycle: RequestCycle,
    ) -> None:
        """Send a stream; its upstream is let go of in any case."""
        stream = response.stream
        try:
            await send(_start(response, []))
            writer = EventWriter(stream.plan, result.exchange)
            if method != "HEAD":
                await self._send_events(result, stream, writer, send, cycle)
            result.error = result.error or stream.error
            if stream.error is not None and not stream.error.is_in_band:
                cycle.truncate()
                return
            # After an error event the body ends regularly, but without the end marker of a success.
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
        """Send events as they come; one read from the upstream is at most one write to the client."""
        try:
            if not (stream.first or stream.script or stream.is_over):
                # The status goes out before the first event, as that has kept the client waiting.
                await send(_piece(result.sent(writer.comment())))
            with _Beats(cycle, writer.comment(), stream.plan.keep_alive) as beats:

                def take(events: list[Any]) -> bool:
                    cycle.write(result.sent(writer.write(events, stream), len(events)))
                    beats.note()
                    return cycle.is_writable

                flow = ResponseEvents(result, stream)
                while await flow.pump(take):
                    await cycle.drained()
        except asyncio.CancelledError:
            told = stream.fail(cycle.interruption())
            await send(_piece(result.sent(writer.write(told, stream), len(told))))


def _wants_key(match: PlanMatch, method: str) -> bool:
    """Whether a request needs a key; one that no route serves does where its mapping has keys."""
    leaf = match.found(method)
    if leaf is not None:
        return leaf.route.requires_key
    return match.owner is not None and bool(match.owner.keys)


def _reads_body(match: PlanMatch, method: str) -> bool:
    leaf = match.found(method)
    if leaf is None:
        return False
    return leaf.route.reads_body or any(attempt.forward for attempt in leaf.route.attempts)


def _piece(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


class _Beats:
    """Comments in a stream wherever nothing came for so many seconds; None for no comments."""

    def __init__(self, cycle: RequestCycle, comment: bytes, seconds: float | None) -> None:
        self._cycle = cycle
        self._comment = comment
        self._seconds = seconds
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> _Beats:
        if self._seconds is not None:
            self.note()
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._tick, self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def note(self) -> None:
        """Something was sent."""
        if self._seconds is not None:
            self._last = time.monotonic()

    def _tick(self, seconds: float) -> None:
        if time.monotonic() - self._last >= seconds:
            self._cycle.write_comment(self._comment)
            self.note()
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


def _varying(response: Response) -> Response:
    """The response that says that it depends on the origin, for caches (RFC 9110, 12.5.5)."""
    given = [value for name, value in response.headers if name == "vary"]
    others = [field for field in response.headers if field[0] != "vary"] if given else response.headers
    headers = (*others, ("vary", ", ".join((*given, "Origin"))))
    return response.with_headers(headers)


def _asked_method(scope: Scope) -> str | None:
    """The method that a preflight asks for; None for what is none, or is refused."""
    headers = dict(scope["headers"])
    asked: bytes | None = headers.get(b"access-control-request-method")
    if not asked or b"origin" not in headers or scope["extensions"][EXTENSION].fault is not None:
        return None
    return asked.decode("latin-1")


def _inbound(scope: Scope) -> Inbound:
    headers = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
    path, query = scope["extensions"][EXTENSION].path, scope.get("query_string", b"")
    inbound = Inbound(scope["method"], path, query.decode("latin-1"), headers)
    told = inbound.header("x-request-id")
    inbound.request_id = told if told and _REQUEST_ID.match(told) else random.randbytes(16).hex()
    return inbound


class Body:
    """The client's body, read when it is wanted."""

    def __init__(self, inbound: Inbound, receive: Receive, has_body: bool) -> None:
        self._inbound = inbound
        self._receive = receive
        self._is_read = not has_body
        self._size = 0

    @property
    def length(self) -> int | None:
        """Its bytes, where that is announced."""
        announced = self._inbound.header("content-length")
        return None if announced is None else int(announced)

    async def next(self, limit: int | None) -> bytes | None:
        """The next piece, None after the last; no more is taken from the client until it is asked for.

        Args:
            limit: bytes that the whole body may have, None for no bound.

        Raises:
            ExchangeError: `payload_too_large`, at once where the length is announced; or the body is not
                understood, or not waited for any longer.
            CancelledError: the client has left.
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

    def open(self, limit: int | None) -> PassingBody | None:
        """The body as it comes, for an upstream; raises as `next`, where the length is announced."""
        self._check_length(limit)
        return None if self._is_read else PassingBody(self, limit)

    async def read(self, limit: int) -> Content:
        """The whole body; raises as `next`."""
        pieces = []
        try:
            while (piece := await self.next(limit)) is not None:
                pieces.append(piece)
        finally:
            note_body(self._size)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return Content(data, self._inbound.header("content-type") or "")


class PassingBody:
    """A client's body on its way to an upstream. `length` in bytes, or None."""

    def __init__(self, body: Body, limit: int | None) -> None:
        self.length = body.length
        self._body = body
        self._limit = limit

    async def next(self) -> bytes | None:
        """The next bytes, None at the end; raises as `Body.next`."""
        while (data := await self._body.next(self._limit)) == b"":
            pass
        return data


# --- Answers ---------------------------------------------------------------------------------------------


def _start(response: Response, framing: list[tuple[bytes, bytes]]) -> Message:
    """The head of an answer, as ASGI has it."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    if response.media_type:
        headers.append((b"content-type", response.media_type.encode("latin-1")))
    return {"type": "http.response.start", "status": response.status, "headers": headers + framing}


async def _send(
    result: ExchangeResult, response: CompleteResponse, method: str, send: Send, cycle: RequestCycle
) -> None:
    """Send an answer whose body is known; the protocol leaves it out where the method or status has none."""
    data, media_type = response.content.data, response.content.media_type
    has_length = response.status not in (204, 304)
    if has_length and method != "HEAD":
        result.sent(data)
    if send == cycle.send and cycle.is_writable and len(data) <= _PIECE_BYTES:
        fields = [*response.headers, ("content-type", media_type)] if media_type else [*response.headers]
        if has_length:
            fields.append(("content-length", str(len(data))))
        cycle.respond(response.status, fields, data)
        return
    await send(_start(response, [(b"content-length", b"%d" % len(data))] if has_length else []))
    sent = 0
    while len(data) - sent > _PIECE_BYTES:
        await send(_piece(data[sent : sent + _PIECE_BYTES]))
        await asyncio.sleep(0)
        sent += _PIECE_BYTES
    await send({"type": "http.response.body", "body": data[sent:], "more_body": False})
