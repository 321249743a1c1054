"""The admin listener: serves metrics, liveness and readiness to operators.

Contract: responds to GET and HEAD on three paths, and with JSON errors otherwise. It changes nothing and
calls no upstream. It closes connections that send no complete request head within the time and size limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from engine.http.messages import Content
from engine.observability import logs, metrics
from engine.server.browser_guard import BrowserGuard
from engine.values import dumps

#: Seconds from the start of a connection to the end of the response.
_TIMEOUT: Final = 5.0
_MAX_HEAD_BYTES: Final = 8 * 1024
_MAX_CONNECTIONS: Final = 64
_DEFAULT_HOST: Final = "127.0.0.1"
_REASONS: Final = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
                   405: "Method Not Allowed", 503: "Service Unavailable"}  # fmt: skip


def parse_address(text: str) -> tuple[str, int]:
    """The host and port in `HOST:PORT`, `[HOST]:PORT`, `:PORT` or `PORT`; the default host is 127.0.0.1.

    Raises:
        ValueError: The text has none of these forms.
    """
    host, _, number = text.rpartition(":")
    if not number.isascii() or not number.isdigit() or int(number) > 65_535:
        raise ValueError(f"invalid address '{text}': expected HOST:PORT")
    return host.strip("[]") or _DEFAULT_HOST, int(number)


class Admin:
    """The admin listener of the process.

    Args:
        is_ready: returns whether the server accepts requests.
        guard: refuses requests from pages of other sites; None if other machines can reach the address.
    """

    def __init__(self, is_ready: Callable[[], bool], guard: BrowserGuard | None = None) -> None:
        self._is_ready = is_ready
        self._guard = guard
        self._server: asyncio.Server | None = None
        self._open_connections = 0
        self._handlers: Mapping[str, Callable[[], tuple[int, Content]]] = {
            "/metrics": lambda: (200, metrics.exposition()),
            "/livez": lambda: (200, _json({"status": "alive"})),
            "/readyz": self._readiness,
        }

    async def listen(self, bound: socket.socket) -> None:
        """Accept connections on a bound socket."""
        self._server = await asyncio.start_server(self._serve, sock=bound, limit=_MAX_HEAD_BYTES)
        logs.info("admin_listening", url=url_of(bound))

    def close(self) -> None:
        """Stop accepting connections."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open_connections += 1
        try:
            if self._open_connections <= _MAX_CONNECTIONS:
                async with asyncio.timeout(_TIMEOUT):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(head))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open_connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _response(self, head: bytes) -> bytes:
        """The response to a request with this head, as bytes."""
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _encode(400, _error(400, "invalid HTTP/1.1 request line"))
        refusal = None if self._guard is None else self._guard.refusal(_fields(head), None)
        if refusal is not None:
            return _encode(403, _error(403, refusal.message))
        path = words[1].partition("?")[0]
        handler = self._handlers.get(path)
        if handler is None:
            return _encode(404, _error(404, f"not found; the paths are {', '.join(self._handlers)}"))
        if words[0] not in ("GET", "HEAD"):
            return _encode(405, _error(405, "method not allowed; use GET or HEAD"), "allow: GET, HEAD\r\n")
        return _encode(*handler(), is_head=words[0] == "HEAD")

    def _readiness(self) -> tuple[int, Content]:
        if self._is_ready():
            return 200, _json({"status": "ready"})
        return 503, _json({"status": "not ready"})


def url_of(bound: socket.socket) -> str:
    """The URL of a bound socket."""
    name = bound.getsockname()
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The header fields of a request head, with names in lower case."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.strip().lower(), value.strip()


def _json(value: object) -> Content:
    return Content(dumps(value), "application/json")


def _error(status: int, message: str) -> Content:
    return _json({"error": {"status": status, "message": message}})


def _encode(status: int, content: Content, more_fields: str = "", is_head: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content.media_type}\r\n"
        f"content-length: {len(content.data)}\r\ncache-control: no-store\r\n{more_fields}"
        "connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else content.data)
