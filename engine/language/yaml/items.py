"""The YAML nodes of a file, before aliases and merge keys are expanded.

Contract: an item that several aliases refer to is one object; once closed it has its expanded size, so that
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


class Unreadable(Exception):
    """The file cannot be read; the finding has been recorded."""


@dataclass(slots=True, eq=False)
class Item:
    """One YAML node: a scalar's value, or the children of a list or mapping, with its location.

    Attributes:
        children: None for a scalar; a list's items have no key.
        text: the text of a scalar before it is resolved to a value.
        offsets: the offset of each character of `text` in the file.
        plain: whether it is a scalar without quotes, block style or tag.
        size: the number of values after expansion, once it is closed.
        height: the number of levels of lists and mappings, once it is closed.
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
        """Compute `size` and `height` after all children have been read."""
        items = [item for _, item in self.children or ()]
        self.size = 1 + sum(item.size for item in items)
        self.height = 1 + max((item.height for item in items), default=0)

    def pairs(self) -> Iterator[tuple[Item, Item]]:
        """The keys of a mapping with their values."""
        for key, child in self.children or ():
            assert key is not None
            yield key, child

    @property
    def is_empty(self) -> bool:
        """Whether the value is empty in the file."""
        return self.plain and not self.text

    @property
    def is_merge(self) -> bool:
        """Whether it is a merge key (`<<`)."""
        return self.plain and self.text == _MERGE
