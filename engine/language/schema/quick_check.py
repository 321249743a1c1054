"""A fast check whether a value is valid by a JSON Schema.

Contract: draft 7, limited to the keywords below. If it cannot decide, for example because of an unknown
keyword, it raises `Undecided`; then, and to find the errors of an invalid value, use a full validator.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_SCALARS: Final = (str, int, bool, type(None))

#: Annotations, and keywords that belong to another keyword.
_IGNORED: Final = frozenset(
    (
        "$schema",
        "$id",
        "$comment",
        "title",
        "description",
        "default",
        "examples",
        "defaultSnippets",
        "x-expects",
        "x-hint",
        "definitions",
        "then",
        "else",
    )
)


class Undecided(Exception):
    """This check cannot decide whether a value is valid."""


def is_valid(value: Any, schema: Any, whole: Any) -> bool:
    """Whether a value is valid by a schema, which is a part of `whole`.

    Raises:
        Undecided: this check cannot decide.
    """
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:  # in draft 7 other keywords next to it are ignored
        target = _definition(schema["$ref"], whole)
        return target.get("x-any-value", False) or is_valid(value, target, whole)
    return all(
        _rule(keyword)(value, wanted, schema, whole)
        for keyword, wanted in schema.items()
        if keyword not in _IGNORED
    )


def _definition(reference: str, whole: Any) -> Any:
    start, _, name = reference.rpartition("/")
    if start != "#/definitions" or name not in whole["definitions"]:
        raise Undecided
    return whole["definitions"][name]


# --- Rules: each takes the value, the value of the keyword, its schema and the complete one ----------------


def _is_of_type(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    names = (wanted,) if isinstance(wanted, str) else wanted
    if any(type(value) in _TYPES[name] for name in names):
        return True
    if "integer" in names and isinstance(value, float):
        raise Undecided  # 1.0 is one
    return False


def _is_one_of(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    if isinstance(value, float) or any(type(each) not in _SCALARS for each in wanted):
        raise Undecided
    return any(type(value) is type(each) and value == each for each in wanted)


def _has_keys(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    return not isinstance(value, dict) or all(key in value for key in wanted)


def _properties_are_valid(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    if not isinstance(value, dict):
        return True
    return all(is_valid(inner, wanted[key], whole) for key, inner in value.items() if key in wanted)


def _others_are_valid(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    if not isinstance(value, dict) or wanted is True:
        return True
    known = schema.get("properties", ())
    return all(is_valid(inner, wanted, whole) for key, inner in value.items() if key not in known)


def _names_are_valid(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    return not isinstance(value, dict) or all(is_valid(key, wanted, whole) for key in value)


def _items_are_valid(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    return not isinstance(value, list) or all(is_valid(item, wanted, whole) for item in value)


def _all_are_valid(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    return all(is_valid(value, part, whole) for part in wanted)


def _branch_is_valid(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
    branch = "then" if is_valid(value, wanted, whole) else "else"
    return is_valid(value, schema.get(branch, True), whole)


_Rule = Callable[[Any, Any, Any, Any], bool]


def _bound(kinds: tuple[type, ...], holds: Callable[[Any, Any], bool]) -> _Rule:
    """A rule about values of some types; all others are valid."""

    def rule(value: Any, wanted: Any, schema: Any, whole: Any) -> bool:
        return type(value) not in kinds or holds(value, wanted)

    return rule


_RULES: Final[dict[str, _Rule]] = {
    "type": _is_of_type,
    "const": lambda value, wanted, schema, whole: _is_one_of(value, (wanted,), schema, whole),
    "enum": _is_one_of,
    "required": _has_keys,
    "properties": _properties_are_valid,
    "additionalProperties": _others_are_valid,
    "propertyNames": _names_are_valid,
    "items": _items_are_valid,
    "allOf": _all_are_valid,
    "if": _branch_is_valid,
    "not": lambda value, wanted, schema, whole: not is_valid(value, wanted, whole),
    "pattern": _bound((str,), lambda value, wanted: re.search(wanted, value) is not None),
    "minLength": _bound((str,), lambda value, wanted: len(value) >= wanted),
    "minItems": _bound((list,), lambda value, wanted: len(value) >= wanted),
    "maxItems": _bound((list,), lambda value, wanted: len(value) <= wanted),
    "minProperties": _bound((dict,), lambda value, wanted: len(value) >= wanted),
    "maxProperties": _bound((dict,), lambda value, wanted: len(value) <= wanted),
    "minimum": _bound((int, float), lambda value, wanted: value >= wanted),
    "maximum": _bound((int, float), lambda value, wanted: value <= wanted),
}


def _rule(keyword: str) -> _Rule:
    if keyword not in _RULES:
        raise Undecided
    return _RULES[keyword]
