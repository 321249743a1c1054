"""Sending of request bodies, with backpressure from the upstream.

Contract: a body has exactly its announced length, and is terminated only if its source has ended. Errors of
the source propagate.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from engine.client.http1.connection import Connection
from engine.client.http1.errors import CallFailed
from engine.http.messages import BodySource

#: A complete body up to this size is sent at once; a larger one is sent in pieces of this size.
PIECE: Final = 256 * 1024


class Pieces:
    """A complete body as a source of pieces."""

    def __init__(self, data: bytes) -> None:
        self.length: int | None = len(data)
        self._rest = memoryview(data)

    async def next(self) -> memoryview | None:
        """The next piece."""
        piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
        return piece or None


async def send_while_waiting(connection: Connection, body: BodySource | Pieces) -> None:
    """Send a body, and wait for the head of the response.

    Sending stops once the head was received: an upstream that responds early does not need the rest of the
    request.

    Raises:
        CallFailed: there is no valid response.
        Exception: the source of the body failed.
    """
    connection.is_sending = True
    upload = asyncio.ensure_future(_send(connection, body))
    upload.add_done_callback(lambda done: _fail_response(connection, done))
    try:
        await connection.head()
    except CallFailed:
        if upload.done() and not upload.cancelled() and (error := upload.exception()) is not None:
            raise error from None
        raise
    finally:
        if not upload.done():
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await upload


async def _send(connection: Connection, body: BodySource | Pieces) -> None:
    if body.length is None:
        await _send_chunks(connection, body)
    else:
        await _send_counted(connection, body, body.length)
    connection.sent()


async def _send_chunks(connection: Connection, body: BodySource | Pieces) -> None:
    while (data := await body.next()) is not None:
        if data:  # an empty chunk would end the body
            connection.write(b"".join((b"%x\r\n" % len(data), data, b"\r\n")))
            await connection.drain()
    connection.write(b"0\r\n\r\n")


async def _send_counted(connection: Connection, body: BodySource | Pieces, missing: int) -> None:
    while missing:
        data = await body.next()
        if data is None:
            raise CallFailed("broken", "the request body is shorter than announced")
        missing -= len(data)
        if missing < 0:
            raise CallFailed("broken", "the request body is longer than announced")
        connection.write(data)
        if missing:
            await connection.drain()


def _fail_response(connection: Connection, upload: asyncio.Future[None]) -> None:
    """Fail the response if the request cannot be completed."""
    if not upload.cancelled() and upload.exception() is not None:
        connection.fail(CallFailed("broken", "the request body was truncated"))
