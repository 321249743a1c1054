"""The exact bytes that encoders write."""

from __future__ import annotations

import pytest

from engine.codecs import FRAMINGS

SSE = FRAMINGS["sse"].encoder()
NDJSON = FRAMINGS["ndjson"].encoder()


def test_framings_have_media_types() -> None:
    assert {name: framing.media_type for name, framing in FRAMINGS.items()} == {
        "sse": "text/event-stream",
        "ndjson": "application/x-ndjson",
    }


@pytest.mark.parametrize(
    ("data", "name", "written"),
    [
        (b"{}", None, b"data: {}\n\n"),
        (b"[DONE]", None, b"data: [DONE]\n\n"),
        (b"{}", "e", b"event: e\ndata: {}\n\n"),
        (b"{}", "a\r\nb\nc\rd", b"event: a b c d\ndata: {}\n\n"),
        (b"{}", "a\n\ndata: forged", b"event: a  data: forged\ndata: {}\n\n"),
        (b"{}", "a\ud800b", b"event: a?b\ndata: {}\n\n"),
        (b"a\nb\r\nc\rd", None, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (b"a\revent: forged", None, b"data: a\ndata: event: forged\n\n"),
        (b"a\n\nevent: forged", None, b"data: a\ndata: \ndata: event: forged\n\n"),
        ('"\u2028\u2029\x85"'.encode(), None, 'data: "\u2028\u2029\x85"\n\n'.encode()),
        (b"", None, b"data: \n\n"),
    ],
)
def test_sse(data: bytes, name: str | None, written: bytes) -> None:
    assert SSE.encode(data, name) == written


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (b"{}", b"{}\n"),
        ('"é🙂"'.encode(), '"é🙂"\n'.encode()),
        ('"\u2028\u2029\x85"'.encode(), b'"\\u2028\\u2029\\u0085"\n'),
        ('"\\\\\u2028"'.encode(), b'"\\\\\\u2028"\n'),
        ('"\u2027\u202a\x84\x86"'.encode(), '"\u2027\u202a\x84\x86"\n'.encode()),
        (b"[1,\r2]", b"[1, 2]\n"),
        (b'{\n  "a": 1\r\n}', b'{   "a": 1  }\n'),
    ],
)
def test_ndjson(data: bytes, written: bytes) -> None:
    assert NDJSON.encode(data) == written
    assert NDJSON.encode(data, "a name") == written


def test_comments() -> None:
    assert SSE.comment() == b":\n\n"
    assert NDJSON.comment() == b""
