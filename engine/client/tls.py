"""TLS towards upstreams: the system's trust, where a mapping does not say otherwise."""

from __future__ import annotations

import ssl
from functools import cache

from engine.plan import UpstreamPlan


def context_of(plan: UpstreamPlan, *protocols: str) -> ssl.SSLContext:
    """The context of an upstream, for these protocols of ALPN (RFC 7301).

    One that its mapping describes was made when that was loaded, and is its own; the system's is shared.
    """
    if plan.tls is None:
        return system_context(*protocols)
    plan.tls.set_alpn_protocols(list(protocols))
    return plan.tls


@cache
def system_context(*protocols: str) -> ssl.SSLContext:
    """The system's trust, made once: that takes some 30 ms."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
