"""The keys that a file has, including those that validation removed because they have a finding."""

from __future__ import annotations

from collections.abc import Iterable

from engine.diagnostics import suggestion
from engine.locations import Node


def has_key(node: Node, key: str) -> bool:
    """Whether the file has this key here, even if its value is invalid."""
    return key in written_keys(node)


def written_keys(node: Node) -> Iterable[str]:
    """The keys of an object in the file, including those that validation removed."""
    written: object = node.document.original
    for step in node.path:
        written = written[step]  # type: ignore[index]
    return written if isinstance(written, dict) else ()


def is_misspelled(node: Node, names: Iterable[str]) -> bool:
    """Whether the file has a key here that is a misspelling of one of `names`; it already has a finding."""
    written = written_keys(node)
    return any(key not in names and suggestion(key, names) for key in written)
