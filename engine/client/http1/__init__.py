"""Upstreams over HTTP/1.1, with a client of our own.

Contract: no redirects, no cookies, no proxies; the request target is sent unchanged. Each upstream has its
own pool, so that a slow upstream cannot starve the others.

    errors          failures of a call over a connection
    deadline        a deadline that moves
    response_head   fast parser for common response heads
    response        bytes → one response; the only importer of httptools
    request_head    a request → the bytes of its head
    content_coding  gzip and deflate
    connection      one connection
    connecting      new connections; `resolver` and `happy_eyeballs` have names and addresses
    pool            a bounded connection pool
    request_body    request bodies
    response_body   response bodies

Each module imports only from those above it.
"""

from __future__ import annotations

import asyncio

from engine.client.http1.connecting import Connector
from engine.client.http1.connection import Connection
from engine.client.http1.content_coding import InvalidCoding, decoded_headers, inflater
from engine.client.http1.errors import CallFailed
from engine.client.http1.pool import Pool
from engine.client.http1.request_body import PIECE, Pieces, send_while_waiting
from engine.client.http1.request_head import InvalidRequest, RequestHead
from engine.client.http1.response import ResponseReader
from engine.client.http1.response_body import Http1Source
from engine.client.limits import IDLE_SECONDS
from engine.errors import ExchangeError, call_failed, release_frames
from engine.http.fields import first_value
from engine.http.messages import EMPTY, JSON, Content, OutgoingRequest, UpstreamRequest, UpstreamResponse
from engine.http.methods import IDEMPOTENT_METHODS
from engine.plan import UpstreamPlan

__all__ = ["Http1Upstream"]


class Http1Upstream:
    """One upstream and its pool of connections."""

    def __init__(self, plan: UpstreamPlan) -> None:
        assert plan.origin is not None
        self._name = plan.name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heads = RequestHead(plan.origin)
        connect = Connector(plan).connect
        self._pool = Pool(connect, plan.connections, plan.timeouts.connect, IDLE_SECONDS)

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Send one request and read its response, within the timeouts of the plan."""
        if self._loop is None:
            # Cached, because getting it takes a system call.
            self._loop = asyncio.get_running_loop()
        total = None if request.timeout is None else self._loop.time() + request.timeout
        try:
            connection = await self._send_request(request, self._heads.write(request), total)
        except CallFailed as failure:
            raise self._failure(failure) from None
        except InvalidRequest as error:
            raise self._failure(CallFailed("broken", str(error))) from None
        response = connection.response
        assert response is not None
        media_type = first_value(response.headers, "content-type") or ""
        is_buffered = not streams or media_type.startswith(JSON)
        has_all = response.is_plain and response.is_complete and response.size <= request.max_bytes
        if not (is_buffered and has_all):
            return await self._read_response(connection, response, request, total, streams)
        content = Content(response.take(response.size), media_type)
        self._pool.release(connection)
        return UpstreamResponse(response.status, response.headers, content)

    async def _send_request(self, request: UpstreamRequest, head: bytes, total: float | None) -> Connection:
        """Send a request; returns its connection once the head of the response has been received.

        The upstream may close a reused connection at the same moment. If no byte of a response was received
        on it, an idempotent request is sent once more, on a new connection.
        """
        connection = self._pool.take_idle() or await self._pool.acquire(total)
        while True:
            connection.begin(request.method, total)
            body = request.body or request.content.data
            try:
                if isinstance(body, bytes) and len(body) <= PIECE:
                    connection.write(head + body)
                    await connection.head()
                else:
                    connection.write(head)
                    await send_while_waiting(connection, Pieces(body) if isinstance(body, bytes) else body)
                return connection
            except BaseException as error:
                if not _is_repeatable(request, connection, error):
                    connection.abort()
                    self._pool.release(connection)
                    raise
            connection = await self._pool.replace(connection, total)

    async def _read_response(
        self,
        connection: Connection,
        response: ResponseReader,
        request: UpstreamRequest,
        total: float | None,
        streams: bool,
    ) -> UpstreamResponse:
        """Read a response that is streamed, or whose body is incomplete, coded or too large."""
        status, headers, decoder = response.status, response.headers, None
        if not request.raw:
            try:
                decoder = inflater(headers)
            except InvalidCoding as error:
                connection.abort()
                self._pool.release(connection)
                raise self._failure(CallFailed("broken", str(error), what=error.what)) from None
        if decoder is not None:
            headers = decoded_headers(headers)
        source = Http1Source(connection, self._pool, self._failure, total, headers, decoder)
        if not streams:
            return UpstreamResponse(status, headers, await source.content(request.max_bytes))
        connection.total = None
        return UpstreamResponse(status, headers, EMPTY, source)

    def _failure(self, failure: CallFailed) -> ExchangeError:
        # The connection holds the exception.
        release_frames(failure)
        return call_failed(self._name, failure.how, failure.cause, failure.what)

    async def aclose(self) -> None:
        """Close all connections."""
        self._pool.close()


def _is_repeatable(request: UpstreamRequest, connection: Connection, error: BaseException) -> bool:
    return (
        isinstance(error, CallFailed)
        and error.is_silent
        and connection.is_used
        and request.body is None
        and request.method in IDEMPOTENT_METHODS
    )
