"""The listener for those who run the server: its metrics, whether it lives, whether it takes requests.

Contract: GET and HEAD of three paths, JSON errors elsewhere; nothing can be changed here, and no upstream is
ever called. A client that says nothing sensible in time, or too much, is closed.
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

_SECONDS: Final = 5.0
_HEAD_BYTES: Final = 8 * 1024
_MOST: Final = 64
_HOST: Final = "127.0.0.1"
_REASONS: Final = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
                   405: "Method Not Allowed", 503: "Service Unavailable"}  # fmt: skip


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[HOST]:PORT`, `:PORT` or `PORT`; without a host, this machine alone.

    Raises:
        ValueError: it is none of these.
    """
    host, _, number = text.rpartition(":")
    if not number.isascii() or not number.isdigit() or int(number) > 65_535:
        raise ValueError(f"'{text}' is no HOST:PORT")
    return host.strip("[]") or _HOST, int(number)


class Admin:
    """Answers for the process.

    Args:
        is_ready: whether requests are taken.
        guard: refuses requests for pages of other sites; None where other machines are served too.
    """

    def __init__(self, is_ready: Callable[[], bool], guard: BrowserGuard | None = None) -> None:
        self._is_ready = is_ready
        self._guard = guard
        self._server: asyncio.Server | None = None
        self._open = 0
        self._paths: Mapping[str, Callable[[], tuple[int, Content]]] = {
            "/metrics": lambda: (200, metrics.exposition()),
            "/livez": lambda: (200, _json({"status": "alive"})),
            "/readyz": self._ready,
        }

    async def listen(self, bound: socket.socket) -> None:
        """Answer on a socket that is bound."""
        self._server = await asyncio.start_server(self._serve, sock=bound, limit=_HEAD_BYTES)
        logs.info("admin_listening", url=url_of(bound))

    def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST:
                async with asyncio.timeout(_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _written(400, _error(400, "this is not understood as HTTP/1.1"))
        refusal = None if self._guard is None else self._guard.refusal(_fields(head), None)
        if refusal is not None:
            return _written(403, _error(403, refusal.message))
        path = words[1].partition("?")[0]
        answer = self._paths.get(path)
        if answer is None:
            return _written(404, _error(404, f"there is {', '.join(self._paths)}"))
        if words[0] not in ("GET", "HEAD"):
            return _written(
                405, _error(405, "GET and HEAD alone are understood here"), "allow: GET, HEAD\r\n"
            )
        return _written(*answer(), is_head=words[0] == "HEAD")

    def _ready(self) -> tuple[int, Content]:
        if self._is_ready():
            return 200, _json({"status": "ready"})
        return 503, _json({"status": "not ready"})


def url_of(bound: socket.socket) -> str:
    """The URL of a socket that is bound."""
    name = bound.getsockname()
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        OSError: that is not possible.
    """
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(place)
        bound.listen(2048)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The header fields of a request's head, with names in lower case."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.strip().lower(), value.strip()


def _json(value: object) -> Content:
    return Content(dumps(value), "application/json")


def _error(status: int, message: str) -> Content:
    return _json({"error": {"status": status, "message": message}})


def _written(status: int, content: Content, more: str = "", is_head: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content.media_type}\r\n"
        f"content-length: {len(content.data)}\r\ncache-control: no-store\r\n{more}connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else content.data)
