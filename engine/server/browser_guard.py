"""Refuses requests that a browser makes for pages of other sites.

A server on a loopback address that requires no key trusts all local processes. A browser is one of them, and
runs other people's pages. Such a page can reach the server in two ways: by DNS rebinding, where the page's
own name resolves to the loopback address, so that its requests have a foreign `Host` and it can read the
responses; and by cross-site requests, which `Origin` or `Sec-Fetch-Site` identifies. Other clients send
neither.

Contract: reads header fields only, and its errors never contain their values. `Host` must be valid (see
`http1.framing`). A name that is not recognized as one of this server is foreign.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from engine.errors import ExchangeError
from engine.http.origins import Origins

Fields = Iterable[tuple[bytes, bytes]]

_CHECKED: Final = frozenset((b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"))
#: Names that public DNS never resolves (RFC 6761, RFC 6762, ICANN's reserved `.internal`).
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal")
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")
_WEB_ORIGIN = re.compile(r"https?://([^/?#@\s]+)\Z", re.IGNORECASE)
_PORT = re.compile(r":[0-9]*\Z")

_FOREIGN_HOST: Final = (
    "the Host header does not name this server; add names with 'allowed_hosts' or --allowed-hosts"
)
_FOREIGN_PAGE: Final = "requests from pages of other sites are refused; allow their origin with 'cors'"


@dataclass(frozen=True, slots=True)
class HostNames:
    """Names of this server.

    Attributes:
        exact: complete names and addresses.
        suffixes: ends of names, each with a leading dot.
        is_any: whether the server accepts any name.
    """

    exact: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    is_any: bool = False

    def __contains__(self, host: str) -> bool:
        return host in self.exact or host.endswith(self.suffixes)


def host_names(text: str) -> HostNames:
    """The names in comma-separated text, such as `api.example.com, *.example.org, 10.0.0.7`; `*` is any name.

    Raises:
        ValueError: One of them is not a host name.
    """
    names = [name for part in text.split(",") if (name := part.strip().lower())]
    exact = {_normalize(name) for name in names if not name.startswith("*")}
    suffixes = tuple(_normalize(name)[1:] for name in names if name.startswith("*") and name != "*")
    return HostNames(frozenset(exact), suffixes, "*" in names)


def _normalize(name: str) -> str:
    if (address := _address(name)) is not None:
        return str(address)
    if not _NAME.match(name.removesuffix(".")):
        raise ValueError(f"invalid host name '{name}': expected NAME or *.NAME, without a port")
    return name.removesuffix(".")


class BrowserGuard:
    """Decides by header fields whether to refuse a request.

    Args:
        names: the names of this server, in addition to local names and addresses.
    """

    def __init__(self, names: HostNames) -> None:
        self._names = names
        self._is_own = lru_cache(256)(self._compute_is_own)
        #: The last `Host` that named this server: usually that of the next request too.
        self._last_own_host = b""

    def trusts(self, host: bytes, is_from_page: bool) -> bool:
        """Whether a request needs no further check: it is not from a page, and its `Host` names this server.

        Args:
            host: the value of `Host`, empty if there is none.
            is_from_page: whether the request has an `Origin` or a `Sec-Fetch-Site`.
        """
        if is_from_page:
            return False
        if host == self._last_own_host:
            return True
        if host and not self._is_own(host):
            return False
        self._last_own_host = host
        return True

    def refusal(self, fields: Fields, origins: Origins | None) -> ExchangeError | None:
        """The error for a refused request, or None if the request is allowed.

        Args:
            fields: the header fields of the request, with names in lower case.
            origins: the origins whose pages are allowed.
        """
        found = [field for field in fields if field[0] in _CHECKED]
        for name, value in found:
            if name == b"host" and not self._is_own(value):
                return ExchangeError("forbidden", _FOREIGN_HOST)
        return ExchangeError("forbidden", _FOREIGN_PAGE) if self._is_foreign(found, origins) else None

    def _is_foreign(self, fields: list[tuple[bytes, bytes]], origins: Origins | None) -> bool:
        """Whether a request is from a page that is not allowed."""
        found = dict(fields)
        page_origins = [value.decode("latin-1").strip() for name, value in fields if name == b"origin"]
        if any(page_origins):
            host = found.get(b"host", b"")
            return not all(self._is_allowed(origin, host, origins) for origin in page_origins)
        if found.get(b"sec-fetch-site") != b"cross-site" or (origins is not None and origins.is_any):
            return False
        # Links to this server are allowed from any site, because no other page can read the response.
        return found.get(b"sec-fetch-mode") != b"navigate" or found.get(b"sec-fetch-dest") != b"document"

    def _compute_is_own(self, value: bytes) -> bool:
        if self._names.is_any:
            return True
        host = _host(value)
        return _is_local_machine(host) or host.endswith(_LOCAL_SUFFIXES) or host in self._names

    def _is_allowed(self, origin: str, host: bytes, origins: Origins | None) -> bool:
        """Whether pages of an origin are allowed: those of this server, of this machine or of `origins`."""
        if origins is not None and origin in origins:
            return True
        found = _WEB_ORIGIN.match(origin)
        if found is None:
            return False
        name = _host(found[1].encode("latin-1"))
        return name == _host(host) or _is_local_machine(name) or name in self._names


def _host(authority: bytes) -> str:
    """The host in `host:port`, in lower case; addresses in canonical form."""
    host = _PORT.sub("", authority.decode("latin-1").strip().lower()).removesuffix(".")
    address = _address(host)
    return host if address is None else str(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _is_local_machine(host: str) -> bool:
    """Whether a name or address always refers to the machine that resolves it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and (address.is_loopback or address.is_unspecified)
