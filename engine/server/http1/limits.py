"""Limits on what clients may use: bytes, seconds, connections. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server, and the settings that concern clients.

    Times are in seconds, and enforced to within a quarter of a second.

    Attributes:
        target_bytes: the size of the request target; 414 above.
        head_bytes, fields: the size of the request line and header fields together, and the number of fields;
            431 above.
        head: the time from the first byte of a request to the end of its head; 408 after.
        body: the time for the body, plus one second for every `body_rate` bytes received. This ends a body
            that arrives very slowly, but not a large body on a slow connection. Only the time in which the
            server waits for the body counts.
        body_idle: the time without a byte of the body, while the server waits for it.
        keep_alive: the time without a request, before the first one and after any other.
        send: the time in which the client accepts none of the data sent to it.
        linger, linger_bytes: the time and the bytes for which an unread body is received and discarded.
            Closing the connection at once would reset it, and the client would lose the response.
        connections: the number of open connections; None for as many as file descriptors allow. Above it, the
            connection is closed that has waited longest for a complete request head.
        in_flight: the number of concurrent exchanges; 503 above.
        storage: the storage of request counters: `memory://`, or a Redis URL.
        trusted_proxies: comma-separated networks whose `X-Forwarded-For` is trusted.
        allowed_hosts: comma-separated names of this server, in addition to those of the machine.
        grace: the time from the signal that ends the process to its exit.
    """

    target_bytes: int = 8 * 1024
    head_bytes: int = 64 * 1024
    fields: int = 100
    head: float = 10.0
    body: float = 10.0
    body_rate: int = 4 * 1024
    body_idle: float = 30.0
    keep_alive: float = 5.0
    send: float = 60.0
    linger: float = 2.0
    linger_bytes: int = 64 * 1024 * 1024
    connections: int | None = None
    in_flight: int = 1000
    storage: str = field(default="memory://", repr=False)
    trusted_proxies: str = ""
    allowed_hosts: str = ""
    grace: float = 30.0
