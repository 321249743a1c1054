"""YAML text → data with a place for every key and value.

Contract: scalars are read as JSON reads them (`true`, `false`, `null`, numbers), so `on`, `no`, `0777` and
`2026-01-01` stay text; keys are always text. Duplicate keys, tags other than YAML's own, a second document,
too deep or too large files are findings, and what an alias expands to is bounded.
The only importer of PyYAML. Must not know what a mapping means.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
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

#: Characters that no YAML text holds (YAML 1.2.2, section 5.1).
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: An anchor or a tag, and what may stand between it and its value.
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+#.*)*\s+)*")
#: A line end in double quotes that stands for nothing.
_CONTINUATION = re.compile(r"\\\r?\n[ \t]*")
#: What the parser was in when it met the problem, where the mistake is at its beginning: it never ends.
_UNENDED = frozenset(
    {
        "while scanning a quoted scalar",
        "while scanning a simple key",
        "while parsing a flow sequence",
        "while parsing a flow mapping",
    }
)


class _Refused(Exception):
    """Reading stops here; the finding has been recorded."""


@dataclass(slots=True, eq=False)
class _Item:
    """One YAML node: a scalar's value, or the children of a list or mapping, with its place."""

    span: Span
    value: Any = None
    children: list[tuple[_Item | None, _Item]] | None = None
    is_mapping: bool = False
    is_flow: bool = False
    text: str = ""
    offsets: tuple[int, ...] | None = None
    plain: bool = False
    size: int = 1
    height: int = 0

    def close(self) -> None:
        """All children are read: how many values this stands for, and how deep they go."""
        items = [item for _, item in self.children or ()]
        self.size = 1 + sum(item.size for item in items)
        self.height = 1 + max((item.height for item in items), default=0)


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
    expanded: int = 0
    lines: list[int] = field(default_factory=list)

    def run(self) -> _Item | None:
        self.lines = [0, *(match.end() for match in re.finditer("\n", self.file.text))]
        unprintable = _UNPRINTABLE.search(self.file.text)
        if unprintable:
            message = f"this is not YAML: character U+{ord(unprintable.group()):04X} cannot stand in it"
            self._refuse("yaml-syntax", message, self._point(unprintable.start()))
        try:
            for event in yaml.parse(self.file.text, Loader=_PARSER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except yaml.YAMLError as error:
            self._refuse("yaml-syntax", f"this is not YAML: {_first_line(str(error))}", self._point(0))
        return self.root

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        place = self._place_of(error)
        text = " ".join(part for part in (error.problem, error.context) if part)
        hint = _syntax_hint(error, self.file.line(place.line)[place.column - 1 :])
        self._refuse("yaml-syntax", f"this is not YAML: {text}", place, hint)

    def _place_of(self, error: yaml.MarkedYAMLError) -> Span:
        """Where the mistake is: at the problem, or where that begins which should have ended before it."""
        problem, begun = error.problem_mark, error.context_mark
        if problem is not None and problem.index >= len(self.file.text.rstrip()) and self.stack:
            opened = self.stack[-1].item
            if opened.is_flow:
                return opened.span
        if begun is not None and error.context in _UNENDED and (not problem or begun.line < problem.line):
            problem = begun
        return self._point(problem.index if problem is not None else 0)

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop().item.close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._refuse("yaml-documents", "a mapping file holds one document", self._span(event))

    def _begin(self, event: Any) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._check_tag(event, "map" if is_mapping else "seq")
        item = _Item(self._span(event), children=[], is_mapping=is_mapping, is_flow=bool(event.flow_style))
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
            self._check_growth(target, self._span(event))
            self._add(target, None)

    def _check_growth(self, target: _Item, span: Span) -> None:
        self.expanded += target.size
        if self.expanded > MAX_NODES:
            self._refuse("yaml-alias", f"aliases expand to more than {MAX_NODES} values", span)
        if len(self.stack) + target.height > MAX_DEPTH:
            self._refuse("yaml-depth", f"nested deeper than {MAX_DEPTH} levels", span)

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
            value = self._tagged(event)
        start = event.start_mark.index
        if self.file.text[start : start + 1] in ("&", "!"):
            match = _PROPERTIES.match(self.file.text, start, event.end_mark.index)
            start = match.end() if match else start
        offsets = _align(self.file.text, start, event.value, event.style)
        return _Item(span, value, text=event.value, offsets=offsets, plain=plain)

    def _tagged(self, event: Any) -> Any:
        if event.tag in ("!", _CORE + "str"):
            return event.value
        wanted: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
        kind = wanted.get(event.tag.removeprefix(_CORE))
        value = _resolve(event.value)
        if kind is None or not event.tag.startswith(_CORE) or not isinstance(value, kind):
            self._refuse_tag(event)
        return value

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", _CORE + kind):
            self._refuse_tag(event)

    def _refuse_tag(self, event: Any) -> None:
        tag = event.tag.replace(_CORE, "!!", 1)
        self._refuse("yaml-tag", f"tag '{tag}' does not fit here", self._span(event))

    def _span(self, event: Any) -> Span:
        point, length = self._point(event.start_mark.index), event.end_mark.index - event.start_mark.index
        following = self.lines[point.line] if point.line < len(self.lines) else len(self.file.text) + 1
        fits = 0 < length < following - event.start_mark.index
        return Span(self.file, point.line, point.column, length if fits else 1)

    def _point(self, index: int) -> Span:
        """One character's place; lines end as they do in `SourceFile`, whatever else ends one in YAML 1.1."""
        line = bisect_right(self.lines, index)
        return Span(self.file, line, index - self.lines[line - 1] + 1, 1)

    def _refuse(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.findings.error(code, message, span, hint)
        raise _Refused


@dataclass(slots=True)
class _Expander:
    """Items → data and places: aliases and merge keys expanded, within a bound."""

    document: Document
    findings: Findings
    nodes: int = 0

    def expand(self, item: _Item, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.findings.error("file-too-large", f"the file holds more than {MAX_NODES} values", item.span)
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
        for key, _ in item.children or ():
            assert key is not None
            if key.text in own:
                first = own[key.text].span.line
                self.findings.error(
                    "duplicate-key", f"key '{key.text}' already stands at line {first}", key.span
                )
                continue
            own[key.text] = key
        for key, child in item.children or ():
            assert key is not None
            if own.get(key.text) is not key:
                continue
            if _is_merge(key):
                self._merge(child, path, data, own)
            else:
                self._put(key, child, path, data)
        return data

    def _merge(self, child: _Item, path: Path, data: dict[str, Any], own: dict[str, _Item]) -> None:
        """The keys of a mapping, or of each in a list, that are not there yet; then what these merge in."""
        sources = [child] if child.is_mapping or child.children is None else [i for _, i in child.children]
        for source in sources:
            if not source.is_mapping:
                self.findings.error("yaml-merge", "'<<' takes a mapping or a list of mappings", source.span)
                continue
            merged = []
            for key, value in source.children or ():
                assert key is not None
                if _is_merge(key):
                    merged.append(value)
                elif key.text not in own and key.text not in data:
                    self._put(key, value, path, data)
            for value in merged:
                self._merge(value, path, data, own)

    def _put(self, key: _Item, child: _Item, path: Path, data: dict[str, Any]) -> None:
        below = (*path, key.text)
        self.document.key_spans[below] = key.span
        data[key.text] = self.expand(child, below)
        if _is_empty(child):
            self.document.value_spans[below] = key.span


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
        if root is None or _is_empty(root):
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
        before = bytes(error.object[: error.start]).decode("utf-8")
        file = SourceFile(name, bytes(error.object).decode("utf-8", "replace"))
        place = Span(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, 1)
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
    if style == '"':
        while continuation := _CONTINUATION.match(source, position):
            position = continuation.end()
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


def _is_empty(item: _Item) -> bool:
    """Nothing is written where a value is wanted."""
    return item.plain and not item.text


def _is_merge(key: _Item) -> bool:
    return key.plain and key.text == _MERGE


def _syntax_hint(error: yaml.MarkedYAMLError, rest: str) -> str | None:
    """What is most often behind a syntax error; `rest` is the line from its place on."""
    problem, context = str(error.problem), str(error.context)
    if "tab character" in problem or rest.startswith("\t"):
        return "indent with spaces, not with tabs"
    if "while parsing a flow" in context and rest.startswith("{") and "did not find expected ','" in problem:
        return 'inside { } and [ ] an expression is quoted: "${ … }"'
    if "mapping values are not allowed" in problem:
        return "text with ': ' in it is quoted"
    if "cannot start any token" in problem:
        return f"text that begins with '{rest[:1]}' is quoted"
    return None


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
