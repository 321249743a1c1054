"""Parsing and writing JSON: texts that RFC 8259 allows but orjson refuses, and the limits."""

from __future__ import annotations

import json
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import json_fallback
from engine.json_fallback import MAX_EXPANDED_DIGITS
from engine.values import MAX_DEPTH, MAX_DIGITS, JsonError, dumps, dumps_ascii, loads
from tests.support.properties import property_settings
from tests.support.times import time_limit

#: Strings with lone surrogates; an escaped pair of them is one character.
STRINGS = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=8).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | STRINGS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4)
)


def nested(levels: int, opening: str = "[", closing: str = "]", inner: str = "") -> bytes:
    return (opening * levels + inner + closing * levels).encode()


@property_settings(300, heavy=5000)
@given(VALUES)
def test_written_json_has_the_same_value(value: Any) -> None:
    written = dumps(value)
    assert json.loads(written.decode()) == value
    assert json.loads(dumps_ascii(value)) == value
    assert dumps_ascii(value).isascii()


@property_settings(300, heavy=5000)
@given(VALUES)
def test_parsed_values_can_be_written_and_are_the_same(value: Any) -> None:
    """Integers beyond 64 bits are floats, as in orjson."""
    text = dumps(value)
    read = loads(text)
    assert loads(dumps(read)) == read
    assert dumps(read).decode().encode() == dumps(read)


@property_settings(300, heavy=5000)
@given(VALUES)
def test_the_fallback_agrees_with_pythons_parser(value: Any) -> None:
    text = json.dumps([value, "\ud800"])
    assert loads(text.encode()) == json.loads(text)


READ: dict[str, tuple[bytes, Any]] = {
    "a lone high surrogate": (b'"\\ud800"', "\ud800"),
    "a lone low surrogate": (b'"\\uDFFF"', "\udfff"),
    "surrogates the wrong way round": (b'"\\udc00\\ud800"', "\udc00\ud800"),
    "a surrogate before a pair": (b'"\\ud800\\ud83d\\ude00"', "\ud800\U0001f600"),
    "a surrogate in a key": (b'{"\\ud800": 1}', {"\ud800": 1}),
    "a backslash before text that looks like a surrogate": (
        b'["\\\\ud800", "\\ud800"]',
        ["\\ud800", "\ud800"],
    ),
    "a number beyond a double": (b"1e400", 10**400),
    "a negative number beyond a double": (b"-1E+400", -(10**400)),
    "a number with a fraction that the exponent removes": (b"1.25e400", 125 * 10**398),
    "leading zeros in an exponent": (b"1e0000400", 10**400),
    "many digits": (b"1" * MAX_DIGITS, int("1" * MAX_DIGITS)),
    "many digits and an exponent of zero": (b"1" * 400 + b"e0", int("1" * 400)),
    "a byte order mark": (b"\xef\xbb\xbf[1]", [1]),
    "a byte order mark, then white space and a surrogate": (b'\xef\xbb\xbf \n"\\ud800"', "\ud800"),
}


