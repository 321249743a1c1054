"""Client keys, read from text, lists and files.

Contract: only the digest of a key is stored. Findings contain the location of a key, never its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from engine.compiler.context import MappingContext
from engine.compiler.environment import read_file
from engine.compiler.rate_limits import rate_of
from engine.diagnostics import suggestion
from engine.http.auth import BearerKeys, ClientKey
from engine.language.spec import RouteSpec
from engine.locations import Node, Span
from engine.plan import RatePlan
from engine.values import ABSENT

_KEY = re.compile(r"[\x21-\x7e]+\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}\Z")
_ROUTES = re.compile(r"(\*|[A-Z]+) /\S*\Z")
_HASHED: Final = "sha256:"
_FIELDS: Final = ("name", "key", "sha256", "routes", "rate_limit")


@dataclass(slots=True)
class KeysPlan:
    """The keys of a mapping.

    Attributes:
        routes: name of a key → patterns of the routes that it is valid for; by default all.
        spans: name of a key → its location.
        rates: name of a key → its rate limit.
    """

    bearer: BearerKeys
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)
    rates: Mapping[str, RatePlan] = field(default_factory=dict)

    def denied_for(self, route: RouteSpec) -> frozenset[str]:
        """The names of the keys that are not valid for a route."""
        return frozenset(
            name
            for name, patterns in self.routes.items()
            if not any(_covers(pattern, route) for pattern in patterns)
        )


def compile_keys(context: MappingContext, auth: Node | None) -> KeysPlan:
    """The keys that `auth` of a mapping declares; invalid keys are reported as findings."""
    bearer = auth.get("bearer") if auth is not None else None
    if auth is None or bearer is None:
        return KeysPlan(BearerKeys(()))
    reader, reports = _KeyReader(context), context.findings.reports
    for value, span in _items(context, bearer):
        reader.add(value, span)
    if not reader.keys and context.findings.reports == reports:
        _report_no_key(context, bearer)
    header = auth.get("header")
    name = "" if header is None else str(header.value).lower()
    return KeysPlan(BearerKeys(reader.keys.values(), name), reader.routes, reader.spans, reader.rates)


def check_key_routes(context: MappingContext, keys: KeysPlan) -> None:
    """Warn of patterns that match no route of the mapping."""
    for name, patterns in keys.routes.items():
        for pattern in patterns:
            if not any(_covers(pattern, route) for route in context.spec.routes.values()):
                message = f"the pattern '{pattern}' of key '{name}' matches no route of this mapping"
                context.findings.warning("no-effect", message, keys.spans[name])


def _covers(pattern: str, route: RouteSpec) -> bool:
    method, _, path = pattern.partition(" ")
    if method not in ("*", route.method):
        return False
    # Only `*` is a wildcard: brackets and question marks are literal.
    return fnmatchcase(route.path, re.sub(r"[\[?]", r"[\g<0>]", path))


def _items(context: MappingContext, node: Node) -> Iterator[tuple[Any, Span]]:
    """The declared keys, unchecked, each with its location."""
    if isinstance(node.value, list):
        for item in node.elements():
            yield context.environment.evaluate(item, "auth.bearer"), item.span
        return
    if isinstance(node.value, dict):
        found = read_file(node["$file"], context.environment)
    else:
        value = context.environment.evaluate(node, "auth.bearer")
        found = None if value is ABSENT else value
    items = found.split(",") if isinstance(found, str) else found
    if isinstance(items, list):
        yield from ((item, node.span) for item in items)
    elif items is not None:
        context.findings.error("bad-value", "expected a string or a list of keys", node.span)


def _report_no_key(context: MappingContext, bearer: Node) -> None:
    """Report `auth.bearer` without a key.

    An empty file is an error, because the mapping would be open. An unset variable is a warning, because
    mappings may be tried without keys on a loopback address, and a note if the mapping is only checked.
    """
    if _names_file(context, bearer):
        context.findings.error("bad-value", "the file contains no key", bearer.span)
    elif any(route.auth != "none" for route in context.spec.routes.values()):
        message = f"'auth.bearer' has no key: '{context.spec.name}' is open to all local processes"
        hint = "set the variables that it reads, or 'auth: none' if no key is required"
        report = context.findings.warning if context.environment.is_served else context.findings.note
        report("no-key", message, bearer.span, hint)


def _names_file(context: MappingContext, node: Node) -> bool:
    """Whether keys are read from a file whose path is set."""
    return isinstance(node.value, dict) and bool(context.text(node["$file"], "auth.bearer", secrets=False))


class _KeyReader:
    """Collects keys by name."""

    def __init__(self, context: MappingContext) -> None:
        self._findings = context.findings
        self._scope = f"{context.spec.name} key"
        self.keys: dict[str, ClientKey] = {}
        self.routes: dict[str, tuple[str, ...]] = {}
        self.spans: dict[str, Span] = {}
        self.rates: dict[str, RatePlan] = {}

    def add(self, item: Any, span: Span) -> None:
        """Add one key, a string or an object; empty keys are ignored."""
        if item is ABSENT or item is None or (isinstance(item, str) and not item.strip()):
            return
        if isinstance(item, str):
            self._store(self._text(item.strip(), None, span), span)
        elif isinstance(item, dict):
            self._object(item, span)
        else:
            self._report("expected a string, or an object with 'name' and either 'key' or 'sha256'", span)

    def _object(self, item: dict[str, Any], span: Span) -> None:
        for field_name in item:
            if field_name not in _FIELDS:
                message = f"unknown key '{field_name}'"
                hint = suggestion(field_name, _FIELDS) or f"expected one of: {', '.join(_FIELDS)}"
                self._findings.error("unknown-key", message, span, hint)
        name = item.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            self._report("a key's name has at most 64 letters, digits, '-', '_' and '.'", span)
            return
        if "sha256" in item and "key" in item:
            self._report("a key has either 'key' or 'sha256', not both", span)
            return
        found = self._value(item, name, span)
        if found is not None and self._store(found, span):
            self._store_routes(item.get("routes"), name, span)
            rate = rate_of(self._findings, item.get("rate_limit"), span, self._scope)
            if rate is not None:
                self.rates[name] = rate

    def _value(self, item: dict[str, Any], name: str, span: Span) -> ClientKey | None:
        hashed, text = item.get("sha256"), item.get("key")
        if hashed:
            return self._text(f"{_HASHED}{hashed}", name, span)
        if isinstance(text, str) and text.strip():
            return self._text(text.strip(), name, span)
        if text:
            self._report("a key must be a string", span)
        return None

    def _text(self, text: str, name: str | None, span: Span) -> ClientKey | None:
        if text.startswith(_HASHED):
            digits = text.removeprefix(_HASHED)
            if _DIGEST.match(digits):
                return ClientKey.hashed(bytes.fromhex(digits), name)
            self._report("a SHA-256 digest has 64 hexadecimal digits", span)
        elif _KEY.match(text):
            return ClientKey.of(text, name)
        else:
            self._report("a key has a character that is not allowed in an Authorization header", span)
        return None

    def _store(self, key: ClientKey | None, span: Span) -> bool:
        if key is None:
            return False
        if key.name in self.keys or any(key.digest == other.digest for other in self.keys.values()):
            self._findings.error("duplicate-name", "duplicate key, or duplicate name of a key", span)
            return False
        self.keys[key.name], self.spans[key.name] = key, span
        return True

    def _store_routes(self, patterns: Any, name: str, span: Span) -> None:
        if patterns is None:
            return
        if isinstance(patterns, list) and all(isinstance(p, str) and _ROUTES.match(p) for p in patterns):
            self.routes[name] = tuple(patterns)
        else:
            self._report("'routes' must be a list of patterns such as 'GET /v1/*' or '* /v1/models'", span)

    def _report(self, message: str, span: Span) -> None:
        self._findings.error("bad-value", message, span)
