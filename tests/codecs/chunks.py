"""Decodes streams for tests: chunks of bytes in; events, and whether the decoder failed, out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from engine.codecs import FRAMINGS, MAX_EVENT_BYTES, Decoder, Event, FramingError


class Outcome(NamedTuple):
    """The events of a stream, including those of an error, and whether the decoder failed."""

    events: list[Event]
    failed: bool = False


def decoded(framing: str, chunks: Iterable[bytes], bound: int = MAX_EVENT_BYTES) -> Outcome:
    """Decode a stream until its end or an error; checks that the decoder then accepts no more."""
    decoder = FRAMINGS[framing].decoder(bound)
    events: list[Event] = []
    failed = False
    try:
        for chunk in chunks:
            events += decoder.feed(chunk)
        events += decoder.close()
    except FramingError as error:
        events += error.events
        failed = True
    assert is_closed(decoder)
    return Outcome(events, failed)


def is_closed(decoder: Decoder) -> bool:
    """Whether a decoder that has ended refuses bytes and has no event left."""
    for data in (b"", b"data: late\n\n", b"\n\n"):
        with pytest.raises(FramingError) as refusal:
            decoder.feed(data)
        assert not refusal.value.events
    return decoder.close() == []


def unescaped(text: str) -> bytes:
    """The bytes of a text of a suite: ASCII with the escapes of a bytes literal."""
    return text.encode("ascii").decode("unicode_escape").encode("latin-1")


def one_by_one(stream: bytes) -> list[bytes]:
    """A chunk for each byte."""
    return [stream[i : i + 1] for i in range(len(stream))]


def split_at(stream: bytes, positions: Iterable[int]) -> list[bytes]:
    """The stream, split at these positions; chunks may be empty."""
    ends = [0, *sorted(positions), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(ends)]


def all_splits(stream: bytes, longest_for_pairs: int = 64) -> Iterator[list[bytes]]:
    """The stream byte by byte, with empty chunks, split at each position, and at each two if it is short."""
    yield one_by_one(stream)
    yield [chunk for byte in one_by_one(stream) for chunk in (b"", byte, b"")]
    positions = range(len(stream) + 1)
    for position in positions:
        yield split_at(stream, [position])
    if len(stream) <= longest_for_pairs:
        for pair in itertools.combinations(positions, 2):
            yield split_at(stream, pair)
