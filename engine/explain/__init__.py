"""What mappings do, told: all that is served, one route, one request step by step, the generated Python.

Contract: pure; no upstream is called, and no secret is told: mappings are compiled without them. What is
told is entries, which whoever prints them lays out.

    entries      what is told
    upstreams    upstreams told
    routes       routes told
    python       the generated Python
    watching     a route that tells what is decided on the way
    walking      a request walked through
    whole        all of it, from specs

Each imports only from those above it.
"""

from engine.explain.entries import Entry
from engine.explain.walking import Answer, Request, Walk
from engine.explain.whole import Explainer

__all__ = ["Answer", "Entry", "Explainer", "Request", "Walk"]
