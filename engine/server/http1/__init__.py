"""HTTP/1.x for clients: the limits of connections, which requests are valid, and when connections close.

    limits            sizes, times and numbers of connections
    connection_limit  which connection to close when a new one exceeds the limit
    framing           the head of a request → the framing of its body, or the reason to refuse it
    cycle             one request and its response: ASGI with extensions
    connection        bytes ↔ cycles, deadlines, disconnects

Contract: a request that could be read in two ways is refused. The application receives a refused request with
a `fault`, so that its error has the same format and log record as any other.
Each module imports only from those above it. Must not know mappings.
"""

from engine.server.http1.connection import Connection
from engine.server.http1.connection_limit import ConnectionLimit
from engine.server.http1.cycle import EXTENSION, Cycle
from engine.server.http1.limits import Limits

__all__ = ["EXTENSION", "Connection", "ConnectionLimit", "Cycle", "Limits"]
