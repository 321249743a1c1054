"""Keys of clients: from text, lists and files, each with a name, and the routes that it is for.

Contract: a key's text is digested here and kept nowhere; findings name its place, never the key.
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
    """The keys of a mapping; by the names of keys, the routes that each is for: those of others are open."""

    bearer: BearerKeys
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: Mapping[str, Span] = field(default_factory=dict)
    rates: Mapping[str, RatePlan] = field(default_factory=dict)

    def barred(self, route: RouteSpec) -> frozenset[str]:
        """The names of the keys that a route is not for."""
        return frozenset(
            name
            for name, patterns in self.routes.items()
            if not any(_covers(pattern, route) for pattern in patterns)
        )


def compile_keys(context: MappingContext, auth: Node | None) -> KeysPlan:
    """What `auth` of a mapping says; keys that are wrong are findings."""
    bearer = auth.get("bearer") if auth is not None else None
    if auth is None or bearer is None:
        return KeysPlan(BearerKeys(()))
    reading, reports = _Reading(context), context.findings.reports
    for value, span in _items(context, bearer):
        reading.add(value, span)
    if not reading.keys and context.findings.reports == reports:
        _report_no_key(context, bearer)
    header = auth.get("header")
    name = "" if header is None else str(header.value).lower()
    return KeysPlan(BearerKeys(reading.keys.values(), name), reading.routes, reading.places, reading.rates)


def check_key_routes(context: MappingContext, keys: KeysPlan) -> None:
    """Patterns that fit no route of the mapping, by a slip or since the route has gone."""
    for name, patterns in keys.routes.items():
        for pattern in patterns:
            if not any(_covers(pattern, route) for route in context.spec.routes):
                message = f"no route of this mapping fits '{pattern}', which the key '{name}' is for"
                context.findings.warning("no-effect", message, keys.places[name])


def _covers(pattern: str, route: RouteSpec) -> bool:
    method, _, path = pattern.partition(" ")
    if method not in ("*", route.method):
        return False
    # Brackets and question marks are no wildcards here.
    return fnmatchcase(route.path, re.sub(r"[\[?]", r"[\g<0>]", path))


def _items(context: MappingContext, node: Node) -> Iterator[tuple[Any, Span]]:
    """Each key as it is written, with its place."""
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
        context.findings.error("bad-value", "expected text, or a list of keys", node.span)


def _report_no_key(context: MappingContext, bearer: Node) -> None:
    """Report `auth.bearer` without a key: an error for an empty file, which would open the mapping; a warning
    for a variable that is not set, as mappings are tried without keys on a loopback address."""
    if _names_file(context, bearer):
        context.findings.error("bad-value", "the file holds no key", bearer.span)
    elif any(route.auth != "none" for route in context.spec.routes):
        message = f"'auth.bearer' gives no key: '{context.spec.name}' is open to all local processes"
        hint = "set the variables that it reads; 'auth: none' says that no key is wanted"
        context.findings.warning("no-key", message, bearer.span, hint)


def _names_file(context: MappingContext, node: Node) -> bool:
    """Whether keys come from a file, and its path is set."""
    return isinstance(node.value, dict) and bool(context.text(node["$file"], "auth.bearer", secrets=False))


class _Reading:
    """Keys as they are read, by their names."""

    def __init__(self, context: MappingContext) -> None:
        self._findings = context.findings
        self._scope = f"{context.spec.name} key"
        self.keys: dict[str, ClientKey] = {}
        self.routes: dict[str, tuple[str, ...]] = {}
        self.places: dict[str, Span] = {}
        self.rates: dict[str, RatePlan] = {}

    def add(self, item: Any, span: Span) -> None:
        """Take one key: text, or an object; one that is empty is none."""
        if item is ABSENT or item is None or (isinstance(item, str) and not item.strip()):
            return
        if isinstance(item, str):
            self._keep(self._text(item.strip(), None, span), span)
        elif isinstance(item, dict):
            self._object(item, span)
        else:
            self._wrong("a key is text, or has 'name' and 'key' or 'sha256'", span)

    def _object(self, item: dict[str, Any], span: Span) -> None:
        for field_name in item:
            if field_name not in _FIELDS:
                message = f"unknown key '{field_name}'"
                self._findings.error("unknown-key", message, span, suggestion(field_name, _FIELDS))
        name = item.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            self._wrong("a key's name has letters, digits, '-', '_' and '.', at most 64 of them", span)
            return
        if "sha256" in item and "key" in item:
            self._wrong("a key has 'key' or 'sha256', not both", span)
            return
        found = self._value(item, name, span)
        if found is not None and self._keep(found, span):
            self._keep_routes(item.get("routes"), name, span)
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
            self._wrong("a key is text", span)
        return None

    def _text(self, text: str, name: str | None, span: Span) -> ClientKey | None:
        if text.startswith(_HASHED):
            digits = text.removeprefix(_HASHED)
            if _DIGEST.match(digits):
                return ClientKey.hashed(bytes.fromhex(digits), name)
            self._wrong("a SHA-256 has 64 hexadecimal digits", span)
        elif _KEY.match(text):
            return ClientKey.of(text, name)
        else:
            self._wrong("a key has a character that no Authorization header can carry", span)
        return None

    def _keep(self, key: ClientKey | None, span: Span) -> bool:
        if key is None:
            return False
        if key.name in self.keys or any(key.digest == other.digest for other in self.keys.values()):
            self._findings.error("duplicate-name", "this key, or its name, stands here twice", span)
            return False
        self.keys[key.name], self.places[key.name] = key, span
        return True

    def _keep_routes(self, patterns: Any, name: str, span: Span) -> None:
        if patterns is None:
            return
        if isinstance(patterns, list) and all(isinstance(p, str) and _ROUTES.match(p) for p in patterns):
            self.routes[name] = tuple(patterns)
        else:
            self._wrong("'routes' lists patterns such as 'GET /v1/*' or '* /v1/models'", span)

    def _wrong(self, message: str, span: Span) -> None:
        self._findings.error("bad-value", message, span)
