"""Upstreams: URLs taken apart, timeouts in seconds, credentials made once."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from engine.auth import OUTBOUND, Credentials
from engine.compile.context import MappingContext
from engine.plan import Timeouts, UpstreamPlan
from engine.source import Node
from engine.spec import UpstreamSpec
from engine.templates import is_static
from engine.values import ABSENT, text

_SCHEMES: Final = ("http", "https")
_MAPPING: Final = "mapping:"
#: The upstream of a call whose own could not be made out; a plan that has it is never served.
NOWHERE: Final = UpstreamPlan("", "http://invalid.invalid", None, "", (), Credentials(), Timeouts())

_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")


def compile_upstream(context: MappingContext, name: str, spec: UpstreamSpec) -> UpstreamPlan:
    """One upstream. What is wrong with its URL is a finding, and the plan then leads nowhere."""
    url = context.text(spec.url, f"upstreams.{name}.url")
    headers = _headers(context, spec.headers, name)
    credentials = _credentials(context, spec.auth, name)
    timeouts = _timeouts(context, spec.timeout)
    if url is None:
        return replace(NOWHERE, name=name)
    if url.startswith(_MAPPING):
        target, slash, path = url.removeprefix(_MAPPING).partition("/")
        base = (slash + path).rstrip("/")
        return UpstreamPlan(name, None, target, base, headers, credentials, timeouts)
    parts = _split(context, spec.url, url)
    if parts is None:
        return replace(NOWHERE, name=name)
    credentials = _url_credentials(context, spec.url, parts) or credentials
    base = literal_path(parts.path.rstrip("/"))
    return UpstreamPlan(name, _origin(parts), None, base, headers, credentials, timeouts)


def _origin(parts: SplitResult) -> str:
    """`scheme://host:port`, the host as it goes over the wire (RFC 3490 for names that are not ASCII)."""
    host = (parts.hostname or "").encode("idna").decode() if not parts.netloc.isascii() else parts.hostname
    host = f"[{host}]" if host and ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port is not None else "")


def _split(context: MappingContext, node: Node, url: str) -> SplitResult | None:
    problem = None
    parts = None
    try:
        parts = urlsplit(url)
        problem = _problem(parts, url)
        _origin(parts)
    except ValueError:
        problem = "this is no URL: its host or port cannot be"
    if problem is None:
        return parts
    environment = context.environment
    if is_static(node.value) or not (environment.missing or environment.unsound):
        context.findings.error("bad-url", problem, node.span)
    return None


def _problem(parts: SplitResult, url: str) -> str | None:
    if not url:
        return "the URL is empty"
    if parts.scheme not in _SCHEMES:
        return "the URL of an upstream begins with http://, https:// or mapping:"
    if not parts.hostname or re.search(r"[\s\x00-\x1f\\]", url):
        return "the URL names no host, or holds white space or a backslash"
    if parts.port == 0:
        return "port 0 cannot be called"
    if any(segment in (".", "..") for segment in unquote(parts.path).split("/")):
        return "the URL's path has a dot segment"
    if parts.query or parts.fragment:
        return "the URL of an upstream has no query and no fragment; put parameters under auth or query"
    return None


def _url_credentials(context: MappingContext, node: Node, parts: SplitResult) -> Credentials | None:
    """`user:password@` of a URL, sent as basic authentication; it is no part of the origin."""
    if parts.username is None:
        return None
    options = {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    return _make(context, node, "basic", options)


def _credentials(context: MappingContext, node: Node | None, name: str) -> Credentials:
    if node is None:
        return Credentials()
    scheme, option = next(iter(node.items()))
    value = context.environment.evaluate(option, f"upstreams.{name}.auth")
    if value is ABSENT or value == "" or _is_empty(scheme, value):
        return Credentials()
    return _make(context, option, scheme, value) or Credentials()


def _is_empty(scheme: str, value: Any) -> bool:
    """No key is set: `{name, value}` without its value, `{username, password}` without both."""
    if not isinstance(value, dict):
        return False
    wanted = ("username", "password") if scheme == "basic" else ("value",)
    return not any(value.get(key) for key in wanted)


def _make(context: MappingContext, node: Node, scheme: str, options: Any) -> Credentials | None:
    try:
        return OUTBOUND[scheme](options)
    except ValueError as error:
        context.findings.error("bad-value", str(error), node.span)
        return None


def _headers(context: MappingContext, node: Node | None, name: str) -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    value = context.environment.evaluate(node, f"upstreams.{name}.headers")
    found = []
    for key, item in value.items() if isinstance(value, dict) else ():
        if item is not None and not _FIELD_VALUE.match(text(item)):
            context.findings.error("bad-value", "a header cannot hold this value", node[key].span)
        elif item is not None:
            found.append((key.lower(), text(item).strip()))
    return tuple(found)


def _timeouts(context: MappingContext, node: Node | None) -> Timeouts:
    default = Timeouts()
    if node is None:
        return default
    values = {
        name: context.seconds(node.get(name), getattr(default, name)) or getattr(default, name)
        for name in ("connect", "read", "total")
    }
    return Timeouts(**values)


def literal_path(path: str) -> str:
    """A path as it goes on the request line: what cannot stand there is percent-encoded."""
    return quote(path, safe="/%:@!$&'()*+,;=~-._")
