"""Refuses requests that a browser makes for pages of other sites.

A server on a loopback address that wants no key trusts all local processes. A browser is one of them, and
runs other people's pages. Such a page can reach the server in two ways: by DNS rebinding, where its own name
resolves to the loopback address, so that its requests have a foreign `Host` and it can read the responses;
and by cross-site requests, which `Origin` or `Sec-Fetch-Site` marks as such. Other clients send neither.

Contract: reads header fields only, and its errors never contain one. `Host` must be well-formed (see
`protocol.framing`); whatever is not recognized as this server's own name is foreign.
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

_READ: Final = frozenset((b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"))
#: Names that are never resolved by public DNS (RFC 6761, RFC 6762, ICANN's reserved `.internal`).
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal")
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")
_WEB_ORIGIN = re.compile(r"https?://([^/?#@\s]+)\Z", re.IGNORECASE)
_PORT = re.compile(r":[0-9]*\Z")

_FOREIGN_HOST: Final = "this Host is not a name of this server; 'serve --allowed-hosts' adds names"
_FOREIGN_PAGE: Final = "a page of another site may not call this server; 'cors' of a mapping allows origins"


@dataclass(frozen=True, slots=True)
class HostNames:
    """Names of this server: exact ones, and suffixes that begin with a dot. `is_any`: every name is one."""

    exact: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    is_any: bool = False

    def __contains__(self, host: str) -> bool:
        return host in self.exact or host.endswith(self.suffixes)


def host_names(text: str) -> HostNames:
    """The names in text with commas, such as `api.example.com, *.example.org, 10.0.0.7`; `*` is every name.

    Raises:
        ValueError: one of them is no name.
    """
    names = [name for part in text.split(",") if (name := part.strip().lower())]
    exact = {_exact(name) for name in names if not name.startswith("*")}
    suffixes = tuple(_exact(name)[1:] for name in names if name.startswith("*") and name != "*")
    return HostNames(frozenset(exact), suffixes, "*" in names)


def _exact(name: str) -> str:
    if (address := _address(name)) is not None:
        return str(address)
    if not _NAME.match(name.removesuffix(".")):
        raise ValueError(f"'{name}' is no host name, nor '*.' before one; a port does not belong to it")
    return name.removesuffix(".")


class BrowserGuard:
    """Decides by a request's header fields.

    Args:
        names: names of this server beside those that only this machine has.
    """

    def __init__(self, names: HostNames) -> None:
        self._names = names
        self._is_own = lru_cache(256)(self._find_own)
        #: The Host of the last request that was this server's own: usually that of the next one too.
        self._usual = b""

    def trusts(self, host: bytes, is_of_page: bool) -> bool:
        """Whether a request needs no further look: no page has made it, and its host is this server.

        Args:
            host: its Host, or nothing where it has none.
            is_of_page: it has an `Origin` or a `Sec-Fetch-Site`.
        """
        if is_of_page:
            return False
        if host == self._usual:
            return True
        if host and not self._is_own(host):
            return False
        self._usual = host
        return True

    def refusal(self, fields: Fields, origins: Origins | None) -> ExchangeError | None:
        """Why a request is refused, or None where it is not.

        Args:
            fields: its header fields, with names in lower case.
            origins: those whose pages may call.
        """
        found = [field for field in fields if field[0] in _READ]
        for name, value in found:
            if name == b"host" and not self._is_own(value):
                return ExchangeError("forbidden", _FOREIGN_HOST)
        return ExchangeError("forbidden", _FOREIGN_PAGE) if self._is_foreign(found, origins) else None

    def _is_foreign(self, fields: list[tuple[bytes, bytes]], origins: Origins | None) -> bool:
        """Whether a request comes from a page that may not call."""
        found = dict(fields)
        pages = [value.decode("latin-1").strip() for name, value in fields if name == b"origin"]
        if any(pages):
            host = found.get(b"host", b"")
            return not all(self._may_call(page, host, origins) for page in pages)
        if found.get(b"sec-fetch-site") != b"cross-site" or (origins is not None and origins.is_any):
            return False
        # A link to this server is followed from anywhere; no page can read what it leads to.
        return found.get(b"sec-fetch-mode") != b"navigate" or found.get(b"sec-fetch-dest") != b"document"

    def _find_own(self, value: bytes) -> bool:
        if self._names.is_any:
            return True
        host = _host(value)
        return _is_this_machine(host) or host.endswith(_LOCAL_SUFFIXES) or host in self._names

    def _may_call(self, page: str, host: bytes, origins: Origins | None) -> bool:
        """Whether a page may call: one of this server, of this machine, or of an allowed origin."""
        if origins is not None and page in origins:
            return True
        found = _WEB_ORIGIN.match(page)
        if found is None:
            return False
        name = _host(found[1].encode("latin-1"))
        return name == _host(host) or _is_this_machine(name) or name in self._names


def _host(authority: bytes) -> str:
    """The host of `host:port`, in lower case; an address is in its canonical form."""
    host = _PORT.sub("", authority.decode("latin-1").strip().lower()).removesuffix(".")
    address = _address(host)
    return host if address is None else str(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _is_this_machine(host: str) -> bool:
    """Whether a name or address always means the machine of whoever uses it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and (address.is_loopback or address.is_unspecified)
