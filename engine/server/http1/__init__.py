"""HTTP/1.x towards clients: what a connection may cost, which requests are understood, and what is closed.

    limits            how much and how long
    connection_limit  which connection makes room for a new one
    framing           a request's head → how its body is framed, or why it is refused
    cycle             one request and its answer, as ASGI and a little more
    connection        bytes ↔ cycles, deadlines, the client that leaves

Contract: whatever bytes come, a request is understood in one way alone or refused; what is refused goes to
the application as a request with a `fault`, so that it is told and logged as any other failure is.
Each imports only from those above it. Must not know mappings.
"""

from engine.server.http1.connection import Connection
from engine.server.http1.connection_limit import Room
from engine.server.http1.cycle import EXTENSION, Cycle
from engine.server.http1.limits import Limits

__all__ = ["EXTENSION", "Connection", "Cycle", "Limits", "Room"]
