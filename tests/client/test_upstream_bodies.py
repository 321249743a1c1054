"""Bodies in both directions: coded and plain, buffered and streaming, in time and late."""

from __future__ import annotations

import asyncio
import gzip
import random
import time
import zlib
from collections.abc import Iterator

import pytest

from engine.client.http1.connection import MAX_BUFFERED
from engine.client.http1.content_coding import STEP, Inflater, InvalidCoding
from engine.errors import ExchangeError
from engine.http.messages import MAX_BODY_BYTES, UpstreamResponse
from tests.support.calls import both_loops, call, opened, run
from tests.support.times import A_SECOND, PATIENCE, SOON
from tests.support.upstream import (
    Channel,
    Seen,
    Upstream,
    complete_response,
    drip,
    eventually,
    head,
    json_response,
    raw,
)

CHUNKED = head(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])
TEXT = random.Random(2).randbytes(5000).hex().encode()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def rest(response: UpstreamResponse, pieces: list[bytes] | None = None) -> list[bytes]:
    """Returns the pieces of a stream up to its end or its error."""
    pieces = [] if pieces is None else pieces
    while (piece := await response.source.next()) is not None:
        pieces.append(piece)
    return pieces


# --- Content codings -------------------------------------------------------------------------------------


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


CODED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("X-GZip", gzip.compress(TEXT)),
    "several members": ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate without a header": ("deflate", raw_deflate(TEXT)),
    "identity": ("identity", TEXT),
    "identity and gzip": ("identity, gzip", gzip.compress(TEXT)),
    "none": ("", TEXT),
}


@pytest.mark.parametrize("name", CODED)
def test_one_coding_is_decoded(upstream: Upstream, name: str) -> None:
    coding, data = CODED[name]
    upstream.on("/whole", complete_response(200, data, headers=[("content-encoding", coding)]))
    pieces = b"".join(chunk(data[i : i + 7]) for i in range(0, len(data), 7))
    fields = [("content-encoding", coding), ("transfer-encoding", "chunked"), ("x-other", "1")]
    upstream.on("/pieces", raw(head(200, fields) + pieces + b"0\r\n\r\n"))

    async def work() -> None:
        async with opened(upstream.url) as up:
            for path in ("/whole", "/pieces"):
                response = await up.send(call(path))
                assert response.content.data == TEXT
                if data != TEXT:
                    assert response.header("content-encoding") is None
                    assert response.header("content-length") is None
                stream = await up.send(call(path), streams=True)
                found = await rest(stream)
                assert all(0 < len(piece) <= STEP for piece in found)
                assert b"".join(found) == TEXT
                as_it_is = await up.send(call(path, raw=True))
                assert as_it_is.content.data == data
                assert as_it_is.header("content-encoding") == coding
            assert response.header("x-other") == "1"

    run(work)
    assert len(upstream.connections) == 1


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("br", TEXT),
        ("zstd", TEXT),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT))),
        ("gzip", TEXT),
        ("gzip", gzip.compress(TEXT)[:-9]),
        ("gzip", gzip.compress(TEXT) + b"more"),
        ("gzip", b"\x1f"),
        ("deflate", zlib.compress(TEXT)[:-1]),
        ("deflate", b"x"),
        ("deflate", zlib.compress(TEXT) + b"more"),
    ],
)
def test_an_undecodable_body_is_an_error(upstream: Upstream, coding: str, data: bytes) -> None:
    upstream.on("/it", complete_response(200, data, headers=[("content-encoding", coding)]))

    async def work() -> None:
        async with opened(upstream.url) as up:
            with pytest.raises(ExchangeError) as caught:
                await up.send(call("/it"))
            assert caught.value.kind == "upstream_error"
            assert up._pool._free_slots + len(up._pool._idle) == 200
            assert (await up.send(call("/it", raw=True))).content.data == data
            if "," in coding or coding in ("br", "zstd"):
                return
            stream = await up.send(call("/it"), streams=True)
            for _ in range(2):
                with pytest.raises(ExchangeError):
                    await rest(stream)

    run(work)


@pytest.mark.parametrize("status", [200, 204, 304])
def test_an_empty_body_needs_no_decoding(upstream: Upstream, status: int) -> None:
    fields = [("content-encoding", "gzip")] + ([("content-length", "0")] if status == 200 else [])
    upstream.on("/it", raw(head(status, fields)))

    async def work() -> None:
        async with opened(upstream.url) as up:
            assert (await up.send(call("/it"))).content.data == b""

    run(work)


def test_each_decoding_step_is_bounded() -> None:
    inflater = Inflater(is_gzip=True)
    inflater.feed(gzip.compress(b"\0" * 50_000_000))
    size = 0
    while data := inflater.step():
        assert len(data) <= STEP
        size += len(data)
    inflater.close()
    assert size == inflater.bytes_out == 50_000_000
    inflater.feed(b"more")
    with pytest.raises(InvalidCoding):
        inflater.step()


