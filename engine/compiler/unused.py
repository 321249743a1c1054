"""Definitions that nothing uses: upstreams, templates, streams, and variables of `env` and `vars`.

Contract: warnings for the definitions of files with routes of their own, because a file for inclusion defines
what others use. A name counts as used wherever one of the files that are merged with it mentions the name,
even in a part that is itself unused. Must not know how any part is compiled.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.diagnostics import Findings
from engine.language.expressions import ExpressionSyntaxError, Tree, parse
from engine.language.spec import MappingSpec
from engine.language.templates import is_static, split
from engine.locations import Document, Node

#: Sections of definitions: what a definition is called, and the variables whose fields are their names.
_SECTIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "upstreams": ("upstream", ()),
    "templates": ("template", ()),
    "streams": ("stream", ()),
    "env": ("environment variable", ("env", "is_set")),
    "vars": ("variable", ("vars",)),
}
_OWNERS: Final = frozenset(owner for _, owners in _SECTIONS.values() for owner in owners)


@dataclass(slots=True)
class _Mentions:
    """The names that files mention, by section; `is_any` if an upstream's name is computed."""

    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    is_any: bool = False


def warn_of_unused(mappings: Iterable[MappingSpec], findings: Findings) -> None:
    """Warn of the definitions of each file that no mapping mentions which contains the file."""
    mentioned: dict[str, list[_Mentions]] = defaultdict(list)
    every = list(mappings)
    for mapping in every:
        mentions = _mentions_of(mapping)
        for file in {_identity(document) for document in _documents(mapping)}:
            mentioned[file].append(mentions)
    for mapping in every:
        if mapping.node.get("routes") is not None:
            _warn(mapping, mentioned[_identity(mapping.document)], findings)


def _identity(document: Document) -> str:
    return os.path.realpath(document.file.name)


def _warn(mapping: MappingSpec, mentions: list[_Mentions], findings: Findings) -> None:
    for section, (what, _) in _SECTIONS.items():
        own = mapping.node.get(section)
        for name, node in own.items() if own is not None and isinstance(own.value, dict) else ():
            is_used = any(name in found.names[section] for found in mentions)
            is_used = is_used or (section == "upstreams" and any(found.is_any for found in mentions))
            if not is_used and not _has_alias(node):
                message = f"{what} '{name}' is never used"
                findings.warning("unused-definition", message, node.key_span, f"use it, or remove '{name}'")


def _has_alias(node: Node) -> bool:
    """Whether a part of a definition appears elsewhere in the file, by an alias or a merge key."""
    own, size = node.path, len(node.path)
    spans = node.document.value_spans
    inside = {span for path, span in spans.items() if path[:size] == own}
    return any(
        span in inside for path, span in spans.items() if path[:size] != own and path != own[: len(path)]
    )


# --- What files mention ----------------------------------------------------------------------------------


def _documents(mapping: MappingSpec) -> Iterator[Document]:
    """The documents of a mapping and of what it includes."""
    yield mapping.document
    sections = (mapping.env, mapping.upstreams, mapping.streams, mapping.routes)
    yield from (spec.node.document for section in sections for spec in section.values())
    yield from (node.document for section in (mapping.vars, mapping.templates) for node in section.values())
    if mapping.auth is not None:
        yield mapping.auth.document
    if mapping.errors is not None:
        yield mapping.errors.node.document


def _mentions_of(mapping: MappingSpec) -> _Mentions:
    mentions = _Mentions()
    for document in set(_documents(mapping)):
        for node in _strings(document.root):
            _add_expressions(node.value, mentions)
        for node in _mappings(document.root):
            _add_names(node, mentions)
    for route in mapping.routes.values():
        for attempt in route.attempts:
            forwards = (attempt.forward,) if attempt.forward is not None else ()
            for spec in (*attempt.call, *attempt.calls.values(), *forwards):
                mentions.names["upstreams"].add(str(spec.upstream.value))
                mentions.is_any = mentions.is_any or not is_static(spec.upstream.value)
        if route.builtin == "health":
            checked = (name for name, upstream in mapping.upstreams.items() if upstream.health is not None)
            mentions.names["upstreams"].update(checked)
    return mentions


def _strings(node: Node) -> Iterator[Node]:
    if isinstance(node.value, str):
        yield node
    for child in _children(node):
        yield from _strings(child)


def _mappings(node: Node) -> Iterator[Node]:
    if isinstance(node.value, dict):
        yield node
    for child in _children(node):
        yield from _mappings(child)


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node.value, dict):
        yield from (child for _, child in node.items())
    elif isinstance(node.value, list):
        yield from node.elements()


def _add_names(node: Node, mentions: _Mentions) -> None:
    """Add the templates and streams that `$use` and `pipeline` name."""
    used, stages = node.value.get("$use"), node.value.get("pipeline")
    names = [used, *(stages if isinstance(stages, list) else ())]
    for name in names:
        if isinstance(name, str):
            mentions.names["templates"].add(name)
            mentions.names["streams"].add(name)


def _add_expressions(text: str, mentions: _Mentions) -> None:
    """Add the fields of variables that the expressions of a string read."""
    if not any(f"${owner}" in text for owner in _OWNERS):
        return
    try:
        trees = [parse(part.text) for part in split(text) if part.is_expression]
    except ExpressionSyntaxError:
        return
    for tree in trees:
        parts = list(_parts(tree))
        variables = {part["value"] for part in parts if part["type"] == "variable"}
        fields = {part["value"] for part in parts if part["type"] == "field"}
        for section, (_, owners) in _SECTIONS.items():
            if variables & set(owners):
                mentions.names[section] |= fields


def _parts(tree: Tree) -> Iterator[Tree]:
    yield tree
    for child in tree["children"]:
        if isinstance(child, dict):
            yield from _parts(child)
