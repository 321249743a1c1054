"""Compiles `merge`: how the partial responses of a reader become a complete one."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.compiler.context import MappingContext
from engine.diagnostics import suggestion
from engine.language.merging import BY, DEFAULT_RULE, MODES, MergeRule
from engine.language.spec import PartsSpec, RuleSpec
from engine.language.templates import output_keys
from engine.locations import Node

_STEP: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)((?:\[\])?)\Z")


@dataclass(slots=True)
class _Tree:
    """The rule of one path, while the rules of the paths below it are added."""

    mode: str = DEFAULT_RULE.mode
    key: str = ""
    fields: dict[str, _Tree] = field(default_factory=dict)

    def rule(self) -> MergeRule:
        return MergeRule(self.mode, self.key, {name: each.rule() for name, each in self.fields.items()})


def compile_merge(context: MappingContext, reader: PartsSpec | None) -> MergeRule:
    """The rule for the partial responses of a stream; by default the last value of each field counts."""
    if reader is None or reader.merge is None:
        return DEFAULT_RULE
    root = _Tree()
    for path, node in reader.merge.items():
        tree = _at(context, root, path, node)
        if tree is not None:
            _set_mode(context, tree, node)
    for path, node in reader.merge.items():
        _check_items(context, root, path, node)
    if reader.to is None:
        _check_emitted(context, reader, root.fields)
    return root.rule()


def _at(context: MappingContext, root: _Tree, path: str, node: Node) -> _Tree | None:
    """The tree of a path such as `content[].text`; None after a finding."""
    tree = root
    for step in path.split("."):
        found = _STEP.match(step)
        if found is None:
            message = f"'{path}' is not a path such as content or content[].text"
            context.findings.error("bad-value", message, node.key_span)
            return None
        tree = tree.fields.setdefault(found[1], _Tree())
    if path.endswith("[]"):
        message = f"items are merged with '{path.removesuffix('[]')}: {{ by: KEY }}'"
        context.findings.error("misused-pipeline", message, node.key_span)
    return tree


def _set_mode(context: MappingContext, tree: _Tree, node: Node) -> None:
    value = node.value
    if isinstance(value, dict) and list(value) == [BY] and isinstance(value[BY], str):
        tree.mode, tree.key = BY, value[BY]
    elif isinstance(value, str) and value in MODES and value != BY:
        tree.mode = value
    else:
        hint = suggestion(str(value), MODES)
        message = "expected last, join, append, final, or { by: KEY }"
        context.findings.error("bad-value", message, node.span, hint)


def _check_items(context: MappingContext, root: _Tree, path: str, node: Node) -> None:
    """Report a path into the items of a list whose items are not merged."""
    tree = root
    for step in path.split(".")[:-1]:
        found = _STEP.match(step)
        if found is None:
            return
        tree = tree.fields[found[1]]
        if found[2] and tree.mode != BY:
            message = f"the items of '{found[1]}' are merged only with '{found[1]}: {{ by: KEY }}'"
            context.findings.error("misused-pipeline", message, node.key_span)
            return


# --- What is emitted -------------------------------------------------------------------------------------


def _check_emitted(context: MappingContext, reader: PartsSpec, known: Container[str]) -> None:
    """Report a path whose first field no rule emits, as far as the fields are known."""
    assert reader.merge is not None
    emitted = _emitted_fields(context, reader)
    for path, node in reader.merge.items():
        name = path.split(".")[0].removesuffix("[]")
        if emitted is not None and name in known and name not in emitted:
            message = f"no rule of this reader emits '{name}'"
            context.findings.error("misused-pipeline", message, node.key_span, suggestion(name, emitted))


def _emitted_fields(context: MappingContext, reader: PartsSpec) -> set[str] | None:
    """The fields of all partial responses; None if they are not known."""
    if not reader.rules:
        return None
    fields: set[str] = set()
    for rule in _all_rules((*reader.rules, *reader.end)):
        found = set() if rule.emit is None else _fields_of(rule.emit, context.templates.named, 0)
        if found is None:
            return None
        fields |= found
    return fields


def _all_rules(rules: tuple[RuleSpec, ...]) -> Iterator[RuleSpec]:
    for rule in rules:
        yield rule
        yield from _all_rules(rule.rules)


def _fields_of(node: Node, named: Mapping[str, Node], depth: int) -> set[str] | None:
    """The fields of the objects that a template creates; None if they are not known."""
    if isinstance(node.value, list):
        return _union([_fields_of(each, named, depth) for each in node.elements()])
    if not isinstance(node.value, dict) or depth > 8:
        return None
    inner = [node.get(key) for key in ("$then", "$else", "$default", "$value", "$spread")]
    inner += list(node["$cases"].elements()) if isinstance(node.value.get("$cases"), list) else []
    cases = node.get("$cases")
    if cases is not None and isinstance(cases.value, dict):
        inner += [case for _, case in cases.items()]
    use = node.value.get("$use")
    if use is not None:
        inner.append(named.get(use) if isinstance(use, str) else None)
        if inner[-1] is None:
            return None
    own = {key for key, _ in output_keys(node)}
    below = _union([_fields_of(each, named, depth + 1) for each in inner if each is not None])
    return None if below is None or "$concat" in node.value else own | below


def _union(found: list[set[str] | None]) -> set[str] | None:
    result: set[str] = set()
    for each in found:
        if each is None:
            return None
        result |= each
    return result
