"""The body of one response, read from a connection, which is released when the body ends.

Contract: a truncated body never counts as complete, no matter how often it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

from engine.client.http1.connection import Connection
from engine.client.http1.content_coding import Inflater, InvalidCoding
from engine.client.http1.errors import CallFailed, ToExchangeError, too_large
from engine.client.http1.pool import Pool
from engine.errors import ExchangeError
from engine.exchange.response_source import PumpByNext
from engine.http.fields import first_value
from engine.http.messages import Content, Feed, Headers
from engine.process.garbage_collection import note_body

#: A complete body larger than this, with a higher compression ratio than this, is a decompression bomb.
_BOMB_BYTES: Final = 4 * 1024 * 1024
_BOMB_RATIO: Final = 100
#: The number of decoded bytes after which to yield to other tasks.
_YIELD_BYTES: Final = 1024 * 1024


class Http1Source(PumpByNext):
    """The body of one response.

    Args:
        to_exchange_error: converts a failure to an error of this upstream.
        total: the deadline of a complete body, as a time of the event loop.
        inflater: the decoder of the body, or None.
    """

    def __init__(
        self,
        connection: Connection,
        pool: Pool,
        to_exchange_error: ToExchangeError,
        total: float | None,
        headers: Headers,
        inflater: Inflater | None,
    ) -> None:
        self._connection: Connection | None = connection
        self._pool = pool
        self._to_exchange_error = to_exchange_error
        self._total = total
        self._headers = headers
        self._inflater = inflater
        self._failure: CallFailed | None = None
        self._since_yield = 0

    def next(self) -> Coroutine[Any, Any, bytes | None]:
        """The bytes received since the last call, decoded; None at the end."""
        return self._read() if self._inflater is None else self._next_decoded(self._inflater)

    async def pump(self, feed: Feed) -> bool:
        """Pass bytes to `feed` as they arrive, until that returns False; returns whether the body has ended.
        Raises as `next`."""
        connection = self._connection
        if connection is None or self._inflater is not None:
            return await super().pump(feed)
        try:
            is_all = await connection.pump(feed)
        except CallFailed as failure:
            self._fail(failure)
        except BaseException:
            self._fail_silently(CallFailed("broken", "abandoned"))
            raise
        if is_all:
            self._connection = None
            self._pool.release(connection)
        return is_all

    async def _next_decoded(self, inflater: Inflater) -> bytes | None:
        try:
            return await self._decoded(inflater)
        except InvalidCoding as error:
            self._fail(CallFailed("broken", str(error), what=error.what))

    async def content(self, limit: int) -> Content:
        """The complete body, at most `limit` bytes."""
        if self._connection is not None:
            self._connection.expect_complete(self._total)
            response = self._connection.response
            if response is not None and response.length > limit:
                self._fail(too_large(limit))
        chunks, size = [], 0
        try:
            while (chunk := await self.next()) is not None:
                size += len(chunk)
                if size > limit:
                    self._fail(too_large(limit))
                if self._is_bomb(size):
                    self._fail(CallFailed("too_large", f"compressed more than {_BOMB_RATIO} times"))
                chunks.append(chunk)
        finally:
            note_body(size)
        return Content(b"".join(chunks), first_value(self._headers, "content-type") or "")

    async def aclose(self) -> None:
        """Release the connection; it is closed unless the end of the body follows immediately."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.linger(self._pool.release)

    async def _read(self) -> bytes | None:
        connection = self._connection
        if connection is None:
            if self._failure is not None:
                raise self._to_exchange_error(self._failure)
            return None
        try:
            data = await connection.next()
        except CallFailed as failure:
            self._fail(failure)
        except BaseException:
            self._fail_silently(CallFailed("broken", "abandoned"))
            raise
        response = connection.response
        if response is not None and response.is_complete and not response.chunks:
            self._connection = None
            self._pool.release(connection)
        return data

    async def _decoded(self, inflater: Inflater) -> bytes | None:
        while True:
            data = inflater.step()
            if data:
                await self._yield_to_others(len(data))
                return data
            coded = await self._read()
            if coded is None:
                inflater.close()
                return None
            inflater.feed(coded)

    async def _yield_to_others(self, size: int) -> None:
        self._since_yield += size
        if self._since_yield > _YIELD_BYTES:
            self._since_yield = 0
            await asyncio.sleep(0)

    def _is_bomb(self, size: int) -> bool:
        inflater = self._inflater
        return inflater is not None and size > _BOMB_BYTES and inflater.ratio > _BOMB_RATIO

    def _fail(self, failure: CallFailed) -> NoReturn:
        raise self._fail_silently(failure)

    def _fail_silently(self, failure: CallFailed) -> ExchangeError:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            self._pool.release(connection)
        self._failure = failure
        return self._to_exchange_error(failure)
