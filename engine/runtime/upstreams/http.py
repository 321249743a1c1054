"""Upstreams over HTTP, on httpx2.

Contract: no redirects, no cookies, no proxies from the environment; the request target goes out as it was
built. A pool belongs to one upstream, so that a slow one cannot starve the others.
The only importer of httpx2.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from typing import Final

import httpx2

from engine.errors import ExchangeError, call_failed
from engine.messages import Content, UpstreamReply, UpstreamRequest
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

    async def send(self, request: UpstreamRequest) -> UpstreamReply:
        """Send one request and read its answer whole, within the timeouts of the plan."""
        try:
            async with asyncio.timeout(request.timeout):
                return await self._send(request)
        except TimeoutError:
            raise self._failure("timeout", "total") from None
        except httpx2.PoolTimeout:
            busy = self._failure("busy", "PoolTimeout")
            busy.headers = (("retry-after", "1"),)
            raise busy from None
        except httpx2.TimeoutException as error:
            cause = type(error).__name__
            raise self._failure("timeout", cause) from None
        except httpx2.ConnectError as error:
            raise self._failure("connect", _connect_cause(error)) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            cause = type(error).__name__
            raise self._failure("broken", cause) from None

    async def _send(self, request: UpstreamRequest) -> UpstreamReply:
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
        try:
            return await self._read(response)
        finally:
            await response.aclose()

    async def _read(self, response: httpx2.Response) -> UpstreamReply:
        if not 200 <= response.status_code <= 599:
            cause = f"status {response.status_code}"
            raise self._failure("broken", cause)
        chunks, size = [], 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > MAX_REPLY_BYTES:
                raise self._failure("too_large", f"over {MAX_REPLY_BYTES}")
            chunks.append(chunk)
        headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
        media_type = response.headers.get("content-type", "")
        return UpstreamReply(response.status_code, headers, Content(b"".join(chunks), media_type))

    def _failure(self, how: str, cause: str) -> ExchangeError:
        return call_failed(self._plan.name, how, cause)

    async def aclose(self) -> None:
        await self._transport.aclose()


def _connect_cause(error: httpx2.ConnectError) -> str:
    """Why a connection failed: the text of the operating system or of TLS, which names no credentials."""
    return f"{type(error).__name__}: {str(error)[:200]}"
