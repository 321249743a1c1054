"""JSON as text: written compactly, read strictly.

Contract: the output can be sent as UTF-8 and read by any JSON reader (RFC 8259); invalid JSON is an
EvaluationError or the default, however deep, long or odd it is.
This module must not know mappings or HTTP.
"""

from __future__ import annotations

from typing import Any

from engine.errors import EvaluationError
from engine.language.functions.bounds import NOT_GIVEN, bounded
from engine.language.functions.registry import Cost, function
from engine.values import JsonError, dumps, dumps_ascii, loads_text


def compact(name: str, value: Any) -> str:
    """The value as compact JSON that preserves key order and non-ASCII; `name` is the calling function."""
    try:
        return bounded(name, dumps(value).decode())
    except JsonError as error:
        raise EvaluationError(f"{name}() got a value that {error.problem}") from None


def text_of(name: str, value: Any) -> str:
    """The value inside a text: null as nothing, a string unchanged, the rest as compact JSON."""
    if type(value) is str:
        return value
    return "" if value is None else compact(name, value)


@function("to_json(value: any) -> string", cost=Cost(measured=(0,)))
def to_json(value: Any) -> str:
    """The value as compact JSON text that preserves key order and non-ASCII characters.

    Unlike with `to_string`, a string is quoted, so that `from_json` returns the same value.

    Examples:
        to_json(`{"b": 1, "a": [true, null]}`) => "{\\"b\\":1,\\"a\\":[true,null]}"
        to_json('é') => "\\"é\\""
        to_json(`null`) => "null"
    """
    return compact("to_json", value)


@function("from_json(text: string|null, default?: any) -> any", cost=Cost(text_bytes=True))
def from_json(text: str | None, default: Any = NOT_GIVEN) -> Any:
    """The value of a JSON text; null for null.

    Invalid JSON (RFC 8259), the empty text included, gives `default`; without a default it is an error.
    So does JSON that is nested more than 1024 levels deep, or has a number of more than 4300 digits. `NaN`
    and `Infinity` are invalid. A byte order mark at the start is ignored.

    Examples:
        from_json('{"city": "Paris"}').city => "Paris"
        from_json('', `{}`) => {}
        from_json('{"city": ') => !
        from_json('NaN', 'bad') => "bad"
        from_json(`null`, `{}`) => null
    """
    if text is None:
        return None
    try:
        return loads_text(text)
    except JsonError as error:
        if default is NOT_GIVEN:
            raise EvaluationError(f"from_json() got text that {error.problem}") from None
        return default


@function("to_string(value: any) -> string", cost=Cost(measured=(0,)))
def to_string(value: Any) -> str:
    """A string unchanged, any other value as compact JSON with ASCII escapes (JMESPath specification).

    `to_json` and `concat` preserve non-ASCII characters.

    Examples:
        to_string('a') => "a"
        to_string(`[1, "é"]`) => "[1,\\"\\\\u00e9\\"]"
    """
    if isinstance(value, str):
        return value
    try:
        return bounded("to_string", dumps_ascii(value))
    except JsonError as error:
        raise EvaluationError(f"to_string() got a value that {error.problem}") from None
