"""Origins of web pages (RFC 6454), and the patterns of `cors.origins`.

    https://app.example.com     this origin; a default port may be omitted
    http://localhost:*          any port, including the default port
    https://*.example.com       any subdomain, at any depth, but not example.com itself
    app://*                     any origin of this scheme
    *                           any origin

Contract: pure functions; matching takes time linear in the length of the origin. A pattern that cannot match
any origin raises a `ValueError` that names the mistake and not the value. Only `*` matches `null`, the origin
of sandboxed pages: any page can make its origin `null`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ANY: Final = "*"

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z|\[[0-9a-f:.]+\]\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")


@dataclass(frozen=True, slots=True)
class Origins:
    """A set of origins.

    Attributes:
        exact: origins without a wildcard.
        pattern: a regular expression that fully matches the others, or None.
        is_any: every origin belongs to it, including `null`.
    """

    exact: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    is_any: bool = False

    def __contains__(self, origin: str) -> bool:
        if self.is_any or origin in self.exact:
            return True
        return self.pattern is not None and self.pattern.fullmatch(origin) is not None


def origins_of(patterns: Iterable[str]) -> Origins:
    """The set of origins that any of the patterns matches.

    Raises:
        ValueError: a pattern cannot match any origin.
    """
    exact, wild, is_any = set(), [], False
    for text in patterns:
        if text == ANY:
            is_any = True
        elif "*" in text:
            wild.append(_expression(*_parts(text)))
        else:
            exact.add(_serialized(*_parts(text)))
    return Origins(frozenset(exact), re.compile("|".join(wild)) if wild else None, is_any)


def covers_the_web(pattern: str) -> bool:
    """Whether a pattern matches every website: `*`, or any host of http or https."""
    if pattern == ANY:
        return True
    scheme, host, _ = _parts(pattern)
    return scheme in _DEFAULT_PORTS and host == ANY


def _parts(text: str) -> tuple[str, str, str]:
    """Scheme, host and port of a pattern; the port is empty if there is none.

    Raises:
        ValueError: it is not a valid pattern.
    """
    scheme, separator, authority = text.lower().partition("://")
    if not separator:
        raise ValueError("an origin begins with a scheme, such as https://app.example.com")
    if not _SCHEME.match(scheme):
        raise ValueError("the scheme of an origin is a name, such as https or app, without wildcards")
    if any(mark in authority for mark in "/?#"):
        raise ValueError("an origin has no path, nor a slash at its end")
    host, port = _host_and_port(authority)
    if host not in ("", ANY) and not _HOST.match(host):
        raise ValueError("the host of an origin is a name in ASCII, an address, '*' or '*.' before a name")
    if not host and scheme in _DEFAULT_PORTS:
        raise ValueError("an origin of http or https has a host")
    if port not in ("", ANY) and not (_PORT.match(port) and int(port) <= 65_535):
        raise ValueError("the port of an origin is a number from 1 to 65535, or '*'")
    return scheme, host, port


def _host_and_port(authority: str) -> tuple[str, str]:
    host, separator, port = authority.rpartition(":")
    if not separator or port.endswith("]"):
        return authority, ""
    if not port:
        raise ValueError("the port of an origin is a number from 1 to 65535, or '*'")
    return host, port


def _serialized(scheme: str, host: str, port: str) -> str:
    """An origin as browsers serialize it: without the default port of its scheme."""
    return f"{scheme}://{host}{_suffix(scheme, port)}"


def _suffix(scheme: str, port: str) -> str:
    return "" if port in ("", _DEFAULT_PORTS.get(scheme)) else f":{port}"


def _expression(scheme: str, host: str, port: str) -> str:
    """A regular expression for a pattern with a wildcard."""
    begin = re.escape(f"{scheme}://")
    if host == ANY and not port:
        return begin + r"[^/?#\s]*"
    if host == ANY:
        begin += r"(?:[^/?#\s:\[\]]+|\[[0-9a-f:.]+\])"
    elif host.startswith("*."):
        begin += r"[a-z0-9_.-]+" + re.escape(host.removeprefix("*"))
    else:
        begin += re.escape(host)
    if port == ANY:
        return begin + r"(?::[0-9]{1,5})?"
    return begin + re.escape(_suffix(scheme, port))
