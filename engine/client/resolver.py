"""Addresses of hosts, looked up by the system.

Contract: a name that is slow to resolve delays nobody but its own callers. A lookup cannot be cancelled, so
each has a thread of its own, which does not keep the process from ending; the threads of an event loop are
shared by all names. Calls to one host share one lookup and, for a few seconds, its result. The caller bounds
how long it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

#: Seconds for which addresses are taken again. The system does not say how long they hold.
_KEPT_SECONDS: Final = 5.0
#: Seconds after which a lookup counts as lost and another one begins, and how many of one host there may be
#: at a time.
_LOST_SECONDS: Final = 15.0
_MOST: Final = 4

#: Addresses, or why there are none.
_Found = list[str] | OSError


@dataclass(slots=True)
class _Lookup:
    """A lookup that runs; `since` is a time of the event loop."""

    since: float
    found: asyncio.Future[_Found]


@dataclass(slots=True)
class _Known:
    """Addresses until a time of the event loop."""

    addresses: list[str]
    until: float


class Resolver:
    """Addresses for the upstreams of one event loop."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._running: dict[str, list[_Lookup]] = {}

    async def addresses(self, host: str) -> list[str]:
        """The addresses of a host, at least one, IPv6 and IPv4 by turns in the system's order.

        Raises:
            OSError: there are none.
        """
        if is_address(host):
            return [host]
        known = self._known.get(host)
        if known is not None and asyncio.get_running_loop().time() < known.until:
            return known.addresses.copy()
        # A caller that stops waiting must not end the lookup of the others.
        found = await asyncio.shield(self._lookup(host).found)
        if isinstance(found, OSError):
            # A new one each time: it would gather the frames of all callers.
            raise type(found)(*found.args)
        return found.copy()

    def forget(self, host: str) -> None:
        """Look a host up again next time: its addresses did not work."""
        self._known.pop(host, None)

    def _lookup(self, host: str) -> _Lookup:
        """The lookup to wait for: the one that runs, or a new one."""
        loop, running = asyncio.get_running_loop(), self._running.setdefault(host, [])
        now = loop.time()
        if running and (now - running[-1].since < _LOST_SECONDS or len(running) >= _MOST):
            return running[-1]
        lookup = _Lookup(now, loop.create_future())
        running.append(lookup)
        thread = threading.Thread(
            target=_work, args=(host, loop, lambda found: self._ended(host, lookup, found)), daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self._ended(host, lookup, OSError("no thread for a name lookup"))
        return lookup

    def _ended(self, host: str, lookup: _Lookup, found: _Found) -> None:
        running = self._running[host]
        running.remove(lookup)
        if not running:
            del self._running[host]
        if isinstance(found, list):
            self._known[host] = _Known(found, asyncio.get_running_loop().time() + _KEPT_SECONDS)
        if not lookup.found.done():
            lookup.found.set_result(found)


_resolvers: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Resolver]] = WeakKeyDictionary()


def resolver() -> Resolver:
    """The resolver of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _resolvers.get(loop)
    if found is None:
        found = _resolvers[loop] = Resolver()
    return found


def is_address(host: str) -> bool:
    """Whether a host is an IP address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def system_lookup(host: str) -> list[Any]:
    """What the system says of a host; takes as long as that does."""
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)


def _work(host: str, loop: asyncio.AbstractEventLoop, tell: Callable[[_Found], None]) -> None:
    """Look up, in a thread."""
    found = _look_up(host)
    # The loop may have ended meanwhile.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell, found)


def _look_up(host: str) -> _Found:
    try:
        entries = system_lookup(host)
    except OSError as error:
        return type(error)(*error.args)
    except UnicodeError:
        return socket.gaierror(socket.EAI_NONAME, "not a host name")
    families: dict[int, list[str]] = {}
    for family, _, _, _, address in entries:
        families.setdefault(family, []).append(str(address[0]))
    turns = itertools.zip_longest(*families.values())
    found = list(dict.fromkeys(address for turn in turns for address in turn if address))
    return found or socket.gaierror(socket.EAI_NONAME, "no address")