# --- Sizes and times -------------------------------------------------------------------------------------


@both_loops
def test_a_large_response_buffered_and_streaming(upstream: Upstream, loop: str) -> None:
    size = MAX_BODY_BYTES - 1000
    body = b"x" * size
    upstream.on("/large", complete_response(200, body))
    upstream.on("/larger", complete_response(200, body + b"x" * 2000))
    upstream.on("/unannounced", drip(CHUNKED, chunk(b"x" * 65_536), 0))

    async def work() -> None:
        async with opened(upstream.url) as up:
            assert len((await up.send(call("/large"))).content.data) == size
            for path in ("/larger", "/unannounced"):
                with pytest.raises(ExchangeError) as caught:
                    await up.send(call(path))
                assert caught.value.message == (
                    f"the upstream 'up' sent a response that is too large: over {MAX_BODY_BYTES} bytes"
                )
            stream = await up.send(call("/larger"), streams=True)
            pieces = await rest(stream)
            assert max(map(len, pieces)) <= MAX_BUFFERED
            assert sum(map(len, pieces)) == size + 2000

    run(work, loop)
    assert upstream.eventually(lambda up: not up.open)


@both_loops
@pytest.mark.parametrize(
    ("path", "cause"),
    [("/hang", "read"), ("/hang-in-head", "read"), ("/hang-in-body", "read"), ("/drip", "total"),
     ("/drip-head", "total")],
)  # fmt: skip
def test_deadlines(upstream: Upstream, loop: str, path: str, cause: str) -> None:
    async def work() -> None:
        read, total = (0.3, PATIENCE) if cause == "read" else (PATIENCE, 0.6)
        async with opened(upstream.url, read=read) as up:
            started = time.monotonic()
            with pytest.raises(ExchangeError) as caught:
                await up.send(call(path, timeout=total))
            took = time.monotonic() - started
            assert (caught.value.kind, caught.value.cause) == ("upstream_timeout", cause)
            assert (0.25 if cause == "read" else 0.55) < took < SOON
            assert await asyncio.to_thread(upstream.eventually, lambda up: not up.open, A_SECOND)

    run(work, loop)


@both_loops
def test_a_stream_may_last_while_it_is_not_silent(upstream: Upstream, loop: str) -> None:
    async def ended(channel: Channel, seen: Seen) -> None:
        await drip(CHUNKED, chunk(b"x"), 0.1, 30)(channel, seen)
        await channel.send(b"0\r\n\r\n")

    upstream.on("/up", ended)

    async def work() -> None:
        async with opened(upstream.url, read=2.5) as up:

            async def read_pieces() -> None:
                response = await up.send(call("/up", timeout=2.5), streams=True)
                assert b"".join(await rest(response)) == b"x" * 30

            async def read_content() -> None:
                response = await up.send(call("/up", timeout=2.5), streams=True)
                with pytest.raises(ExchangeError) as caught:
                    await response.source.content(MAX_BODY_BYTES)
                assert caught.value.cause == "total", "what is read as a whole has a time for the whole"

            await asyncio.gather(read_pieces(), read_content())

    run(work, loop)


@both_loops
def test_a_truncated_stream_returns_its_data_and_then_fails(upstream: Upstream, loop: str) -> None:
    upstream.on("/up", raw(CHUNKED + chunk(b"abc"), "close"))
    upstream.on("/reset", raw(head(200, [("content-length", "10")]) + b"abc", "reset"))
    upstream.on("/bad", raw(CHUNKED + chunk(b"abc") + b"zz\r\n"))

    async def work() -> None:
        async with opened(upstream.url) as up:
            for path in ("/up", "/bad", "/reset"):
                response = await up.send(call(path), streams=True)
                if path != "/reset":
                    assert await response.source.next() == b"abc"
                for _ in range(2):
                    with pytest.raises(ExchangeError) as caught:
                        await rest(response)
                    assert caught.value.kind == "upstream_error"
                await response.source.aclose()

    run(work, loop)


@both_loops
def test_a_stream_that_is_closed_after_its_end_marker(upstream: Upstream, loop: str) -> None:
    async def ended(channel: Channel, seen: Seen) -> None:
        await channel.send(CHUNKED + chunk(b"data: [DONE]\n\n"))
        await channel.pause(0.005)
        await channel.send(b"0\r\n\r\n")

    upstream.on("/ended", ended)
    upstream.on("/endless", drip(CHUNKED, chunk(b"x" * 1000), 0.001))

    async def work() -> None:
        async with opened(upstream.url) as up:
            for _ in range(10):
                response = await up.send(call("/ended"), streams=True)
                assert b"[DONE]" in (await response.source.next() or b"")
                await response.source.aclose()
                await response.source.aclose()
                await asyncio.sleep(0.02)
            assert len(upstream.connections) < 10, "if the end follows soon, the connection is reused"
            response = await up.send(call("/endless"), streams=True)
            await response.source.next()
            await response.source.aclose()
            left = upstream.connections[upstream.requests[-1].connection]
            assert await asyncio.to_thread(eventually, lambda: left.closed is not None, A_SECOND)
            assert up._pool._free_slots + len(up._pool._idle) == 200

    run(work, loop)


