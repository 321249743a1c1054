"""Selection of the adapter for an upstream."""

from __future__ import annotations

import ssl

from engine.client.http1 import Http1Upstream
from engine.client.upstream import Upstream
from engine.observability import logs
from engine.plan import UpstreamPlan


def open_upstream(plan: UpstreamPlan) -> Upstream:
    """The adapter of an upstream that is a server. It connects on the first call."""
    if plan.tls is not None and plan.tls.verify_mode is ssl.CERT_NONE:
        logs.warning("tls_unverified", upstream=plan.name)
    return _other_upstream(plan) if plan.http2 or plan.proxy is not None else Http1Upstream(plan)


def _other_upstream(plan: UpstreamPlan) -> Upstream:
    """The adapter for HTTP/2 and proxies. Its library is imported only if needed."""
    from engine.client.http2 import Http2Upstream

    return Http2Upstream(plan)
