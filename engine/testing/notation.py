"""The values of a suite file → expectations: plain values, `${ … }` and matchers.

Contract: a matcher is an object with one `$` key; `$open` is an additional key of an object; `$$key` is a
literal `$key`. Misspelt and misplaced matchers are findings, and then match any value.
Must not know which part of a request or a response a value belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from engine.diagnostics import Findings, suggestion
from engine.language.expressions import Scope
from engine.language.functions import compile_regex
from engine.language.templates import TemplateCompiler
from engine.locations import Node
from engine.testing.expectations import Computed, Expectation, Fields, Items, literal
from engine.testing.matchers import TYPES, Contains, Length, Matches, OfType, Optional, Unordered

OPEN: Final = "$open"


@dataclass(frozen=True, slots=True)
class ExpectationCompiler:
    """Compiles the expectations of one case.

    Attributes:
        templates: compiles expressions; `scope` has their variables.
        as_text: numbers, booleans and null are read as in headers and queries.
    """

    templates: TemplateCompiler
    scope: Scope
    findings: Findings
    as_text: bool = False

    @property
    def texts(self) -> ExpectationCompiler:
        """The same, for values that are text on the wire."""
        return replace(self, as_text=True)

    def compile(self, node: Node) -> Expectation:
        """The expectation of a value."""
        if isinstance(node.value, dict):
            return self._mapping(node)
        if isinstance(node.value, list):
            return Items(node, [self.compile(item) for item in node.elements()])
        if isinstance(node.value, str) and "${" in node.value:
            return Computed(node, self.templates.compile(node, self.scope, "expect"), self.as_text)
        return literal(node, self.as_text)

    def field(self, node: Node) -> Expectation:
        """The expectation of the value of a key, which may be `$optional`."""
        if isinstance(node.value, dict) and list(node.value) == ["$optional"]:
            return Optional(node, self.compile(node["$optional"]))
        return self.compile(node)

    def _mapping(self, node: Node) -> Expectation:
        found = [key for key in node.value if _is_matcher(key)]
        if not found:
            fields = {_plain(key): self.field(child) for key, child in node.items() if key != OPEN}
            return Fields(node, fields, self._is_open(node))
        return self._matcher(node, found[0])

    def _matcher(self, node: Node, key: str) -> Expectation:
        if key not in MATCHERS:
            hint = suggestion(key, [*MATCHERS, OPEN])
            message = f"unknown matcher '{key}'; a literal key is written '$${key[1:]}'"
            self.findings.error("unknown-matcher", message, node[key].key_span, hint)
        elif len(node.value) > 1:
            self._misused(node[key], f"'{key}' must be the only key of its object")
        else:
            return MATCHERS[key](self, node[key])
        return _anything(node)

    def _is_open(self, node: Node) -> bool:
        wanted = node.get(OPEN)
        if wanted is not None and wanted.value is not True:
            self.findings.error("bad-value", f"'{OPEN}' must be true or absent", wanted.span)
        return wanted is not None

    def _misused(self, node: Node, message: str) -> None:
        self.findings.error("misused-matcher", message, node.key_span)

    # The matchers

    def _any(self, node: Node) -> Expectation:
        if isinstance(node.value, str) and node.value in TYPES:
            return OfType(node, node.value)
        hint = suggestion(str(node.value), TYPES)
        self.findings.error("bad-value", f"'$any' takes one of: {', '.join(TYPES)}", node.span, hint)
        return _anything(node)

    def _matches(self, node: Node) -> Expectation:
        if not isinstance(node.value, str):
            self.findings.error("bad-value", "'$matches' takes a regular expression", node.span)
            return _anything(node)
        try:
            return Matches(node, compile_regex(node.value))
        except ValueError as error:
            self.findings.error("bad-regex", f"invalid RE2 regular expression: {error}", node.span)
            return _anything(node)

    def _contains(self, node: Node) -> Expectation:
        return Contains(node, self.compile(node))

    def _length(self, node: Node) -> Expectation:
        if not _is_count(node.value):
            self.findings.error(
                "bad-value", "'$length' takes a non-negative integer or an expression ${ … }", node.span
            )
            return _anything(node)
        return Length(node, replace(self, as_text=False).compile(node))

    def _optional(self, node: Node) -> Expectation:
        """A misplaced `$optional`: `field` handles the others."""
        self._misused(node, "'$optional' is only allowed as the value of a key")
        return _anything(node)

    def _unordered(self, node: Node) -> Expectation:
        if not isinstance(node.value, list):
            self.findings.error("bad-value", "'$unordered' takes a list", node.span)
            return _anything(node)
        return Unordered(node, [self.compile(item) for item in node.elements()])


def _is_matcher(key: str) -> bool:
    return key.startswith("$") and not key.startswith("$$") and key != OPEN


def _plain(key: str) -> str:
    return key[1:] if key.startswith("$$") else key


def _is_count(value: Any) -> bool:
    return (type(value) is int and value >= 0) or (isinstance(value, str) and "${" in value)


def _anything(node: Node) -> Expectation:
    """A placeholder for an expectation that has a finding."""
    return OfType(node, "any")


#: Each matcher, and the method that compiles it.
MATCHERS: Final[Mapping[str, Callable[[ExpectationCompiler, Node], Expectation]]] = {
    "$any": ExpectationCompiler._any,
    "$matches": ExpectationCompiler._matches,
    "$contains": ExpectationCompiler._contains,
    "$length": ExpectationCompiler._length,
    "$optional": ExpectationCompiler._optional,
    "$unordered": ExpectationCompiler._unordered,
}
