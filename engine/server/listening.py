"""Sockets that listen on an address, and why an address cannot be used.

Contract: an address is bound before anything is served, so that a failure is one log line in plain words.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from engine.observability import logs

#: Connections that wait to be accepted.
_BACKLOG: Final = 2048
#: Ports below this one need a privilege on most systems.
_FIRST_UNPRIVILEGED: Final = 1024


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on the first address of a host.

    Raises:
        OSError: The address cannot be resolved or bound.
    """
    return _bind(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0])


def bind_all(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on all addresses of a host; those of `localhost` may be IPv4 and IPv6.

    An address that the machine does not have is skipped if there is another one: `localhost` may resolve to
    `::1` where IPv6 is disabled.

    Raises:
        OSError: The host cannot be resolved, or an address cannot be bound.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    missing: OSError | None = None
    for information in dict.fromkeys(found):
        try:
            bound.append(_bind(information))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for other in bound:
                    other.close()
                raise
            missing = error
    if missing is not None and not bound:
        raise missing
    return bound


def _bind(information: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    family, kind, protocol, _, address = information
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # On Windows this option lets another process bind an address that is in use.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def log_listen_failure(
    address: tuple[str, int], error: OSError, host_option: str = "--host", port_option: str = "--port"
) -> None:
    """Log that an address cannot be bound, and the option to change."""
    message = _describe(*address, error, host_option, port_option)
    logs.error("listen_failed", host=address[0], port=address[1], message=message)


def _describe(host: str, port: int, error: OSError, host_option: str, port_option: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"unknown host '{host}'; set {host_option} to an address of this machine"
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} is already in use; choose another with {port_option}"
        case errno.EACCES | errno.EPERM:
            advice = f"choose a port from {_FIRST_UNPRIVILEGED} with {port_option}"
            return f"no permission to listen on port {port}; {advice}"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine; choose another with {host_option}"
    return f"cannot listen on port {port} of {host}: {error.strerror or error}"
