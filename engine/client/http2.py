"""Upstreams over HTTP/2, and upstreams behind a forward proxy, with httpx2.

Contract: as `http1`. If HTTP/2 (RFC 9113) is configured, there is no fallback to HTTP/1.1. An HTTP/1.1
connection through a proxy carries one request only: httpx2 would read bytes after a response as the next
response. The only importer of httpx2, and of httpcore2 below it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpcore2
import httpx2

from engine.client.happy_eyeballs import connect_first
from engine.client.http1.content_coding import InvalidCoding, coding_of
from engine.client.limits import IDLE_SECONDS
from engine.client.resolver import resolver
from engine.client.tls import context_of, system_context
from engine.errors import ExchangeError, call_failed
from engine.exchange.response_source import PumpByNext
from engine.http.messages import (
    EMPTY,
    BodySource,
    Content,
    Headers,
    OutgoingRequest,
    UpstreamRequest,
    UpstreamResponse,
)
from engine.http.methods import BODY_METHODS
from engine.plan import UpstreamPlan
from engine.process.garbage_collection import note_body


class Http2Upstream:
    """One upstream and its pool of connections."""

    def __init__(self, plan: UpstreamPlan) -> None:
        assert plan.origin is not None
        self._plan = plan
        self._base = httpx2.URL(plan.origin)
        self._host = self._base.netloc.decode("ascii")
        timeouts = plan.timeouts
        self._timeout = {
            "connect": timeouts.connect,
            "read": timeouts.read,
            "write": timeouts.read,
            "pool": timeouts.connect,
        }
        protocol = "h2" if plan.http2 else "http/1.1"
        self._transport = _Transport(
            verify=context_of(plan, protocol) if self._base.scheme == "https" else False,
            trust_env=False,
            http1=not plan.http2,
            http2=plan.http2,
            proxy=_proxy(plan.proxy),
            limits=httpx2.Limits(
                max_connections=plan.connections,
                max_keepalive_connections=plan.connections if plan.http2 else 0,
                keepalive_expiry=IDLE_SECONDS,
            ),
        )

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        """Send one request and read its response, within the timeouts of the plan."""
        with self.failures():
            async with asyncio.timeout(request.timeout):
                response = await self._open(request)
                headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
                if not request.raw:
                    await self._check_coding(response, headers)
                source = _Http2Source(self, response, request.raw)
                if streams:
                    return UpstreamResponse(response.status_code, headers, EMPTY, source)
                return UpstreamResponse(
                    response.status_code, headers, await source.content(request.max_bytes)
                )

    async def _open(self, request: UpstreamRequest) -> httpx2.Response:
        """Send a request and receive the head of its response."""
        body, length = _body(request)
        headers = [("host", self._host), *request.headers]
        if length or (length == 0 and request.method in BODY_METHODS):
            headers.append(("content-length", str(length)))
        response = await self._transport.handle_async_request(
            httpx2.Request(
                request.method,
                self._base,
                headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers],
                content=body,
                extensions={"timeout": self._timeout, "target": request.target.encode("ascii")},
            )
        )
        if not 200 <= response.status_code <= 599:
            await response.aclose()
            raise self.failure("broken", f"status {response.status_code}")
        return response

    async def _check_coding(self, response: httpx2.Response, headers: Headers) -> None:
        """Reject an unsupported content coding: httpx2 would return its bytes without decoding them."""
        try:
            coding_of(headers)
        except InvalidCoding as error:
            await response.aclose()
            raise self.failure("broken", str(error), error.what) from None

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Convert exceptions of httpx2 to `ExchangeError`."""
        try:
            yield
        except TimeoutError:
            raise self.failure("timeout", "total") from None
        except httpx2.PoolTimeout:
            raise self.failure("busy", "PoolTimeout") from None
        except httpx2.TimeoutException as error:
            raise self.failure("timeout", type(error).__name__) from None
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            raise self.failure("connect", type(error).__name__) from None
        except httpx2.DecodingError as error:
            what = "sent a body that does not match its content coding"
            raise self.failure("broken", type(error).__name__, what) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise self.failure("broken", type(error).__name__) from None

    def failure(self, how: str, cause: str, what: str | None = None) -> ExchangeError:
        return call_failed(self._plan.name, how, cause, what)

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Transport(httpx2.AsyncHTTPTransport):
    """httpx2's transport, with the same name resolution as `http1`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # httpx2 has no public option for this. A test fails if the assignment no longer has an effect.
        self._pool._network_backend = _Network(self._pool._network_backend)


class _Network(httpcore2.AsyncNetworkBackend):
    """A network backend with our resolver in front of it."""

    def __init__(self, network: httpcore2.AsyncNetworkBackend) -> None:
        self._network = network
        self._discarding: set[asyncio.Task[None]] = set()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of a host that responds."""

        async def dial(address: str) -> httpcore2.AsyncNetworkStream:
            return await self._network.connect_tcp(address, port, None, local_address, socket_options)

        try:
            async with asyncio.timeout(timeout):
                addresses = await resolver().addresses(host)
                return await connect_first(addresses, dial, self._discard)
        except TimeoutError:
            resolver().forget(host)
            raise httpcore2.ConnectTimeout from None
        except (OSError, httpcore2.ConnectError) as error:
            resolver().forget(host)
            raise httpcore2.ConnectError(type(error).__name__) from None

    def _discard(self, stream: httpcore2.AsyncNetworkStream) -> None:
        task = asyncio.ensure_future(stream.aclose())
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class _Http2Source(PumpByNext):
    """The body of one response."""

    def __init__(self, upstream: Http2Upstream, response: httpx2.Response, is_raw: bool) -> None:
        self._upstream = upstream
        self._response = response
        self._chunks = response.aiter_raw() if is_raw else response.aiter_bytes()

    async def next(self) -> bytes | None:
        """The next bytes, decompressed, or None at the end. Empty chunks are skipped."""
        with self._upstream.failures():
            async for chunk in self._chunks:
                if chunk:
                    return chunk
        return None

    async def content(self, limit: int) -> Content:
        """The complete body, at most `limit` bytes; releases the connection."""
        chunks, size = [], 0
        try:
            while (chunk := await self.next()) is not None:
                size += len(chunk)
                if size > limit:
                    raise self._upstream.failure("too_large", f"over {limit} bytes")
                chunks.append(chunk)
        finally:
            note_body(size)
            await self.aclose()
        return Content(b"".join(chunks), self._response.headers.get("content-type", ""))

    async def aclose(self) -> None:
        """Release the connection, or close it if the response is incomplete."""
        await self._response.aclose()


def _proxy(url: str | None) -> httpx2.Proxy | None:
    if url is None:
        return None
    return httpx2.Proxy(url, ssl_context=system_context() if url.startswith("https:") else None)


def _body(request: UpstreamRequest) -> tuple[bytes | AsyncIterator[bytes], int | None]:
    """The body to send, and its length if known."""
    if request.body is None:
        return request.content.data, len(request.content.data)
    return _pieces(request.body), request.body.length


async def _pieces(body: BodySource) -> AsyncIterator[bytes]:
    while (piece := await body.next()) is not None:
        yield piece
