"""Compiles upstreams: parses URLs, converts timeouts to seconds, and prepares credentials and TLS once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from engine.compiler.context import MappingContext
from engine.compiler.numbers import number
from engine.compiler.tls import compile_tls
from engine.errors import AuthError
from engine.http.auth import BLANK_REQUEST, NO_AUTH, BasicAuth, UpstreamAuth, make_auth
from engine.http.fields import CREDENTIAL_NAME, FIELD_NAME
from engine.http.request_target import literal_path
from engine.language.spec import BreakerSpec, HealthSpec, RetrySpec, TimeoutSpec, TlsSpec, UpstreamSpec
from engine.language.templates import is_static, output_keys
from engine.locations import Node, Span
from engine.plan import (
    DEFAULT_TIMEOUTS,
    BreakerPlan,
    HealthPlan,
    RetryPlan,
    Timeouts,
    UpstreamPlan,
)
from engine.values import ABSENT, JsonError, text

_SCHEMES: Final = ("http", "https")
_MAPPING: Final = "mapping:"
#: The upstream of a call whose upstream could not be determined; a plan with it is never served.
NOWHERE: Final = UpstreamPlan("", "http://invalid.invalid", None, "", (), DEFAULT_TIMEOUTS)

#: The separator of URLs in one text; a URL itself may contain a comma.
_SEPARATOR = re.compile(r"\s*,\s*(?=https?://)")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")


def compile_upstream(context: MappingContext, name: str, spec: UpstreamSpec) -> UpstreamPlan:
    """The plan of one upstream; an error in its URL is a finding, and the plan then has no server."""
    urls = _urls(context, spec.url, name)
    headers = _headers(context, spec.headers, name)
    auth = _auth(context, spec.auth, name)
    made = UpstreamPlan(
        name=name,
        origin=None,
        mapping=None,
        base_path="",
        headers=headers,
        auth=auth,
        timeouts=_timeouts(context, spec.timeout),
        retry=_retry(context, spec.retry),
        health=_health(context, spec.health),
        breaker=_breaker(context, spec.breaker),
        has_credentials=_has_credentials(context, auth, headers),
    )
    if not urls:
        return replace(NOWHERE, name=name)
    url = urls[0]
    if len(urls) == 1 and url.startswith(_MAPPING):
        _warn_of_no_effect(context, spec, ("connections", "tls", "http2", "proxy"))
        target, slash, path = url.removeprefix(_MAPPING).partition("/")
        return replace(made, mapping=target, base_path=(slash + path).rstrip("/"))
    tls, proxy = compile_tls(context, spec.tls, name), _proxy(context, spec.proxy, name)
    found = [_split(context, spec.url, url, _problem) for url in urls]
    _check_http2(context, spec)
    servers = [parts for parts in found if parts is not None]
    if len(servers) < len(found) or not _are_alike(context, spec.url, servers):
        return replace(NOWHERE, name=name)
    parts = servers[0]
    if parts.scheme == "http":
        _warn_of_no_effect(context, spec, ("tls",))
    if parts.username or parts.password:
        auth = _url_auth(context, spec.url, parts)
    return replace(
        made,
        origin=_origin(parts),
        other_origins=tuple(_origin(other) for other in servers[1:]),
        base_path=literal_path(parts.path.rstrip("/")),
        auth=auth,
        has_credentials=_has_credentials(context, auth, headers) or _has_certificate(spec.tls),
        connections=number(context, spec, "connections"),
        tls=tls,
        http2=spec.http2,
        proxy=proxy,
    )


def _urls(context: MappingContext, node: Node, name: str) -> list[str]:
    """The URLs of an upstream, from a list or a comma-separated text; none if there is a finding."""
    label = f"upstreams.{name}.url"
    if not isinstance(node.value, list):
        text = context.text(node, label)
        return [] if text is None else _SEPARATOR.split(text)
    texts = [context.text(item, label) for item in node.elements()]
    if None in texts:
        return []
    return [url for text in texts if text for url in _SEPARATOR.split(text)] or [""]


def _are_alike(context: MappingContext, node: Node, servers: list[SplitResult]) -> bool:
    """Whether servers are interchangeable: they differ only in host and port."""
    problem = None
    kinds = {(parts.scheme, parts.path.rstrip("/"), parts.username, parts.password) for parts in servers}
    if len(kinds) > 1:
        problem = "the URLs of an upstream may differ only in host and port"
    elif len({_origin(parts) for parts in servers}) < len(servers):
        problem = "duplicate URL"
    if problem is not None:
        context.findings.error("bad-url", problem, node.span)
    return problem is None


def _warn_of_no_effect(context: MappingContext, spec: UpstreamSpec, keys: tuple[str, ...]) -> None:
    for key in keys:
        node = spec.node.get(key)
        if node is not None:
            message = f"'{key}' has no effect for the URL of this upstream"
            context.findings.warning("no-effect", message, node.key_span)


def _check_http2(context: MappingContext, spec: UpstreamSpec) -> None:
    if spec.http2 and find_spec("h2") is None:
        message = "HTTP/2 needs the package 'h2', which is not installed"
        context.findings.error("missing-package", message, spec.node["http2"].span, "install dragoman[http2]")


def _proxy(context: MappingContext, node: Node | None, name: str) -> str | None:
    """The URL of the proxy, with its credentials; None where it is empty."""
    url = None if node is None else context.text(node, f"upstreams.{name}.proxy")
    if node is None or not url:
        return None
    return url if _split(context, node, url, _proxy_problem) is not None else None


def _origin(parts: SplitResult) -> str:
    """`scheme://host:port`, with a host that is not ASCII in its encoded form (RFC 3490)."""
    host = (parts.hostname or "").encode("idna").decode() if not parts.netloc.isascii() else parts.hostname
    host = f"[{host}]" if host and ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port is not None else "")


def _split(
    context: MappingContext, node: Node, url: str, problem_of: Callable[[SplitResult, str], str | None]
) -> SplitResult | None:
    problem = None
    parts = None
    try:
        parts = urlsplit(url)
        problem = problem_of(parts, url)
        _origin(parts)
    except ValueError:
        problem = "invalid URL: the host or port is malformed"
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
        return "the URL of an upstream must begin with http://, https:// or mapping:"
    problem = _authority_problem(parts, url)
    if problem is not None:
        return problem
    if any(segment in (".", "..") for segment in unquote(parts.path).split("/")):
        return "the path of the URL contains a dot segment"
    if parts.query or parts.fragment:
        return "the URL of an upstream cannot have a query or a fragment; set parameters under auth or query"
    return None


def _proxy_problem(parts: SplitResult, url: str) -> str | None:
    if parts.scheme not in _SCHEMES:
        return "the URL of a proxy must begin with http:// or https://"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return "the URL of a proxy must end after its host and port"
    return _authority_problem(parts, url)


def _authority_problem(parts: SplitResult, url: str) -> str | None:
    if not parts.hostname or re.search(r"[\s\x00-\x1f\\]", url):
        return "the URL has no host, or contains whitespace or a backslash"
    if parts.port == 0:
        return "the port cannot be 0"
    return None


def _url_auth(context: MappingContext, node: Node, parts: SplitResult) -> UpstreamAuth:
    """The basic authentication for `user:password@` of a URL; it is not part of the origin."""
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    return _made(context, node, lambda: BasicAuth(username, password))


def _auth(context: MappingContext, node: Node | None, name: str) -> UpstreamAuth:
    """The authentication of an upstream; none if the secret is empty or there is a finding."""
    if node is None:
        return NO_AUTH
    scheme, option = next(iter(node.items()))
    value = context.environment.evaluate(option, f"upstreams.{name}.auth")
    if value is ABSENT or value == "":
        return NO_AUTH
    return _made(context, option, lambda: make_auth(scheme, value))


def _made(context: MappingContext, node: Node, make: Callable[[], UpstreamAuth]) -> UpstreamAuth:
    """The authentication that `make` returns; none, with a finding, if it cannot be used.

    For exceptions other than `AuthError`, the finding has only the type: their text may contain the secret.
    """
    try:
        auth = make()
        if auth.is_configured:
            auth.apply(BLANK_REQUEST)
        auth.describe()
        tuple(auth.secrets())
        return auth
    except AuthError as error:
        problem = str(error)
    except Exception as error:
        problem = f"the credentials cannot be created: {type(error).__name__}"
    context.findings.error("bad-value", problem, node.span)
    return NO_AUTH


def _has_credentials(
    context: MappingContext, auth: UpstreamAuth, headers: tuple[tuple[str, str], ...]
) -> bool:
    """Whether calls carry credentials of the mapping, by `auth` or in a header field."""
    named = any(value and CREDENTIAL_NAME.search(name) for name, value in headers)
    secret = any(not context.environment.may_show(value) for _, value in headers)
    return auth.is_configured or named or secret


def _has_certificate(tls: TlsSpec | None) -> bool:
    return tls is not None and tls.certificate is not None


def _headers(context: MappingContext, node: Node | None, name: str) -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    value = context.environment.evaluate(node, f"upstreams.{name}.headers")
    found = []
    for key, item in value.items() if isinstance(value, dict) else ():
        written = "" if item is None else _field_value(item)
        if not FIELD_NAME.match(key):
            context.findings.error("bad-value", "invalid header field name", _span_of(node, key))
        elif written is None:
            context.findings.error("bad-value", "invalid header field value", _span_of(node, key))
        elif item is not None:
            found.append((key.lower(), written))
    return tuple(found)


def _field_value(value: Any) -> str | None:
    """A value as the text of a header field; None if a header field cannot carry it."""
    try:
        written = text(value)
    except JsonError:
        return None
    return written.strip() if _FIELD_VALUE.match(written) else None


def _span_of(node: Node, key: str) -> Span:
    """The location of the value under a key of a template's result, or of the template where the key is
    made."""
    return next((child.span for name, child in output_keys(node) if name == key), node.span)


def _timeouts(context: MappingContext, spec: TimeoutSpec | None) -> Timeouts:
    if spec is None:
        return DEFAULT_TIMEOUTS
    return Timeouts(
        connect=context.seconds_under(spec, "connect"),
        read=context.seconds_under(spec, "read"),
        total=context.seconds_under(spec, "total"),
        stream=context.seconds_under(spec, "stream"),
    )


def _retry(context: MappingContext, spec: RetrySpec | None) -> RetryPlan | None:
    if spec is None:
        return None
    return RetryPlan(
        number(context, spec, "attempts"), frozenset(spec.on), context.seconds_under(spec, "wait")
    )


def _health(context: MappingContext, spec: HealthSpec | None) -> HealthPlan | None:
    if spec is None:
        return None
    return HealthPlan(
        method=spec.method,
        path=literal_path(spec.path.value),
        timeout=context.seconds_under(spec, "timeout"),
        cache_seconds=context.seconds_under(spec, "keep"),
    )


def _breaker(context: MappingContext, spec: BreakerSpec | None) -> BreakerPlan | None:
    if spec is None:
        return None
    return BreakerPlan(number(context, spec, "failures"), context.seconds_under(spec, "open"))
