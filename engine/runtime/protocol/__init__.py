"""HTTP/1.x towards clients: what a connection may cost, which requests are understood, and what is closed.

    limits       how much and how long
    room         which connection makes room for a new one
    framing      a request's head → how its body is framed, or why it is refused
    cycle        one request and its answer, as ASGI and a little more
    connection   bytes ↔ cycles, deadlines, the client that leaves

Contract: whatever bytes come, a request is understood in one way alone or refused; what is refused goes to
the application as a request with a `fault`, so that it is told and logged as any other failure is.
Each imports only from those above it. Must not know mappings.
"""

from engine.runtime.protocol.connection import Connection
from engine.runtime.protocol.cycle import EXTENSION, Cycle
from engine.runtime.protocol.limits import Limits
from engine.runtime.protocol.room import Room

__all__ = ["EXTENSION", "Connection", "Cycle", "Limits", "Room"]
