"""Text → items: composes the events of the YAML parser without recursion.

Contract: the items contain all of the text, each with its location. The first error is a finding and raises
`Unreadable`; so does nesting that is too deep, and aliases that expand to too much. The only importer of
PyYAML, which must have libyaml: its own parser refuses `{ key?: value }`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from engine.diagnostics import Findings
from engine.language.yaml import scalars, syntax_errors
from engine.language.yaml.items import MAX_DEPTH, MAX_NODES, Item, Unreadable
from engine.language.yaml.positions import Positions
from engine.locations import SourceFile, Span

try:
    _PARSER: Any = yaml.CSafeLoader
except AttributeError:
    raise ImportError(
        "PyYAML is installed without libyaml, which is needed to read mappings; "
        "install a wheel of PyYAML, or build it with libyaml"
    ) from None


def compose(file: SourceFile, findings: Findings) -> Item | None:
    """The root item of a file, or None for a file without one.

    Raises:
        Unreadable: it could not be read.
    """
    return _Composer(file, findings, Positions(file)).run()


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read, and in a mapping the key whose value is next."""

    item: Item
    key: Item | None = None


@dataclass(slots=True)
class _Composer:
    """Builds items from parser events.

    Attributes:
        stack: the lists and mappings being read, the outermost first.
        expanded: the number of values that the aliases so far expand to.
    """

    file: SourceFile
    findings: Findings
    positions: Positions
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Item] = field(default_factory=dict)
    root: Item | None = None
    documents: int = 0
    expanded: int = 0

    def run(self) -> Item | None:
        unprintable = syntax_errors.UNPRINTABLE.search(self.file.text)
        if unprintable:
            message = f"invalid YAML: character U+{ord(unprintable.group()):04X} is not allowed"
            self._fail("yaml-syntax", message, self.positions.point(unprintable.start()))
        try:
            for event in yaml.parse(self.file.text, Loader=_PARSER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except yaml.YAMLError as error:
            message = f"invalid YAML: {_first_line(str(error))}"
            self._fail("yaml-syntax", message, self.positions.point(0))
        return self.root

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
                self._fail("yaml-documents", "a mapping file must contain one document", self._span(event))

    # Lists, mappings and aliases.

    def _begin(self, event: Any) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._check_tag(event, "map" if is_mapping else "seq")
        item = Item(self._span(event), children=[], is_mapping=is_mapping, is_flow=bool(event.flow_style))
        if len(self.stack) >= MAX_DEPTH:
            self._fail_depth(item.span)
        self._add(item, event.anchor)
        self.stack.append(_Open(item))

    def _alias(self, event: Any) -> None:
        target = self.anchors.get(event.anchor)
        if target is None:
            self._fail("yaml-alias", f"no anchor '&{event.anchor}' before this alias", self._span(event))
        elif any(opened.item is target for opened in self.stack):
            self._fail("yaml-alias", f"'*{event.anchor}' contains itself", self._span(event))
        else:
            self._check_growth(target, self._span(event))
            self._add(target, None)

    def _check_growth(self, target: Item, span: Span) -> None:
        self.expanded += target.size
        if self.expanded > MAX_NODES:
            self._fail("yaml-alias", f"aliases expand to more than {MAX_NODES} values", span)
        if len(self.stack) + target.height > MAX_DEPTH:
            self._fail_depth(span)

    def _add(self, item: Item, anchor: str | None) -> None:
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
                self._fail("yaml-key", "a key must be text, not a list or a mapping", item.span)
            opened.key = item
        else:
            opened.item.children.append((opened.key, item))
            opened.key = None

    # Scalars and tags.

    def _scalar(self, event: Any) -> Item:
        plain = bool(event.implicit[0]) and not event.style
        value = scalars.resolve(event.value) if plain else event.value
        if event.tag and not plain:
            value = self._tagged(event)
        start = scalars.after_properties(self.file.text, event.start_mark.index, event.end_mark.index)
        offsets = scalars.align(self.file.text, start, event.value, event.style)
        return Item(self._span(event), value, text=event.value, offsets=offsets, plain=plain)

    def _tagged(self, event: Any) -> Any:
        if event.tag in ("!", scalars.CORE + "str"):
            return event.value
        kind = scalars.TAGGED.get(event.tag)
        value = scalars.resolve(event.value)
        if kind is None or not isinstance(value, kind):
            self._fail_tag(event)
        return value

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", scalars.CORE + kind):
            self._fail_tag(event)

    # Errors and their locations.

    def _fail_tag(self, event: Any) -> None:
        tag = event.tag.replace(scalars.CORE, "!!", 1)
        self._fail("yaml-tag", f"tag '{tag}' is not allowed here", self._span(event))

    def _fail_depth(self, span: Span) -> None:
        self._fail("yaml-depth", f"nested deeper than {MAX_DEPTH} levels", span)

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        location = self._location_of(error)
        if syntax_errors.is_too_deep(str(error.problem)):
            self._fail_depth(location)
        text = " ".join(part for part in (error.problem, error.context) if part)
        rest = self.file.line(location.line)[location.column - 1 :]
        hint = syntax_errors.hint(str(error.problem), str(error.context), rest)
        self._fail("yaml-syntax", f"invalid YAML: {text}", location, hint)

    def _location_of(self, error: yaml.MarkedYAMLError) -> Span:
        """The location of the mistake: the problem, or the start of what should have ended before it."""
        problem, begun = error.problem_mark, error.context_mark
        if problem is not None and problem.index >= len(self.file.text.rstrip()) and self.stack:
            opened = self.stack[-1].item
            if opened.is_flow:
                return opened.span
        unended = error.context in syntax_errors.UNENDED
        if begun is not None and unended and (not problem or begun.line < problem.line):
            problem = begun
        return self.positions.point(problem.index if problem is not None else 0)

    def _span(self, event: Any) -> Span:
        return self.positions.between(event.start_mark.index, event.end_mark.index)

    def _fail(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.findings.error(code, message, span, hint)
        raise Unreadable


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
