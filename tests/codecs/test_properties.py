"""Properties of every stream: chunks do not matter, encoded events decode, only `FramingError` is raised."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
from hypothesis import given
from hypothesis import strategies as st

from engine.codecs import FRAMINGS, MAX_EVENT_BYTES, Event
from tests.support.properties import property_settings

from .chunks import Outcome, decoded, one_by_one, split_at
from .reference import events_of

PROPERTY = property_settings(150, 400, is_seeded=True)

LINE_ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r"]
FIELDS = [
    b"data",
    b"data:",
    b"data: ",
    b"event",
    b"event: ",
    b"id: 1",
    b"retry: 1",
    b": ",
    b":",
    b" ",
    b"x: ",
]
OTHERS = [
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"\x0b",
    b"\x00",
    b"\xff",
    b"a",
    b'{"a": 1}',
    b"[DONE]",
]

#: Streams of mostly valid events, and some invalid ones.
STREAMS = st.lists(st.sampled_from(LINE_ENDS + FIELDS + OTHERS) | st.binary(max_size=4), max_size=24).map(
    b"".join
)
POSITIONS = st.lists(st.integers(min_value=0, max_value=120), max_size=12)
BOUNDS = st.integers(min_value=2, max_value=40) | st.just(MAX_EVENT_BYTES)
NAMED = st.sampled_from(sorted(FRAMINGS))

#: With characters that readers treat as line ends, and characters that JSON escapes.
TEXTS = st.text(
    st.sampled_from('\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e\r\n\t\0\x7f"\\é€🙂')
    | st.characters(exclude_categories=["Cs"]),
    max_size=12,
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=12
)


def positions_in(stream: bytes, positions: list[int]) -> list[int]:
    return [min(position, len(stream)) for position in positions]


@PROPERTY
@given(NAMED, STREAMS, POSITIONS, BOUNDS)
def test_chunks_do_not_matter(framing: str, stream: bytes, positions: list[int], bound: int) -> None:
    whole = decoded(framing, [stream], bound)
    assert decoded(framing, split_at(stream, positions_in(stream, positions)), bound) == whole
    assert decoded(framing, one_by_one(stream), bound) == whole


@PROPERTY
@given(STREAMS)
def test_events_agree_with_the_standard(stream: bytes) -> None:
    assert decoded("sse", [stream]) == Outcome(events_of(stream))


@PROPERTY
@given(STREAMS, BOUNDS)
def test_a_bound_ends_the_stream_and_changes_no_event(stream: bytes, bound: int) -> None:
    events, failed = decoded("sse", [stream], bound)
    expected = events_of(stream)
    assert events == (expected[: len(events)] if failed else expected)
    assert all(len(event.data) <= bound for event in events)


@PROPERTY
@given(NAMED, st.binary(max_size=256), POSITIONS, BOUNDS)
def test_garbage_raises_only_framing_errors(
    framing: str, garbage: bytes, positions: list[int], bound: int
) -> None:
    whole = decoded(framing, [garbage], bound)
    assert decoded(framing, split_at(garbage, positions_in(garbage, positions)), bound) == whole
    assert sum(len(event.data) for event in whole.events) <= len(garbage)


@PROPERTY
@given(st.lists(st.tuples(VALUES, NAMES), max_size=6), POSITIONS)
def test_encoded_sse_is_decoded(values: list[tuple[Any, str | None]], positions: list[int]) -> None:
    events = [Event(orjson.dumps(value), name) for value, name in values] + [Event(b"[DONE]")]
    encoder = FRAMINGS["sse"].encoder()
    stream = encoder.comment() + b"".join(encoder.encode(*event) + encoder.comment() for event in events)
    assert decoded("sse", [stream]) == Outcome(events)
    assert decoded("sse", split_at(stream, positions_in(stream, positions))) == Outcome(events)
    assert events_of(stream) == events


@PROPERTY
@given(NAMED, st.lists(st.tuples(VALUES, NAMES), max_size=6), POSITIONS)
def test_encoded_events_are_decoded(
    framing: str, values: list[tuple[Any, str | None]], positions: list[int]
) -> None:
    encoder = FRAMINGS[framing].encoder()
    stream = encoder.comment() + b"".join(encoder.encode(orjson.dumps(value), name) for value, name in values)
    events, failed = decoded(framing, split_at(stream, positions_in(stream, positions)))
    assert not failed
    assert [orjson.loads(event.data) for event in events] == [value for value, _ in values]


@PROPERTY
@given(NAMES)
def test_ndjson_has_no_names(name: str | None) -> None:
    assert decoded("ndjson", [FRAMINGS["ndjson"].encoder().encode(b"1", name)]).events == [Event(b"1")]


@PROPERTY
@given(st.lists(VALUES, min_size=1, max_size=6), POSITIONS)
def test_clients_read_one_line_per_ndjson_event(values: list[Any], positions: list[int]) -> None:
    encoder = FRAMINGS["ndjson"].encoder()
    stream = b"".join(encoder.encode(orjson.dumps(value)) for value in values)
    assert not {"\x85", "\u2028", "\u2029"} & set(stream.decode())
    response = httpx.Response(200, content=iter(split_at(stream, positions_in(stream, positions))))
    assert [orjson.loads(line) for line in response.iter_lines()] == values


@PROPERTY
@given(VALUES, NAMES)
def test_data_with_line_ends_remains_one_event(value: Any, name: str | None) -> None:
    """Indented JSON, which an upstream wrote on many lines."""
    data = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    assert decoded("sse", [FRAMINGS["sse"].encoder().encode(data, name)]) == Outcome([Event(data, name)])
    (event,) = decoded("ndjson", [FRAMINGS["ndjson"].encoder().encode(data)]).events
    assert orjson.loads(event.data) == value


@PROPERTY
@given(st.text(max_size=12) | TEXTS)
def test_a_name_cannot_inject_fields(name: str) -> None:
    (event,) = decoded("sse", [FRAMINGS["sse"].encoder().encode(b"1", name)]).events
    plain = name.encode("utf-8", "replace").replace(b"\r\n", b" ").replace(b"\r", b" ").replace(b"\n", b" ")
    assert event == Event(b"1", plain.decode() or None)
