"""Merging of partial responses: each mode, values that are not of the expected type, and linear time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EvaluationError
from engine.language.merging import APPEND, BY, FINAL, JOIN, MergeRule, merge_parts
from tests.support.properties import property_settings

CONTENT = MergeRule(
    fields={
        "content": MergeRule(BY, "index", {"text": MergeRule(JOIN), "input": MergeRule(FINAL)}),
        "notes": MergeRule(APPEND),
        "title": MergeRule(JOIN),
    }
)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([], None, id="no parts"),
        pytest.param([{"a": 1}, {"a": 2, "b": None}], {"a": 2, "b": None}, id="the last value counts"),
        pytest.param([{"a": 1}, {"a": None}], {"a": 1}, id="null replaces nothing"),
        pytest.param([{"u": {"a": 1}}, {"u": {"b": 2}}], {"u": {"a": 1, "b": 2}}, id="objects merge"),
        pytest.param([{"l": [1]}, {"l": [2]}], {"l": [2]}, id="lists are values by default"),
        pytest.param([{"title": "a"}, {"title": "b"}], {"title": "ab"}, id="join"),
        pytest.param([{"title": 1}, {"title": "b"}], {"title": "b"}, id="join of another type"),
        pytest.param([{"notes": [1]}, {"notes": [2, 3]}], {"notes": [1, 2, 3]}, id="append"),
        pytest.param([{"notes": [1]}, {"notes": "x"}], {"notes": "x"}, id="append of another type"),
        pytest.param(
            [
                {"content": [{"index": 0, "text": "He"}]},
                {"content": [{"index": 1, "text": "!"}, {"index": 0, "text": "llo"}]},
            ],
            {"content": [{"index": 0, "text": "Hello"}, {"index": 1, "text": "!"}]},
            id="by a key",
        ),
        pytest.param(
            [{"content": [{"text": "a"}]}, {"content": [{"text": "b"}]}],
            {"content": [{"text": "a"}, {"text": "b"}]},
            id="items without the key are appended",
        ),
        pytest.param(
            [{"content": [{"index": 1, "a": 1}]}, {"content": [{"index": True, "a": 2}]}],
            {"content": [{"index": 1, "a": 1}, {"index": True, "a": 2}]},
            id="1 and true are two keys",
        ),
        pytest.param(
            [{"content": [{"index": 0, "input": "{}"}]}, {"content": [{"index": 0, "text": "x"}]}],
            {"content": [{"index": 0, "input": "{}", "text": "x"}]},
            id="final in one part",
        ),
    ],
)
def test_parts(parts: list[Any], expected: Any) -> None:
    before = json.dumps(parts)
    assert merge_parts(parts, CONTENT) == expected
    assert json.dumps(parts) == before, "parts are not changed"


def test_a_final_value_in_two_parts() -> None:
    parts = [{"content": [{"index": 0, "input": "{"}]}, {"content": [{"index": 0, "input": "}"}]}]
    with pytest.raises(EvaluationError, match="'final' was sent in two parts"):
        merge_parts(parts, CONTENT)


def test_nesting_that_is_too_deep() -> None:
    part: Any = {}
    for _ in range(5000):
        part = {"a": part}
    with pytest.raises(EvaluationError, match="nested too deeply"):
        merge_parts([part], CONTENT)


def test_a_text_that_is_too_long() -> None:
    piece = "x" * (1024 * 1024)
    with pytest.raises(EvaluationError, match="string of more than"):
        merge_parts([{"title": piece}] * 17, CONTENT)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abtitle"), inner, max_size=3)
    ),
    max_leaves=8,
)
parts_of_texts = st.lists(
    st.fixed_dictionaries({}, optional={"title": st.text(max_size=4), "notes": st.lists(st.integers())}),
    max_size=8,
)


@property_settings()
@given(parts_of_texts)
def test_texts_and_lists_grow_in_order(parts: list[dict[str, Any]]) -> None:
    merged = merge_parts(parts, CONTENT) or {}
    assert merged.get("title", "") == "".join(part.get("title", "") for part in parts)
    assert merged.get("notes", []) == [item for part in parts for item in part.get("notes", [])]


@property_settings()
@given(json_values)
def test_one_part_is_the_complete_response(part: Any) -> None:
    assert merge_parts([part], MergeRule()) == part


@property_settings()
@given(st.lists(st.dictionaries(st.sampled_from("ab"), json_values), min_size=1, max_size=4))
def test_merging_the_result_again_changes_nothing(parts: list[Any]) -> None:
    merged = merge_parts(parts, MergeRule())
    assert merge_parts([merged], MergeRule()) == merged
