"""Text → items: what YAML's parser reports, put together without recursion.

Contract: all that the text holds is in the items, each at its place. The first thing that cannot be read is a
finding and ends the reading with `Refused`; so does what is nested too deeply, and what aliases would make
too large. The only importer of PyYAML.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from engine.diagnostics import Findings
from engine.language.yaml import scalars, syntax_errors
from engine.language.yaml.items import MAX_DEPTH, MAX_NODES, Item, Refused
from engine.language.yaml.positions import Positions
from engine.locations import SourceFile, Span

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(file: SourceFile, findings: Findings) -> Item | None:
    """The item that a file's text is, or None for a file without one.

    Raises:
        Refused: it could not be read.
    """
    return _Composer(file, findings, Positions(file)).run()


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read, and in a mapping the key whose value comes next."""

    item: Item
    key: Item | None = None


@dataclass(slots=True)
class _Composer:
    """Builds items from parser events.

    Attributes:
        stack: what is being read, the outermost first.
        expanded: how many values the aliases so far stand for.
    """

    file: SourceFile
    findings: Findings
    places: Positions
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Item] = field(default_factory=dict)
    root: Item | None = None
    documents: int = 0
    expanded: int = 0

    def run(self) -> Item | None:
        unprintable = syntax_errors.UNPRINTABLE.search(self.file.text)
        if unprintable:
            message = f"this is not YAML: character U+{ord(unprintable.group()):04X} cannot stand in it"
            self._refuse("yaml-syntax", message, self.places.point(unprintable.start()))
        try:
            for event in yaml.parse(self.file.text, Loader=_PARSER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except yaml.YAMLError as error:
            message = f"this is not YAML: {_first_line(str(error))}"
            self._refuse("yaml-syntax", message, self.places.point(0))
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
                self._refuse("yaml-documents", "a mapping file holds one document", self._span(event))

    # Lists, mappings and aliases.

    def _begin(self, event: Any) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._check_tag(event, "map" if is_mapping else "seq")
        item = Item(self._span(event), children=[], is_mapping=is_mapping, is_flow=bool(event.flow_style))
        if len(self.stack) >= MAX_DEPTH:
            self._refuse_depth(item.span)
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

    def _check_growth(self, target: Item, span: Span) -> None:
        self.expanded += target.size
        if self.expanded > MAX_NODES:
            self._refuse("yaml-alias", f"aliases expand to more than {MAX_NODES} values", span)
        if len(self.stack) + target.height > MAX_DEPTH:
            self._refuse_depth(span)

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
                self._refuse("yaml-key", "a key is text, not a list or a mapping", item.span)
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
            self._refuse_tag(event)
        return value

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", scalars.CORE + kind):
            self._refuse_tag(event)

    # What cannot be read, and where.

    def _refuse_tag(self, event: Any) -> None:
        tag = event.tag.replace(scalars.CORE, "!!", 1)
        self._refuse("yaml-tag", f"tag '{tag}' does not fit here", self._span(event))

    def _refuse_depth(self, span: Span) -> None:
        self._refuse("yaml-depth", f"nested deeper than {MAX_DEPTH} levels", span)

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        place = self._place_of(error)
        if syntax_errors.is_too_deep(str(error.problem)):
            self._refuse_depth(place)
        text = " ".join(part for part in (error.problem, error.context) if part)
        rest = self.file.line(place.line)[place.column - 1 :]
        hint = syntax_errors.hint(str(error.problem), str(error.context), rest)
        self._refuse("yaml-syntax", f"this is not YAML: {text}", place, hint)

    def _place_of(self, error: yaml.MarkedYAMLError) -> Span:
        """Where the mistake is: at the problem, or where that begins which should have ended before it."""
        problem, begun = error.problem_mark, error.context_mark
        if problem is not None and problem.index >= len(self.file.text.rstrip()) and self.stack:
            opened = self.stack[-1].item
            if opened.is_flow:
                return opened.span
        unended = error.context in syntax_errors.UNENDED
        if begun is not None and unended and (not problem or begun.line < problem.line):
            problem = begun
        return self.places.point(problem.index if problem is not None else 0)

    def _span(self, event: Any) -> Span:
        return self.places.between(event.start_mark.index, event.end_mark.index)

    def _refuse(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.findings.error(code, message, span, hint)
        raise Refused


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
