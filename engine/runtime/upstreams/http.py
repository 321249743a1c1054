"""Upstreams over HTTP, on httpx2.

Contract: no redirects, no cookies, no proxies from the environment; the request target goes out as it was
built. A pool belongs to one upstream, so that a slow one cannot starve the others.
The only importer of httpx2.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from functools import cache
from typing import Final

import httpx2

from engine.errors import ExchangeError, call_failed
from engine.messages import EMPTY, Content, UpstreamReply, UpstreamRequest
from engine.plan import UpstreamPlan

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
MAX_CONNECTIONS: Final = 200
_KEEPALIVE_SECONDS: Final = 30.0


@cache
def _tls() -> ssl.SSLContext:
    """The system's trust, made once: it costs some 30 ms."""
    return ssl.create_default_context()


class HttpUpstream:
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
        self._transport = httpx2.AsyncHTTPTransport(
            verify=_tls() if self._base.scheme == "https" else False,
            trust_env=False,
            limits=httpx2.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_CONNECTIONS,
                keepalive_expiry=_KEEPALIVE_SECONDS,
            ),
        )

    async def send(self, request: UpstreamRequest, streams: bool = False) -> UpstreamReply:
        """Send one request and read its answer, within the timeouts of the plan."""
        with self.failures():
            async with asyncio.timeout(request.timeout):
                response = await self._open(request)
                source = _HttpSource(self, response)
                headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
                if streams:
                    return UpstreamReply(response.status_code, headers, EMPTY, source)
                return UpstreamReply(response.status_code, headers, await source.content())

    async def _open(self, request: UpstreamRequest) -> httpx2.Response:
        """The head of the answer."""
        body = request.content.data
        headers = [("host", self._host), *request.headers]
        if body or request.method in ("POST", "PUT", "PATCH"):
            headers.append(("content-length", str(len(body))))
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

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """What httpx2 raises inside, told as ours."""
        try:
            yield
        except TimeoutError:
            raise self.failure("timeout", "total") from None
        except httpx2.PoolTimeout:
            busy = self.failure("busy", "PoolTimeout")
            busy.headers = (("retry-after", "1"),)
            raise busy from None
        except httpx2.TimeoutException as error:
            raise self.failure("timeout", type(error).__name__) from None
        except httpx2.ConnectError as error:
            raise self.failure("connect", _connect_cause(error)) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise self.failure("broken", type(error).__name__) from None

    def failure(self, how: str, cause: str) -> ExchangeError:
        return call_failed(self._plan.name, how, cause)

    async def aclose(self) -> None:
        await self._transport.aclose()


class _HttpSource:
    """The body of one answer."""

    def __init__(self, upstream: HttpUpstream, response: httpx2.Response) -> None:
        self._upstream = upstream
        self._response = response
        self._chunks = response.aiter_bytes()

    async def next(self) -> bytes | None:
        """The next bytes as they come, decompressed; an empty read is none."""
        with self._upstream.failures():
            async for chunk in self._chunks:
                if chunk:
                    return chunk
        return None

    async def content(self) -> Content:
        """The whole body, at most `MAX_REPLY_BYTES`; the connection is given back."""
        chunks, size = [], 0
        try:
            while (chunk := await self.next()) is not None:
                size += len(chunk)
                if size > MAX_REPLY_BYTES:
                    raise self._upstream.failure("too_large", f"over {MAX_REPLY_BYTES}")
                chunks.append(chunk)
        finally:
            await self.aclose()
        return Content(b"".join(chunks), self._response.headers.get("content-type", ""))

    async def aclose(self) -> None:
        """Give the connection back, or close it where the answer has not ended."""
        await self._response.aclose()


def _connect_cause(error: httpx2.ConnectError) -> str:
    """Why a connection failed: the text of the operating system or of TLS, which names no credentials."""
    return f"{type(error).__name__}: {str(error)[:200]}"
