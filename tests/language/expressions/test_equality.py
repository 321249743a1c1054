"""`==` with a number whose value is not known at load, such as the result of a function."""

from __future__ import annotations

from typing import Any

import pytest

from .compiled import Warnings, compiled

#: (value, whether it equals the number 1). In Python True == 1, in JSON it does not.
VALUES: list[tuple[Any, bool]] = [
    (1, True),
    (1.0, True),
    (True, False),
    (2, False),
    ("1", False),
    (None, False),
    ([1], False),
    ({"a": 1}, False),
]


@pytest.mark.parametrize(("value", "is_one"), VALUES)
@pytest.mark.parametrize("text", ["length(list) == value", "value == length(list)"])
def test_a_value_equals_a_number(text: str, value: Any, is_one: bool) -> None:
    payload = {"list": ["a"], "value": value}
    assert compiled(text).function(payload, Warnings()) is is_one
    assert compiled(text.replace("==", "!=")).function(payload, Warnings()) is not is_one


def test_two_numbers() -> None:
    equals = compiled("length(a) == length(b)").function
    assert equals({"a": [1], "b": [2]}, Warnings()) is True
    assert equals({"a": [1], "b": []}, Warnings()) is False
