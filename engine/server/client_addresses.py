"""Whose request it is: the address of a client, behind proxies of our own too.

Contract: `X-Forwarded-For` is believed from trusted proxies alone, and read from its end: what a client
writes into it itself stands before what our proxies add.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What one customer of an IPv6 network usually has, in bits: its addresses count as one.
_IPV6_PREFIX: Final = 64


def networks(text: str) -> tuple[Network, ...]:
    """Networks in text with commas, such as `10.0.0.0/8, ::1`.

    Raises:
        ValueError: one of them is none.
    """
    parts = (part.strip() for part in text.split(","))
    return tuple(ipaddress.ip_network(part) for part in parts if part)


class Addresses:
    """Finds clients' addresses, given the networks of our own proxies.

    Attributes:
        has_proxies: there are any of these.
    """

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        self._trusted = tuple(trusted)
        self.has_proxies = bool(self._trusted)

    def of(self, peer: str, headers: Iterable[tuple[str, str]]) -> str:
        """The address of the client that a connection from `peer` is for; IPv6 as its network of 64 bits."""
        if not self._trusted:
            return _own(peer)
        address = _parsed(peer)
        if self._is_trusted(address):
            forwarded = [v for name, v in headers if name == "x-forwarded-for"]
            for hop in reversed(",".join(forwarded).split(",")):
                found = _parsed(hop.strip())
                if found is None:
                    break
                address = found
                if not self._is_trusted(address):
                    break
        return peer if address is None else _counted(address)

    def is_proxy(self, peer: str) -> bool:
        """Whether a connection from `peer` is one of our own proxies."""
        return self._is_trusted(_parsed(peer))

    def _is_trusted(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


@lru_cache(4096)
def _own(peer: str) -> str:
    """The address of a connection that no proxy of ours has made."""
    address = _parsed(peer)
    return peer if address is None else _counted(address)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _counted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network(f"{address}/{_IPV6_PREFIX}", strict=False))
