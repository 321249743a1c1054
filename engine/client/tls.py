"""TLS contexts for upstreams: the system's trust store, unless the mapping configures TLS."""

from __future__ import annotations

import ssl
from functools import cache

from engine.plan import UpstreamPlan


def context_of(plan: UpstreamPlan, *protocols: str) -> ssl.SSLContext:
    """The TLS context of an upstream, with these ALPN protocols (RFC 7301).

    A context that the mapping configures was made at load time and belongs to the upstream; the system
    context is shared.
    """
    if plan.tls is None:
        return system_context(*protocols)
    plan.tls.set_alpn_protocols(list(protocols))
    return plan.tls


@cache
def system_context(*protocols: str) -> ssl.SSLContext:
    """A context with the system's trust store. Cached, because it takes about 30 ms to create."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
