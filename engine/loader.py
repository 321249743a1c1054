"""YAML text → data with a place for every key and value.

Contract: scalars are read as JSON reads them (`true`, `false`, `null`, numbers), so `on`, `no`, `0777` and
`2026-01-01` stay text; keys are always text. Duplicate keys, tags other than YAML's own, a second document,
too deep or too large files are findings, and what an alias expands to is bounded.
The only importer of PyYAML. Must not know what a mapping means.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from engine.errors import Findings
from engine.source import Document, Path, ScalarText, SourceFile, Span

MAX_BYTES = 1 << 20
MAX_DEPTH = 48
MAX_NODES = 100_000

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}
_MERGE = "<<"


class _Refused(Exception):
    """Reading stops here; the finding has been recorded."""


@dataclass(slots=True, eq=False)
class _Item:
    """One YAML node: a scalar's value, or the children of a list or mapping, with its place."""

    span: Span
    value: Any = None
    children: list[tuple[_Item | None, _Item]] | None = None
    is_mapping: bool = False
    text: str = ""
    offsets: tuple[int, ...] | None = None
    plain: bool = False


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read."""

    item: _Item
    key: _Item | None = None


@dataclass(slots=True)
class _Composer:
    """Builds items from parser events, without recursion."""

    file: SourceFile
    findings: Findings
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, _Item] = field(default_factory=dict)
    root: _Item | None = None
    documents: int = 0

    def run(self) -> _Item | None:
        try:
            for event in yaml.parse(self.file.text, Loader=_PARSER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except yaml.YAMLError as error:
            self._refuse("yaml-syntax", f"this is not YAML: {_first_line(str(error))}", self._point(1, 1))
        return self.root

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        place = self._point(mark.line + 1, mark.column + 1) if mark else self._point(1, 1)
        text = " ".join(part for part in (error.problem, error.context) if part)
        self._refuse("yaml-syntax", f"this is not YAML: {text}", place)

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._refuse("yaml-documents", "a mapping file holds one document", self._span(event))

    def _begin(self, event: Any) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._check_tag(event, "map" if is_mapping else "seq")
        item = _Item(self._span(event), children=[], is_mapping=is_mapping)
        if len(self.stack) >= MAX_DEPTH:
            self._refuse("yaml-depth", f"nested deeper than {MAX_DEPTH} levels", item.span)
        self._add(item, event.anchor)
        self.stack.append(_Open(item))

    def _alias(self, event: Any) -> None:
        target = self.anchors.get(event.anchor)
        if target is None:
            self._refuse("yaml-alias", f"no anchor '&{event.anchor}' stands before this", self._span(event))
        elif any(opened.item is target for opened in self.stack):
            self._refuse("yaml-alias", f"'*{event.anchor}' contains itself", self._span(event))
        else:
            self._add(target, None)

    def _add(self, item: _Item, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = item
        if not self.stack:
            self.root = item
            return
        opened = self.stack[-1]
        assert opened.item.children is not None
        if not opened.item.is_mapping:
            opened.item.children.append((None, item))
        elif opened.key is None:
            if item.children is not None:
                self._refuse("yaml-key", "a key is text, not a list or a mapping", item.span)
            opened.key = item
        else:
            opened.item.children.append((opened.key, item))
            opened.key = None

    def _scalar(self, event: Any) -> _Item:
        span = self._span(event)
        plain = bool(event.implicit[0]) and not event.style
        value = _resolve(event.value) if plain else event.value
        if event.tag and not plain:
            value = self._tagged(event, span)
        offsets = _align(self.file.text, event.start_mark.index, event.value, event.style)
        return _Item(span, value, text=event.value, offsets=offsets, plain=plain)

    def _tagged(self, event: Any, span: Span) -> Any:
        if event.tag in ("!", _CORE + "str"):
            return event.value
        wanted = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
        kind = wanted.get(event.tag.removeprefix(_CORE))
        value = _resolve(event.value)
        if kind is None or not event.tag.startswith(_CORE) or not isinstance(value, kind):
            self._refuse("yaml-tag", f"tag '{event.tag}' does not fit here", span)
        return value

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", _CORE + kind):
            self._refuse("yaml-tag", f"tag '{event.tag}' does not fit here", self._span(event))

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        return Span(self.file, start.line + 1, start.column + 1, max(length, 1))

    def _point(self, line: int, column: int) -> Span:
        return Span(self.file, line, column, 1)

    def _refuse(self, code: str, message: str, span: Span) -> None:
        self.findings.error(code, message, span)
        raise _Refused


@dataclass(slots=True)
class _Expander:
    """Items → data and places: aliases and merge keys expanded, within a bound."""

    document: Document
    findings: Findings
    nodes: int = 0

    def expand(self, item: _Item, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            self.findings.error("yaml-alias", f"aliases expand to more than {MAX_NODES} values", item.span)
            raise _Refused
        self.document.value_spans[path] = item.span
        if item.children is None:
            if item.offsets is not None:
                self.document.scalars[path] = ScalarText(item.offsets)
            return item.value
        if not item.is_mapping:
            return [self.expand(child, (*path, i)) for i, (_, child) in enumerate(item.children)]
        return self._mapping(item, path)

    def _mapping(self, item: _Item, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        own: dict[str, _Item] = {}
        for key, child in item.children or ():
            assert key is not None
            if key.plain and key.text == _MERGE:
                continue
            if key.text in own:
                first = own[key.text].span.line
                self.findings.error(
                    "duplicate-key", f"key '{key.text}' already stands at line {first}", key.span
                )
                continue
            own[key.text] = key
        for key, child in item.children or ():
            assert key is not None
            if key.plain and key.text == _MERGE:
                self._merge(child, path, data, own)
            elif own.get(key.text) is key:
                self._put(key, child, path, data)
        return data

    def _merge(self, child: _Item, path: Path, data: dict[str, Any], own: dict[str, _Item]) -> None:
        sources = [child] if child.is_mapping else [item for _, item in child.children or ()]
        if not sources or not all(source.is_mapping for source in sources):
            self.findings.error("yaml-merge", "'<<' takes a mapping or a list of mappings", child.span)
            return
        for source in sources:
            for key, value in source.children or ():
                assert key is not None
                if key.text not in own and key.text not in data:
                    self._put(key, value, path, data)

    def _put(self, key: _Item, child: _Item, path: Path, data: dict[str, Any]) -> None:
        below = (*path, key.text)
        self.document.key_spans[below] = key.span
        data[key.text] = self.expand(child, below)


def parse(name: str, content: bytes, findings: Findings) -> Document | None:
    """Read YAML.

    Args:
        name: the file's name for findings.
        content: its bytes, UTF-8, with or without a byte order mark, at most `MAX_BYTES`.
        findings: receives what is wrong.

    Returns:
        The document, or None where it could not be read; then there is a finding. A document with
        duplicate keys is returned (the first one counts), so that more can be found in it.
    """
    text = _decode(name, content, findings)
    if text is None:
        return None
    file = SourceFile(name, text)
    try:
        root = _Composer(file, findings).run()
        if root is None:
            findings.error("empty-file", "the file is empty", Span(file, 1, 1))
            return None
        document = Document(file, None)
        data = _Expander(document, findings).expand(root, ())
    except _Refused:
        return None
    return Document(file, data, document.value_spans, document.key_spans, document.scalars)


def read(path: FilePath, findings: Findings, name: str | None = None) -> Document | None:
    """Read a YAML file; what keeps it from being read is a finding too."""
    name = name or os.fspath(path)
    content = read_bytes(path, findings, Span(SourceFile(name, ""), 1, 1))
    return None if content is None else parse(name, content, findings)


def read_bytes(path: FilePath, findings: Findings, place: Span) -> bytes | None:
    """A regular file's bytes, at most `MAX_BYTES`; otherwise a finding at `place`."""
    try:
        if not path.is_file():
            reason = "is no regular file" if path.exists() else "does not exist"
            findings.error("file-unreadable", f"'{path}' {reason}", place)
            return None
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        findings.error("file-unreadable", f"'{path}' cannot be read: {error.strerror}", place)
        return None
    if len(content) > MAX_BYTES:
        findings.error("file-too-large", f"'{path}' is larger than {MAX_BYTES} bytes", place)
        return None
    return content


