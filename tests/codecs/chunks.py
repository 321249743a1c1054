"""Streams as tests see them: bytes in chunks in; events, and whether the decoder failed, out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from engine.codecs import FRAMINGS, MAX_EVENT_BYTES, Decoder, Event, FramingError


class Outcome(NamedTuple):
    """What a stream gave: its events, those of a failure included."""

    events: list[Event]
    failed: bool = False


def decoded(framing: str, chunks: Iterable[bytes], bound: int = MAX_EVENT_BYTES) -> Outcome:
    """Read a stream to its end or to its failure; after either the decoder takes no more."""
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
    assert takes_no_more(decoder)
    return Outcome(events, failed)


def takes_no_more(decoder: Decoder) -> bool:
    """Whether a decoder that has ended refuses bytes, and has no event left."""
    for data in (b"", b"data: late\n\n", b"\n\n"):
        with pytest.raises(FramingError) as refusal:
            decoder.feed(data)
        assert not refusal.value.events
    return decoder.close() == []


def one_by_one(stream: bytes) -> list[bytes]:
    """A chunk for each byte."""
    return [stream[i : i + 1] for i in range(len(stream))]


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """The stream, cut at these places; chunks may be empty."""
    ends = [0, *sorted(places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(ends)]


def all_cuts(stream: bytes, longest_for_pairs: int = 64) -> Iterator[list[bytes]]:
    """Byte by byte, with nothing between them, cut at every place, and at every two where it is short."""
    yield one_by_one(stream)
    yield [chunk for byte in one_by_one(stream) for chunk in (b"", byte, b"")]
    places = range(len(stream) + 1)
    for place in places:
        yield cut(stream, [place])
    if len(stream) <= longest_for_pairs:
        for pair in itertools.combinations(places, 2):
            yield cut(stream, pair)
