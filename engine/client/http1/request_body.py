"""The body of a request on its way out, at the pace of the upstream.

Contract: what goes out is exactly as long as was announced, and ends as announced only if its source came to
an end. The source's own failures are passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from engine.client.http1.connection import Connection
from engine.client.http1.errors import CallFailed
from engine.http.messages import BodySource

#: A body that is there as a whole is sent at once up to this size, and in pieces of it above.
PIECE: Final = 256 * 1024


class Pieces:
    """A body that is there, as one that comes piece by piece."""

    def __init__(self, data: bytes) -> None:
        self.length: int | None = len(data)
        self._rest = memoryview(data)

    async def next(self) -> memoryview | None:
        """The next piece."""
        piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
        return piece or None


async def send_while_waiting(connection: Connection, body: BodySource | Pieces) -> None:
    """Send a body until the head of the response has come: an upstream that answers before it has read all
    of a request does not want the rest.

    Raises:
        CallFailed: there is no answer.
        Exception: the body's source failed.
    """
    connection.is_sending = True
    upload = asyncio.ensure_future(_send(connection, body))
    upload.add_done_callback(lambda done: _tell(connection, done))
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
        if data:  # an empty chunk would be the last one
            connection.write(b"".join((b"%x\r\n" % len(data), data, b"\r\n")))
            await connection.drain()
    connection.write(b"0\r\n\r\n")


async def _send_counted(connection: Connection, body: BodySource | Pieces, missing: int) -> None:
    while missing:
        data = await body.next()
        if data is None:
            raise CallFailed("broken", "less of a body than was announced")
        missing -= len(data)
        if missing < 0:
            raise CallFailed("broken", "more of a body than was announced")
        connection.write(data)
        if missing:
            await connection.drain()


def _tell(connection: Connection, upload: asyncio.Future[None]) -> None:
    """Who waits for the answer of a request that will not be complete is told."""
    if not upload.cancelled() and upload.exception() is not None:
        connection.fail(CallFailed("broken", "the body broke off"))
