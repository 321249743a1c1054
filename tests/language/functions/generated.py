"""Generated JSON values, and values that match a parameter of a signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from engine.errors import KINDS
from engine.language.functions import Parameter, compile_regex
from engine.values import type_name

#: Arbitrary texts, and texts that have caused errors in functions; lone surrogates included.
TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(st.characters(categories=["Cs", "Lu", "Nd", "Zs"]), max_size=6),
    st.sampled_from(
        [
            "",
            "1.5",
            "1e999",
            "nan",
            "-0",
            "9" * 5000,
            "{}",
            "[1",
            "AAAA",
            "data:;base64,",
            "*?",
            "\x00",
            "\ud800",
        ]
    ),
    st.sampled_from(["2024-01-02", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "\\1", "\\"]),
)

NUMBERS = st.one_of(
    st.integers(-3, 70),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 0.0, -0.0, 10**400, -(10**400), 1.7e308, -1.7e308, 5e-324, 2**63, 2**64]),
)

SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)

VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.just("index"), inner, max_size=4),
    max_leaves=12,
)

_PATTERNS = [compile_regex(text) for text in ("", "a*", "(.)", "(?s)(.*)(x)?", r"\d+", "^$")]

KEYS: list[Callable[[Any], Any]] = [
    lambda element: element,
    lambda element: None,
    lambda element: 1,
    lambda element: element.get("index") if isinstance(element, dict) else None,
    lambda element: type_name(element),
]

BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "number": NUMBERS,
    "boolean": st.booleans(),
    "null": st.none(),
    "object": st.dictionaries(TEXTS, VALUES, max_size=4),
    "array": st.lists(VALUES, max_size=4),
    "expression": st.sampled_from(KEYS),
    "regex": st.sampled_from(_PATTERNS),
    "kind": st.sampled_from(sorted(KINDS)),
}


def deep(levels: int, item: Any = None) -> list[Any]:
    """A list in a list in a list."""
    value = item
    for _ in range(levels):
        value = [value]
    return [value]


def deep_object(levels: int) -> dict[str, Any]:
    """An object in an object in an object."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def type_fits(parameter: Parameter, value: Any) -> bool:
    """Whether a JSON value may be passed: the same check as in compiled expressions."""
    if not parameter.types:
        return True
    if type_name(value) not in parameter.types:
        return False
    if not isinstance(value, list) or not value or not parameter.items:
        return True
    first = type_name(value[0])
    return first in parameter.items and all(type_name(item) == first for item in value)


def arguments(parameter: Parameter) -> st.SearchStrategy[Any]:
    """Values that match the parameter."""
    if not parameter.types:
        return VALUES | st.builds(deep, st.sampled_from([300, 5000]))
    types = parameter.types - {"array"} if parameter.items else parameter.types
    lists = [st.lists(BY_TYPE[name], max_size=4) for name in sorted(parameter.items)]
    return st.one_of(*lists, *(BY_TYPE[name] for name in sorted(types)))
