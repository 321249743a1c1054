"""What mappings do, told: all that is served, one route, one request step by step, the generated Python.

Contract: pure; no upstream is called, and no secret is told: mappings are compiled without them. What is
told is entries, which whoever prints them lays out.

    entries          what is told
    upstreams        upstreams told
    routes           routes told
    python           the generated Python
    instrumentation  a route that tells what is decided on the way
    tracing          a request walked through
    explainer        all of it, from specs

Each imports only from those above it.
"""

from engine.explain.entries import Entry
from engine.explain.explainer import Explainer
from engine.explain.tracing import Request, StubResponse, Trace

__all__ = ["Entry", "Explainer", "Request", "StubResponse", "Trace"]
