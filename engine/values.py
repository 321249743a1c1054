"""JSON values in JMESPath and the mapping language: types, truth, equality, order, text.

Contract: values are dict, list, str, int, float, bool, None; nothing here changes one. A float is finite; an
integer may have up to `MAX_DIGITS` digits, and a string may have lone surrogates.
Source: the JMESPath specification (truth, comparison), jmespath.py where the specification is silent.
Must not know expressions, mappings or HTTP.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from engine import json_fallback
from engine.json_fallback import MAX_DEPTH as MAX_DEPTH
from engine.json_fallback import MAX_DIGITS as MAX_DIGITS
from engine.json_fallback import JsonError as JsonError

_ESCAPED_SURROGATE: Final = re.compile("\\\\[\ud800-\udfff]")

TYPE_NAMES: Final[dict[type, str]] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}


class Absent:
    """The type of `ABSENT`: the result of a template without a value, as opposed to null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent()


def type_name(value: Any) -> str:
    """The JSON type of a value; "expression" for anything that is not a JSON value."""
    return TYPE_NAMES.get(type(value), "expression")


def is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def truth(value: Any) -> bool:
    """JMESPath's truth: null, false, "", [] and {} are false; 0 is true."""
    return bool(value) or (value == 0 and value is not False)


def equal(left: Any, right: Any) -> bool:
    """JMESPath's ==: unlike in Python, `0 == false` and `1 == true` are false."""
    if type(left) is bool or type(right) is bool:
        return left is right
    return bool(left == right)


def less(left: Any, right: Any) -> bool | None:
    """`left < right` for two numbers or two strings, else null."""
    return left < right if _comparable(left, right) else None


def less_equal(left: Any, right: Any) -> bool | None:
    """`left <= right` for two numbers or two strings, else null."""
    return left <= right if _comparable(left, right) else None


def _comparable(left: Any, right: Any) -> bool:
    if is_number(left):
        return is_number(right)
    return type(left) is str and type(right) is str


def text(value: Any) -> str:
    """A value inside longer text: a string unchanged, null as nothing, the rest as compact JSON."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    return dumps(value).decode()


def loads(data: bytes) -> Any:
    """Parse a JSON text, with or without a byte order mark.

    Raises:
        JsonError: it is invalid, is nested more than `MAX_DEPTH` levels deep, or has a number of more than
            `MAX_DIGITS` digits. The message has the location and none of the text, which is payload.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return json_fallback.read(data, error)


def loads_text(text: str) -> Any:
    """As `loads`, for a string, which may have lone surrogates.

    Raises:
        JsonError: as `loads`.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # An escaped lone surrogate is equivalent, unless it follows a backslash.
        errors = "surrogatepass" if _ESCAPED_SURROGATE.search(text) else "backslashreplace"
        return loads(text.encode("utf-8", errors))


def dumps(value: Any) -> bytes:
    """Write compact JSON, non-ASCII characters as UTF-8, lone surrogates as escapes.

    Raises:
        JsonError: the value is nested more than `MAX_DEPTH` levels deep.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json_fallback.write(value)


def dumps_ascii(value: Any) -> str:
    """Write compact JSON with escapes for all non-ASCII characters.

    Raises:
        JsonError: as `dumps`.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (RecursionError, TypeError, ValueError):
        return json_fallback.write_ascii(value)
