"""The type of a field determines how its key is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from engine import Findings
from engine.language import yaml
from engine.language.spec_reader import Duration, Spec, defaults, merged, read_spec
from engine.locations import Node


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Leaf(Spec):
    """Keys with defaults, and a short form."""

    size: int = 3
    wait: Duration = "5s"

    @classmethod
    def from_short(cls, node: Node) -> Leaf:
        return cls(node=node, size=len(node.value))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tree(Spec):
    """A key of each type."""

    template: Node
    text: str | None = None
    flag: bool = False
    mode: Literal["a", "b"] | None = None
    from_: Node | None = None
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    trees: tuple[Tree, ...] = ()
    by_name: Mapping[str, Leaf] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    texts: Mapping[str, str | None] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    mixed: tuple[str | int, ...] = ("x", 1)


def node(text: str) -> Node:
    document = yaml.parse("x.yaml", text.encode(), Findings())
    assert document is not None
    return document.root


def tree(text: str) -> Tree:
    return read_spec(Tree, node(text))


def test_absent_keys_have_their_defaults() -> None:
    found = tree("template: x")
    assert (found.text, found.flag, found.from_, found.leaf, found.leaves) == (None, False, None, None, ())
    assert (found.by_name, found.words, found.mixed) == ({}, (), ("x", 1))
    assert found.node.value == {"template": "x"}


def test_a_node_has_its_location() -> None:
    found = tree("template: x\nfrom: [1]\n")
    assert found.from_ is not None
    assert (found.template.span.line, found.template.span.column) == (1, 11)
    assert (found.from_.value, found.from_.key_span.line) == ([1], 2)


def test_a_null_is_a_node_and_an_object_without_keys() -> None:
    found = tree("template: null\nleaf: null\n")
    assert found.template.value is None
    assert found.leaf is not None
    assert (found.leaf.size, found.leaf.wait) == (3, "5s")


@pytest.mark.parametrize(
    ("written", "text"), [("a", "a"), ("8080", "8080"), ("1.5", "1.5"), ("true", "true"), ("null", None)]
)
def test_a_text_may_be_written_as_another_scalar(written: str, text: str | None) -> None:
    found = tree(f"template: x\ntext: {written}\ntexts: {{ a: {written} }}\n")
    assert (found.text, found.texts) == (text, {"a": text})


def test_plain_values() -> None:
    found = tree("{ template: x, flag: true, mode: b, words: [a, b], mixed: [y, 2], values: { n: 1.0 } }")
    assert (found.flag, found.mode, found.words, found.mixed) == (True, "b", ("a", "b"), ("y", 2))
    assert found.values == {"n": 1.0}


def test_objects_inside_of_objects() -> None:
    found = tree(
        "{ template: x, trees: [{ template: y, trees: { template: z } }], by_name: { a: { size: 1 } } }"
    )
    assert found.trees[0].trees[0].template.value == "z"
    assert found.by_name["a"].size == 1
    assert found.by_name["a"].node.path == ("by_name", "a")


@pytest.mark.parametrize(
    ("written", "sizes"), [("[abc, { size: 5 }]", [3, 5]), ("{ size: 5 }", [5]), ("ab", [2]), ("[]", [])]
)
def test_one_or_a_list_in_short_or_long_form(written: str, sizes: list[int]) -> None:
    assert [leaf.size for leaf in tree(f"{{ template: x, leaves: {written} }}").leaves] == sizes


def test_a_duration_is_a_node_or_the_default() -> None:
    found = tree("{ template: x, leaves: [{}, { wait: 1s }] }")
    default, written = (leaf.wait for leaf in found.leaves)
    assert default == "5s"
    assert isinstance(written, Node)
    assert written.value == "1s"
    assert defaults(Leaf) == {"size": 3, "wait": "5s"}


def test_a_class_without_a_short_form_rejects_one() -> None:
    with pytest.raises(TypeError, match="Tree has no short form"):
        tree("just a text")


def test_merged_objects() -> None:
    base = read_spec(Leaf, node("{ size: 1, wait: 1s }"))
    own = read_spec(Leaf, node("{ size: 2 }"))
    both = merged(base, own)
    assert both is not None
    assert (both.size, both.wait, both.node) == (2, base.wait, own.node)
    assert (merged(None, own), merged(base, None), merged(None, None)) == (own, base, None)
