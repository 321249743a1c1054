"""What a file holds, as it is written: the nodes of YAML, before aliases and merge keys are expanded.

Contract: an item that several aliases name is one item; once closed it knows how much it stands for, so that
growth can be bounded before anything is expanded. Must not know PyYAML.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.locations import Span

MAX_DEPTH: Final = 48
MAX_NODES: Final = 100_000

_MERGE: Final = "<<"


class Refused(Exception):
    """Reading stops here; the finding has been recorded."""


@dataclass(slots=True, eq=False)
class Item:
    """One YAML node: a scalar's value, or the children of a list or mapping, with its place.

    Attributes:
        children: None for a scalar; a list's items have no key.
        text: a scalar as YAML understands it, before it became a value.
        offsets: where in the file each character of `text` was written.
        plain: a scalar without quotes, block style or tag.
        size: how many values this stands for, once it is closed.
        height: how many levels of lists and mappings it has, once it is closed.
    """

    span: Span
    value: Any = None
    children: list[tuple[Item | None, Item]] | None = None
    is_mapping: bool = False
    is_flow: bool = False
    text: str = ""
    offsets: Sequence[int] | None = None
    plain: bool = False
    size: int = 1
    height: int = 0

    def close(self) -> None:
        """All children are read: reckon `size` and `height`."""
        items = [item for _, item in self.children or ()]
        self.size = 1 + sum(item.size for item in items)
        self.height = 1 + max((item.height for item in items), default=0)

    def pairs(self) -> Iterator[tuple[Item, Item]]:
        """The keys of a mapping with what stands at them."""
        for key, child in self.children or ():
            assert key is not None
            yield key, child

    @property
    def is_empty(self) -> bool:
        """Nothing is written where a value is wanted."""
        return self.plain and not self.text

    @property
    def is_merge(self) -> bool:
        """A key that says: merge what stands here."""
        return self.plain and self.text == _MERGE