@pytest.mark.parametrize("name", READ)
def test_texts_that_only_the_fallback_parses(name: str) -> None:
    text, value = READ[name]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)
    assert loads(text) == value
    assert loads(dumps(value)) == value
    assert loads(dumps_ascii(value).encode()) == value


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is invalid JSON: line 1 column 1"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "is invalid JSON: line 1 column 1"),
    "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbf1", "is invalid JSON: line 1 column 1"),
    "a byte order mark inside": (b"[\xef\xbb\xbf1]", "is invalid JSON: line 1 column 2"),
    "UTF-16": ("1".encode("utf-16"), "is invalid JSON: line 1 column 1"),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', "is invalid JSON: line 1 column 1"),
    "a surrogate in UTF-8 and an escaped one": (
        b'["\\ud800", "\xed\xa0\x80"]',
        "is invalid JSON: line 1 column 1",
    ),
    "NaN": (b"[NaN]", "is invalid JSON: line 1 column 2"),
    "NaN and a surrogate": (b'["\\ud800",\n NaN]', "is invalid JSON: line 2 column 2"),
    "Infinity and a surrogate": (b'["\\ud800", -Infinity]', "is invalid JSON: line 1 column 12"),
    # Since Python 3.13, `json` reports the comma, before that what follows it.
    "a trailing comma and a surrogate": (
        b'["\\ud800",]',
        f"is invalid JSON: line 1 column {10 if sys.version_info >= (3, 13) else 11}",
    ),
    "a control character and a surrogate": (b'["\\ud800\n"]', "is invalid JSON: line 1 column 9"),
    "two texts, the first with a surrogate": (b'"\\ud800" 1', "is invalid JSON: line 1 column 10"),
    "an invalid number": (b"[1e400, 01]", "is invalid JSON: line 1 column 10"),
    "an exponent beyond bounds": (b"[1, 1e4300]", "has a number out of range: line 1 column 5"),
    "an exponent beyond all bounds": (
        b"1e999999999999999999999",
        "has a number out of range: line 1 column 1",
    ),
    "too many digits": (b"\n" + b"1" * (MAX_DIGITS + 1), "has a number out of range: line 2 column 1"),
    "a fraction beyond a double": (b"1" * 400 + b".5", "has a number out of range: line 1 column 1"),
    "a number in a key does not count": (
        b'{"1e5000": 1e5000}',
        "has a number out of range: line 1 column 12",
    ),
    "many numbers with large exponents": (
        b"[" + b"1e3999," * (MAX_EXPANDED_DIGITS // 4000) + b"1e3999]",
        "has a number out of range: line 1 column 1752",
    ),
    "too deep": (nested(MAX_DEPTH + 1), "is nested more than 1024 levels deep: line 1 column 1026"),
    "far too deep": (nested(200_000), "is nested more than 1024 levels deep: line 1 column 1026"),
    "too deep with a surrogate": (
        nested(MAX_DEPTH + 1, inner='"\\ud800"'),
        "is nested more than 1024 levels deep: line 1 column 1026",
    ),
    "too deep after a surrogate": (
        b'["\\ud800",' + nested(MAX_DEPTH) + b"]",
        "is nested more than 1024 levels deep",
    ),
    "far too deep after a surrogate": (
        b'["\\ud800",' + nested(200_000) + b"]",
        "is nested more than 1024 levels deep",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_texts_and_their_messages(name: str) -> None:
    text, problem = REFUSED[name]
    with pytest.raises(JsonError) as raised:
        loads(text)
    assert raised.value.predicate == problem


@pytest.mark.parametrize("levels", [254, 255, 256, 900, 1000, MAX_DEPTH])
def test_deep_values_are_read_and_written(levels: int) -> None:
    for text in (
        nested(levels),
        nested(levels, '{"a":', "}", "1"),
        nested(levels - 1, inner='"\\ud800"') if levels > 1 else b"",
        nested(levels, inner="18446744073709551616e1"),
    ):
        value = loads(text)
        assert loads(dumps(value)) is not None
    assert dumps(loads(nested(levels))) == nested(levels)
    assert dumps_ascii(loads(nested(levels))).encode() == nested(levels)


@pytest.mark.parametrize("item", [None, "\ud800", 2**64])
def test_values_nested_too_deeply_are_not_written(item: Any) -> None:
    for levels in (MAX_DEPTH + 1, 5000, 200_000):
        value = item
        for _ in range(levels):
            value = [value]
        for write in (dumps, json_fallback.write, json_fallback.write_ascii):
            with pytest.raises(JsonError) as raised:
                write(value)
            assert raised.value.predicate == "is nested more than 1024 levels deep"


def test_values_without_json_form_are_not_written() -> None:
    for value in ([object()], {"a": {1, 2}}, [2**64, float("inf")], [10**MAX_DIGITS]):
        with pytest.raises(JsonError) as raised:
            dumps(value)
        assert raised.value.problem == "cannot be written as JSON"


def test_the_fallback_takes_linear_time() -> None:
    """Each would take minutes in quadratic time, or gigabytes if numbers could grow without bound."""
    size = 400_000
    with time_limit():
        for text in (
            b'["\\ud800",' + b"[]," * size + b"1]",
            b'["\\ud800",' + b"1.5," * size + b"1]",
            b'["' + b"\\ud800" * size + b'"]',
        ):
            assert loads(dumps(loads(text))) == loads(text)
        for text in (
            b"[" + b"1e4299," * size + b"1]",
            b"[1e400," + b'"' + b"e999" * size,
            b"[1e400,NaN," + b"9" * 299 * 1000,
            b"9" * size,
            b"9" * size + b"e9",
            b"9" * size + b".5",
            b'"\\ud800' + b'\\"' * size,
        ):
            with pytest.raises(JsonError):
                loads(text)
