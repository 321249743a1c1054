"""The interface between the application and one request: what the application needs in addition to ASGI.

    http1.Cycle       for our own HTTP/1.1 protocol: with deadlines and a fast path for complete responses
    AsgiCycle         for any other ASGI server

Contract: every request that the application handles has a `RequestCycle` as `scope["extensions"][EXTENSION]`.
A client disconnect sets `is_gone` and cancels the task of the application. For any other cancellation,
`interruption` returns its reason, or raises `CancelledError` if the server cancelled the task.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from engine.errors import ExchangeError
from engine.server.http1 import EXTENSION, Cycle
from engine.server.http1.framing import Framing


class RequestCycle(Protocol):
    """One request and its response.

    Attributes:
        path: the raw path below the mount point, percent-encoded; empty if there is none.
        framing: whether there is a body, the host, and whether a web page made the request.
        fault: the error with which the request is rejected before a route is selected, or None.
        is_gone: whether the client has disconnected.
    """

    path: str
    framing: Framing
    fault: ExchangeError | None
    is_gone: bool

    # --- The request's body

    async def receive(self) -> Any:
        """The next `http.request` or `http.disconnect` message, with all keys.

        Not called after the last piece.

        Raises:
            ExchangeError: the rest of the body is invalid or took too long.
        """

    def ignore_body(self) -> None:
        """Discard the body; `receive` is not called."""

    # --- The response

    @property
    def is_writable(self) -> bool:
        """Whether `respond` can be called, and `write` repeatedly without `drained`."""

    @property
    def wants_body(self) -> bool:
        """Whether the started response has a body."""

    async def send(self, message: Any) -> None:
        """Send an ASGI message after everything that was written; raises as `drained`."""

    async def drained(self) -> None:
        """Wait until everything written is sent and the client reads fast enough.

        Raises:
            CancelledError: the client has disconnected.
        """

    def write(self, data: bytes) -> None:
        """Send a piece of the body. Await `drained` afterwards unless `is_writable`."""

    def write_comment(self, data: bytes) -> None:
        """Send a piece of the body between two others, unless one is still being sent."""

    def respond(self, status: int, fields: Iterable[tuple[str, str]], data: bytes) -> None:
        """Send a complete response without ASGI messages; `fields` contain its framing.

        Call it only if `is_writable` and no middleware wraps `send`.
        """

    def truncate(self) -> None:
        """End the response incompletely, so that the client detects the truncation."""

    # --- Cancellation

    def interruption(self) -> ExchangeError:
        """The error for the client that explains why the task was cancelled; clears the cancellation.

        Raises:
            CancelledError: the client has disconnected, or the server cancelled the task.
        """

    def settle(self) -> None:
        """Do not cancel the task from here on, so that it can release its resources."""


def own_cycle(scope: Any, receive: Any, send: Any) -> Cycle | None:
    """The cycle of a request from our own protocol; None if middleware wraps its `receive` or `send`."""
    cycle: Cycle | None = (scope.get("extensions") or {}).get(EXTENSION)
    is_bare = cycle is not None and receive == cycle.receive and send == cycle.send
    return cycle if is_bare else None
