"""JSON as text: written compactly, read strictly.

Contract: what is written can be sent as UTF-8 and read by any JSON reader (RFC 8259); what is no JSON is an
EvaluationError or the default, however deep, long or odd it is.
This module must not know mappings or HTTP.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from engine.errors import EvaluationError
from engine.functions.bounds import NOT_GIVEN, bounded, too_deep
from engine.functions.registry import Cost, function


def compact(name: str, value: Any) -> str:
    """The value as compact JSON, key order and non-ASCII kept; `name` is the function that asks."""
    try:
        return bounded(name, orjson.dumps(value).decode())
    except TypeError:
        return bounded(name, _beyond_orjson(name, value))


def _beyond_orjson(name: str, value: Any) -> str:
    """As `compact`, for what orjson refuses: depth over 254, integers over 64 bits, lone surrogates."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return json.dumps(value, separators=(",", ":")) if _has_surrogates(text) else text
    except RecursionError:
        raise too_deep(name) from None
    except (TypeError, ValueError):
        raise EvaluationError(f"{name}() got a value that JSON cannot tell") from None


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def text_of(name: str, value: Any) -> str:
    """The value inside a text: null as nothing, a string as itself, the rest as compact JSON."""
    if type(value) is str:
        return value
    return "" if value is None else compact(name, value)


@function("to_json(value: any) -> string", cost=Cost(measured=(0,)))
def to_json(value: Any) -> str:
    """The value as compact JSON text, with key order and non-ASCII characters kept.

    Unlike `to_string`, a string gets its quotes, so that `from_json` gives back the same value.

    Examples:
        to_json(`{"b": 1, "a": [true, null]}`) => "{\\"b\\":1,\\"a\\":[true,null]}"
        to_json('é') => "\\"é\\""
        to_json(`null`) => "null"
    """
    return compact("to_json", value)


@function("from_json(text: string|null, default?: any) -> any", cost=Cost(text_bytes=True))
def from_json(text: str | None, default: Any = NOT_GIVEN) -> Any:
    """The value of JSON text; null for null.

    Text that is no JSON (RFC 8259), the empty text included, gives `default`; without one it is an error.
    `NaN`, `Infinity` and lone surrogates are no JSON.

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
        return orjson.loads(text)
    except ValueError:
        if default is NOT_GIVEN:
            raise EvaluationError("from_json() got text that is no JSON") from None
        return default


@function("to_string(value: any) -> string", cost=Cost(measured=(0,)))
def to_string(value: Any) -> str:
    """A string as it is, any other value as compact JSON with ASCII escapes (JMESPath specification).

    `to_json` and `concat` keep non-ASCII characters.

    Examples:
        to_string('a') => "a"
        to_string(`[1, "é"]`) => "[1,\\"\\\\u00e9\\"]"
    """
    if isinstance(value, str):
        return value
    try:
        return bounded("to_string", json.dumps(value, separators=(",", ":"), default=str))
    except RecursionError:
        raise too_deep("to_string") from None
    except ValueError:
        raise EvaluationError("to_string() got a value that JSON cannot tell") from None
