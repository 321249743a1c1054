"""What the application needs to know of a request, and can do with its response, beyond ASGI.

    http1.Cycle       of our own HTTP/1.1 protocol: deadlines, and a short path for complete responses
    AsgiCycle         of any other ASGI server or application

Contract: every request that the application handles has a `RequestCycle` as `scope["extensions"][EXTENSION]`.
A client that disconnects cancels the task of the application, and `is_gone` is true then. A task that is
cancelled otherwise has an `interruption`, or is cancelled by the server.
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
        framing: whether there is a body, which host is named, and whether a web page made the request.
        fault: why the request is refused before a route is chosen, or None.
        is_gone: the client has disconnected.
    """

    path: str
    framing: Framing
    fault: ExchangeError | None
    is_gone: bool

    # --- The request's body

    async def receive(self) -> Any:
        """The next `http.request` or `http.disconnect`, with all keys; not called after the last piece.

        Raises:
            ExchangeError: the rest of the body is invalid or took too long.
        """

    def ignore_body(self) -> None:
        """Discard the body, which `receive` is not called for."""

    # --- The response

    @property
    def is_writable(self) -> bool:
        """Whether `respond` can be called, and `write` again before `drained`."""

    @property
    def wants_body(self) -> bool:
        """Whether the response that was started has a body."""

    async def send(self, message: Any) -> None:
        """Send a message of ASGI, after all that was written; raises as `drained`."""

    async def drained(self) -> None:
        """Wait until what was written is sent and the client reads fast enough.

        Raises:
            CancelledError: the client has disconnected.
        """

    def write(self, data: bytes) -> None:
        """Send a piece of the body, to be followed by `drained` where not `is_writable`."""

    def write_comment(self, data: bytes) -> None:
        """Send a piece of the body between two others, unless the last one is still being sent."""

    def respond(self, status: int, fields: Iterable[tuple[str, str]], data: bytes) -> None:
        """Send a complete response, framing included, if `is_writable` and no middleware wraps `send`."""

    def truncate(self) -> None:
        """End the response without its end marker, so that the client does not take it for complete."""

    # --- Cancellation

    def interruption(self) -> ExchangeError:
        """Why the task was cancelled, for the client; the cancellation is then over.

        Raises:
            CancelledError: the client has disconnected, or the server cancelled the task.
        """

    def settle(self) -> None:
        """Do not cancel the task from here on, as it releases what it holds."""


def has_cycle(scope: Any, receive: Any, send: Any) -> bool:
    """Whether our own protocol made a request and no middleware wraps its messages."""
    cycle: Cycle | None = (scope.get("extensions") or {}).get(EXTENSION)
    return cycle is not None and receive == cycle.receive and send == cycle.send
