"""What clients may cost: bytes, seconds, connections. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of serving; times are in seconds, and kept to about a quarter of one.

    Attributes:
        target_bytes: of the request target; 414 above.
        head_bytes, fields: of request line and header fields together, and their number; 431 above.
        head: from the first byte of a request to the end of its head; 408.
        body: for the body, and one more for every `body_rate` bytes that came: so a body that drips is ended
            and a large one over a slow line is not. Only the time in which the body is waited for counts.
        body_idle: without a byte of a body that is waited for.
        keep_alive: without a request, before the first as after any other.
        send: without the client taking anything of what is sent to it.
        linger, linger_bytes: what a client may still send of a body that nobody reads: closing at once would
            reset the connection, and the answer would be lost.
        connections: open at a time; None for as many as descriptors allow. For one above it the one is closed
            which has waited longest for a whole head.
        in_flight: exchanges at a time; 503 above.
        storage: where clients' requests are counted: `memory://`, or the URL of a Redis.
        trusted_proxies: networks, with commas between them, whose `X-Forwarded-For` is believed.
        allowed_hosts: names of this server, with commas between them, beside those of the machine itself.
        grace: from the signal that ends the process to its end.
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
