"""Resolution of host names by the operating system.

Contract: a slow lookup delays only the callers of its own host. A lookup cannot be cancelled, so each one has
a daemon thread instead of a thread of the event loop's pool, which all names would share. Concurrent callers
of a host share one lookup, and its result is cached for a few seconds. There is no timeout: the caller sets
one.
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

#: Seconds for which addresses are cached. The system does not report their TTL.
_CACHE_SECONDS: Final = 5.0
#: Seconds after which a lookup counts as stuck and another one is started, and the maximum number of
#: concurrent lookups of a host.
_STUCK_SECONDS: Final = 15.0
_MAX_LOOKUPS: Final = 4

#: Addresses, or the error of the lookup.
_Result = list[str] | OSError


@dataclass(slots=True)
class _Lookup:
    """A lookup in progress; `started_at` is a time of the event loop."""

    started_at: float
    result: asyncio.Future[_Result]


@dataclass(slots=True)
class _CachedAddresses:
    """Addresses that are cached until `expires_at`, a time of the event loop."""

    addresses: list[str]
    expires_at: float


class Resolver:
    """The resolver of one event loop."""

    def __init__(self) -> None:
        self._cache: dict[str, _CachedAddresses] = {}
        self._running: dict[str, list[_Lookup]] = {}

    async def addresses(self, host: str) -> list[str]:
        """The addresses of a host, at least one: IPv6 and IPv4 alternate, each in the system's order.

        Raises:
            OSError: the lookup failed, or the host has no address.
        """
        if is_address(host):
            return [host]
        cached = self._cache.get(host)
        if cached is not None and asyncio.get_running_loop().time() < cached.expires_at:
            return cached.addresses.copy()
        # A caller that is cancelled must not cancel the lookup for the others.
        result = await asyncio.shield(self._lookup(host).result)
        if isinstance(result, OSError):
            # A new exception for each caller: a shared one would accumulate the frames of all of them.
            raise type(result)(*result.args)
        return result.copy()

    def forget(self, host: str) -> None:
        """Remove the cached addresses of a host that could not be reached."""
        self._cache.pop(host, None)

    def _lookup(self, host: str) -> _Lookup:
        """The latest lookup in progress, or a new one."""
        loop, running = asyncio.get_running_loop(), self._running.setdefault(host, [])
        now = loop.time()
        if running and (now - running[-1].started_at < _STUCK_SECONDS or len(running) >= _MAX_LOOKUPS):
            return running[-1]
        lookup = _Lookup(now, loop.create_future())
        running.append(lookup)
        thread = threading.Thread(
            target=_run_lookup,
            args=(host, loop, lambda result: self._finish(host, lookup, result)),
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:
            self._finish(host, lookup, OSError("no thread for a name lookup"))
        return lookup

    def _finish(self, host: str, lookup: _Lookup, result: _Result) -> None:
        running = self._running[host]
        running.remove(lookup)
        if not running:
            del self._running[host]
        if isinstance(result, list):
            self._cache[host] = _CachedAddresses(result, asyncio.get_running_loop().time() + _CACHE_SECONDS)
        if not lookup.result.done():
            lookup.result.set_result(result)


_resolvers: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Resolver]] = WeakKeyDictionary()


def resolver() -> Resolver:
    """The resolver of the running event loop."""
    loop = asyncio.get_running_loop()
    result = _resolvers.get(loop)
    if result is None:
        result = _resolvers[loop] = Resolver()
    return result


def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def system_lookup(host: str) -> list[Any]:
    """The entries of `getaddrinfo` for a host. Blocks."""
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)


def _run_lookup(host: str, loop: asyncio.AbstractEventLoop, done: Callable[[_Result], None]) -> None:
    """Run a lookup in a thread."""
    result = _look_up(host)
    # The event loop may have been closed meanwhile.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(done, result)


def _look_up(host: str) -> _Result:
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
    result = list(dict.fromkeys(address for turn in turns for address in turn if address))
    return result or socket.gaierror(socket.EAI_NONAME, "no address")
