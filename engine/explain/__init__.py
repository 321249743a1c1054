"""Explains mappings: all routes, one route, the trace of one request, the generated Python.

Contract: pure; no upstream is called. No secret is shown: mappings are compiled without them. The result is a
tree of entries; the caller formats it.

    entries          the tree of entries
    mappings         entries of mappings
    upstreams        entries of upstreams
    routes           entries of routes
    python           entries of generated Python
    instrumentation  route plans that report their decisions
    tracing          the trace of a request
    explainer        the API, created from specs

Each module imports only from those above it.
"""

from engine.explain.entries import Entry
from engine.explain.explainer import Explainer
from engine.explain.tracing import Request, StubResponse, Trace

__all__ = ["Entry", "Explainer", "Request", "StubResponse", "Trace"]