def _decode(name: str, content: bytes, findings: Findings) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        line = before.count("\n") + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        place = Span(SourceFile(name, before), line, column, 1)
        findings.error("encoding", "the file is not UTF-8", place)
        return None
    return text


def _resolve(text: str) -> Any:
    """A plain scalar's value by JSON's rules (YAML 1.2.2, section 10.2), with `~` and nothing for null."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text) if len(text) < 20 else float(text)
    if _FLOAT.match(text):
        value = float(text)
        return value if abs(value) != float("inf") else text
    return text


def _align(source: str, start: int, value: str, style: str | None) -> tuple[int, ...] | None:
    """Where in `source` each character of a scalar's `value` stands.

    Walks both at once: a character that matches is itself; white space in the value stands for a run
    of white space in the file (line folding); a backslash in double quotes is an escape.
    """
    position = start + (1 if style in ("'", '"') else 0)
    if style in ("|", ">"):
        position = source.find("\n", start) + 1
    offsets = []
    for character in value:
        position = _seek(source, position, character, style)
        offsets.append(min(position, len(source)))
        position += _width(source, position, style)
    offsets.append(min(position, len(source)))
    return tuple(offsets)


def _seek(source: str, position: int, character: str, style: str | None) -> int:
    """The next place at or after `position` that can stand for `character`."""
    if character in " \n" and style not in ("|", ">"):
        return position
    limit = len(source)
    while position < limit and source[position] != character and source[position].isspace():
        position += 1
    return position


def _width(source: str, position: int, style: str | None) -> int:
    """How many characters of the file the character at `position` was written with."""
    if style == '"' and source[position : position + 1] == "\\":
        return {"x": 4, "u": 6, "U": 10}.get(source[position + 1 : position + 2], 2)
    if style == "'" and source[position : position + 2] == "''":
        return 2
    return 1


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
