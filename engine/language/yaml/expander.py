"""Items → data: expands aliases and merge keys, and records the location of everything.

Contract: keys are text, the first of duplicate keys counts, and a mapping's own keys take precedence over
merged ones. The total number of values is bounded. Must not know PyYAML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.diagnostics import Findings
from engine.language.yaml.items import MAX_NODES, Item, Unreadable
from engine.locations import Document, Path, ScalarText, SourceFile


def expand(root: Item, file: SourceFile, findings: Findings) -> Document:
    """The document of a file's root item.

    Raises:
        Unreadable: it has too many values.
    """
    document = Document(file, None)
    data = _Expander(document, findings).expand(root, ())
    return Document(file, data, document.value_spans, document.key_spans, document.scalars)


@dataclass(slots=True)
class _Expander:
    """Converts items to data, and records their locations in `document`."""

    document: Document
    findings: Findings
    nodes: int = 0

    def expand(self, item: Item, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.findings.error("file-too-large", f"the file has more than {MAX_NODES} values", item.span)
            raise Unreadable
        self.document.value_spans[path] = item.span
        if item.children is None:
            if item.offsets is not None:
                self.document.scalars[path] = ScalarText(item.offsets)
            return item.value
        if not item.is_mapping:
            return [self.expand(child, (*path, i)) for i, (_, child) in enumerate(item.children)]
        return self._mapping(item, path)

    def _mapping(self, item: Item, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        own = self._keys(item)
        for key, child in item.pairs():
            if own[key.text] is not key:
                continue
            if key.is_merge:
                self._merge(child, path, data, own)
            else:
                self._put(key, child, path, data)
        return data

    def _keys(self, item: Item) -> dict[str, Item]:
        """A mapping's keys by their text; of duplicate keys the first."""
        own: dict[str, Item] = {}
        for key, _ in item.pairs():
            if key.text in own:
                message = f"duplicate key '{key.text}'; first defined at line {own[key.text].span.line}"
                self.findings.error("duplicate-key", message, key.span)
            else:
                own[key.text] = key
        return own

    def _merge(self, child: Item, path: Path, data: dict[str, Any], own: dict[str, Item]) -> None:
        """Add the missing keys of a mapping, or of each mapping in a list; then the keys that these merge."""
        sources = [child] if child.is_mapping or child.children is None else [i for _, i in child.children]
        for source in sources:
            if not source.is_mapping:
                self.findings.error("yaml-merge", "'<<' takes a mapping or a list of mappings", source.span)
                continue
            merged = []
            for key, value in source.pairs():
                if key.is_merge:
                    merged.append(value)
                elif key.text not in own and key.text not in data:
                    self._put(key, value, path, data)
            for value in merged:
                self._merge(value, path, data, own)

    def _put(self, key: Item, child: Item, path: Path, data: dict[str, Any]) -> None:
        below = (*path, key.text)
        self.document.key_spans[below] = key.span
        data[key.text] = self.expand(child, below)
        if child.is_empty:
            self.document.value_spans[below] = key.span