# --- Bodies that are sent --------------------------------------------------------------------------------


class Sent:
    """A body that is available piece by piece."""

    def __init__(self, *pieces: bytes, length: int | None = None, every: float = 0) -> None:
        self.length = length
        self.given = 0
        self._pieces = list(pieces)
        self._every = every

    async def next(self) -> bytes | None:
        await asyncio.sleep(self._every)
        if not self._pieces:
            return None
        self.given += 1
        return self._pieces.pop(0)


@both_loops
def test_a_streaming_body(upstream: Upstream, loop: str) -> None:
    async def work() -> None:
        async with opened(upstream.url) as up:
            for length in (6, None):
                for pieces in ((b"abc", b"", b"def"), (b"abcdef",), (b"", b"a", b"bcdef", b"")):
                    response = await up.send(call("/echo", "POST", Sent(*pieces, length=length, every=0.001)))
                    assert response.content.value["body"] == "abcdef"
            await up.send(call("/echo", "POST", Sent(length=0)))
            await up.send(call("/echo", "POST", Sent()))
            large = random.Random(4).randbytes(3_000_000)
            upstream.on("/large", json_response({"ok": True}))
            await up.send(call("/large", "POST", large))

    run(work, loop)
    *bodies, large = (seen.body for seen in upstream.requests)
    assert bodies == [b"abcdef"] * 6 + [b"", b""]
    assert large == random.Random(4).randbytes(3_000_000)
    assert upstream.requests[0].header("content-length") == "6"
    assert upstream.requests[3].header("transfer-encoding") == "chunked"
    assert len(upstream.connections) == 1


class Failing(Sent):
    async def next(self) -> bytes | None:
        piece = await super().next()
        if piece is None:
            raise LookupError("the client disconnected")
        return piece


@both_loops
def test_a_truncated_body_is_never_accepted_as_complete(upstream: Upstream, loop: str) -> None:
    async def work() -> None:
        async with opened(upstream.url) as up:
            for length in (6, None):
                with pytest.raises(LookupError):
                    await up.send(call("/echo", "POST", Failing(b"abc", length=length, every=0.01)))
            for pieces in ((b"abc",), (b"abc", b"defg")):
                with pytest.raises(ExchangeError) as caught:
                    await up.send(call("/echo", "POST", Sent(*pieces, length=6)))
                assert "announced" in (caught.value.cause or "")
            task = asyncio.ensure_future(up.send(call("/echo", "POST", Sent(b"a", every=0.1))))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(upstream.eventually, lambda up: not up.open, A_SECOND)
            assert up._pool._free_slots == 200

    run(work, loop)
    assert upstream.requests == []


@both_loops
def test_sending_stops_if_the_upstream_responds_early(loop: str) -> None:
    """It has read the head and refuses the body."""
    body = Sent(*[b"x" * 1000] * 1000, every=0.005)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head(413, [("content-length", "2")]) + b"{}")
        await reader.read()
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server, opened(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as up:
            response = await up.send(call("/", "POST", body))
            assert (response.status, response.content.data) == (413, b"{}")
            assert up._pool._free_slots == 200, "such a connection carries no other request"
            await asyncio.sleep(0.05)

    run(work, loop)
    assert body.given < 500


@both_loops
def test_an_upload_is_as_fast_as_its_upstream(loop: str) -> None:
    body = Sent(*[b"x" * 65_536] * 2000)

    async def work() -> None:
        done = asyncio.Event()

        async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await done.wait()
            writer.transport.abort()

        server = await asyncio.start_server(stall, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, opened(f"http://127.0.0.1:{port}", read=0.5) as up:
            with pytest.raises(ExchangeError) as caught:
                await up.send(call("/", "POST", body))
            assert (caught.value.kind, caught.value.cause) == ("upstream_timeout", "write")
            done.set()
            await asyncio.sleep(0.05)

    run(work, loop)
    assert body.given * 65_536 < 32 * 1024 * 1024, "no more than the system's buffers"


@both_loops
def test_a_slow_upload_is_not_an_upstream_timeout(upstream: Upstream, loop: str) -> None:
    async def result() -> None:
        async with opened(upstream.url, read=2.5) as up:
            body = Sent(*[b"x"] * 5, every=0.6)
            assert (await up.send(call("/echo", "POST", body))).content.value["body"] == "xxxxx"

    async def silent() -> None:
        async with opened(upstream.url, read=0.2) as up:
            with pytest.raises(ExchangeError) as caught:
                await up.send(call("/hang", "POST", Sent(*[b"x"] * 5, every=0.15)))
            assert caught.value.cause == "read"

    async def work() -> None:
        await asyncio.gather(result(), silent())

    run(work, loop)
