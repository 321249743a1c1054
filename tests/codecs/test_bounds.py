"""An endless event is refused after the bound and one chunk, and takes little more memory than that."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.codecs import FRAMINGS, MAX_EVENT_BYTES, Decoder, Event, FramingError
from tests.support.times import TORTURE

from .chunks import decoded, unescaped

MIB = 1024 * 1024
CHUNK = 64 * 1024
PLENTY = 64 * MIB
#: Bytes that the interpreter allocates meanwhile: caches, and the test runner's own threads.
NOISE = 32 * 1024
#: Another thread may allocate memory in one try, but hardly in all.
TRIES = 3

FOLDER = Path(__file__).parents[1] / "suites" / "streams"


def endless() -> list[Any]:
    """Endless events, listed in the suites of streams: framing, beginning, and the part that repeats.

    An event with `has_length` begins with its length.
    """
    suites = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.yaml"))]
    return [
        pytest.param(
            suite["framing"],
            unescaped(event.get("start", "")),
            unescaped(event["part"]),
            event.get("has_length", False),
            id=f"{suite['framing']}-{event['case']}",
        )
        for suite in suites
        for event in suite.get("endless", ())
    ]


def chunks(start: bytes, part: bytes, size: int, total: int = PLENTY) -> Iterator[bytes]:
    """An endless event in chunks, truncated after `total` bytes."""
    block = part * (size // len(part) + 1)
    for _ in range(0, total, size):
        yield (start + block)[:size]
        start = b""


def bytes_taken(decoder: Decoder, stream: Iterator[bytes]) -> int:
    """The number of bytes a decoder accepts until it fails."""
    taken = 0
    for chunk in stream:
        taken += len(chunk)
        try:
            assert decoder.feed(chunk) == []
        except FramingError:
            return taken
    raise AssertionError("the decoder never fails")


@pytest.mark.parametrize(("framing", "start", "part", "has_length"), endless())
@pytest.mark.parametrize("bound", [MIB, MAX_EVENT_BYTES])
def test_an_endless_event_is_refused_at_the_bound(
    framing: str, start: bytes, part: bytes, has_length: bool, bound: int
) -> None:
    taken = bytes_taken(FRAMINGS[framing].decoder(bound), chunks(start, part, CHUNK))
    if has_length:
        assert taken == CHUNK, "it is known to be too long"
        return
    # CR LF counts as one byte, so up to twice the bytes may be accepted.
    ends = 1 + part.count(b"\r\n") / len(part)
    assert bound < taken <= bound * ends * 1.02 + CHUNK


@pytest.mark.parametrize("framing", ["sse", "ndjson"])
def test_the_bound_has_a_default(framing: str) -> None:
    assert bytes_taken(FRAMINGS[framing].decoder(), chunks(b"", b"x", CHUNK)) == MAX_EVENT_BYTES + CHUNK


@pytest.mark.parametrize(("framing", "start", "part", "has_length"), endless())
@pytest.mark.parametrize("size", [1, 7, 1024, 16 * 1024])
def test_memory_is_bounded(framing: str, start: bytes, part: bytes, has_length: bool, size: int) -> None:
    bound = (128 if size > 1 or TORTURE else 32) * 1024
    peaks, lefts = [], []
    for _ in range(TRIES):
        peak, left = memory_used(FRAMINGS[framing].decoder(bound), chunks(start, part, size))
        peaks.append(peak)
        lefts.append(left)
        if peak < 2 * bound + 8 * size + NOISE and left < 2 * size + NOISE:
            return
    assert min(peaks) < 2 * bound + 8 * size + NOISE
    assert min(lefts) < 2 * size + NOISE, "a decoder that failed must hold no memory"


def memory_used(decoder: Decoder, stream: Iterator[bytes]) -> tuple[int, int]:
    """Peak and final memory in bytes, including other threads of the process."""
    tracemalloc.start()
    try:
        bytes_taken(decoder, stream)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak, left


@pytest.mark.parametrize("part", [b"data\n", b"data:\n", b"data:ab\n", b"event\n", b":\n", b"x\n"])
def test_an_event_of_many_small_lines_takes_a_multiple_of_the_bound(part: bytes) -> None:
    """Less memory than the parsed JSON of its data would take."""
    bound = MIB
    stream = part * ((bound - 2) // len(part)) + b"\n"
    decoder = FRAMINGS["sse"].decoder(bound)
    tracemalloc.start()
    try:
        decoder.feed(stream)
        assert tracemalloc.get_traced_memory()[1] < 20 * bound
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1000, 1024, 4096, CHUNK, 16 * MIB])
@pytest.mark.parametrize(("framing", "frame"), [("sse", b"data: %b\n\n"), ("ndjson", b"%b\n")])
def test_a_large_event_is_decoded_completely(framing: str, frame: bytes, size: int) -> None:
    data = bytes(itertools.islice(itertools.cycle(b'"abc\xe2\x80\xa8"'), MAX_EVENT_BYTES - len(frame % b"")))
    stream = frame % data + frame % b"small"
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert decoded(framing, pieces).events == [Event(data), Event(b"small")]


def test_an_error_does_not_contain_payload() -> None:
    for framing in FRAMINGS:
        with pytest.raises(FramingError) as failure:
            FRAMINGS[framing].decoder(16).feed(b"data: secret\n\ndata: secret secret secret")
        assert "secret" not in f"{failure.value} {failure.value!r} {failure.value.args}"
