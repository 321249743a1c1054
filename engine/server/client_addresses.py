"""Client addresses, including those of clients behind our own reverse proxies.

Contract: `X-Forwarded-For` is trusted only from trusted proxies, and read from its end, because the values
that a client sends itself precede those that our proxies append.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The usual prefix length of one customer's IPv6 network: all addresses in it count as one client.
_IPV6_PREFIX: Final = 64


def networks(text: str) -> tuple[Network, ...]:
    """The networks in comma-separated text, such as `10.0.0.0/8, ::1`.

    Raises:
        ValueError: a part of the text is not a network.
    """
    parts = (part.strip() for part in text.split(","))
    return tuple(ipaddress.ip_network(part) for part in parts if part)


class ClientAddresses:
    """Determines the addresses of clients.

    Args:
        trusted: the networks of our own proxies.

    Attributes:
        has_proxies: whether there are trusted networks.
    """

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        self._trusted = tuple(trusted)
        self.has_proxies = bool(self._trusted)

    def client_of(self, peer: str, headers: Iterable[tuple[str, str]]) -> tuple[str, str]:
        """The address of the client whose request arrives from `peer`, and what limits count as one client:
        the address too, or for IPv6 its /64 network."""
        if not self._trusted:
            return _direct_client(peer)
        address = _parse(peer)
        if self._is_trusted(address):
            forwarded = [v for name, v in headers if name == "x-forwarded-for"]
            for hop in reversed(",".join(forwarded).split(",")):
                found = _parse(hop.strip())
                if found is None:
                    break
                address = found
                if not self._is_trusted(address):
                    break
        return (peer, peer) if address is None else _client(address)

    def is_proxy(self, peer: str) -> bool:
        """Whether `peer` is one of our own proxies."""
        return self._is_trusted(_parse(peer))

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


@lru_cache(4096)
def _direct_client(peer: str) -> tuple[str, str]:
    """`client_of` for a client that connects directly."""
    address = _parse(peer)
    return (peer, peer) if address is None else _client(address)


def _parse(text: str) -> Address | None:
    """The address in text, an IPv4-mapped one as IPv4; None if the text is not an address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _client(address: Address) -> tuple[str, str]:
    """An address as text, and the text that identifies its client."""
    text = str(address)
    if address.version == 4:
        return text, text
    return text, str(ipaddress.ip_network(f"{text}/{_IPV6_PREFIX}", strict=False))
