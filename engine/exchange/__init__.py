"""One exchange without I/O: client request → upstream call → response, or an error in the error format.

Contract: plain values in and out; no asyncio, no sockets. Every failure is an `ExchangeError`: the client's
fault if it occurs while the request is translated, the upstream's while its response is.
Must not know any HTTP library, nor how a request is sent.

    exchange             a request, its response and its state
    evaluation           templates → values, and values → text and bytes
    output_limits        limits on the bytes that an exchange writes
    unread_fields        fields of the client's body that a route does not carry over
    reports              dropped fields and calls, for headers and for the mapping that called this one
    headers              header fields of templates, and of the engine
    outgoing             a request with the credentials of its upstream
    health_check         the request of a health check, and its reports
    response_content     values of a template → `Response`
    effects              requests of an exchange to its runner
    request              the client's request: key, rate limits, body
    call                 the client's request → the call
    upstream_error_text  the error text of a failed upstream response
    errors               failures → `ExchangeError` → response in the client's error format
    stream_translation   the upstream's events → the client's events
    response_source      response bodies that are read batch by batch
    event_stream         responses that are streams of events
    response             the upstream's response → the response to the client
    caching              cache keys, and which responses may be cached
    retry                one call with its retries
    parallel_calls       concurrent calls of one attempt
    stream_response      streams of events, read from an upstream
    usage_counts         the template `usage` of a route → numbers of tokens
    pipeline_response    responses of pipelines
    passthrough          requests that are forwarded unchanged
    builtin_responses    responses of `builtin` routes
    run                  a complete exchange
    usage                tokens that an exchange used, for metrics

Each imports only from those above it.
"""

from engine.exchange.effects import (
    AcquireRetry,
    Admit,
    BatchTimeout,
    Branch,
    CacheLookup,
    CacheStore,
    CheckHealth,
    Effect,
    Effects,
    OpenBody,
    ReadBatch,
    ReadBody,
    ReadContent,
    Release,
    RenderMetrics,
    RunParallel,
    SendCall,
    Sleep,
)
from engine.exchange.errors import no_route, too_large
from engine.exchange.evaluation import evaluate
from engine.exchange.event_stream import EventStream, EventStreamResponse, EventWriter, Response
from engine.exchange.health_check import (
    failed_report,
    health_request,
    is_healthy,
    response_report,
    skipped_report,
)
from engine.exchange.reports import report_of
from engine.exchange.run import ExchangeResult, ExchangeRun, rejected, run_exchange
from engine.exchange.stream_translation import Translation
from engine.exchange.unread_fields import unread
from engine.exchange.usage import usage_of

__all__ = [
    "AcquireRetry",
    "Admit",
    "BatchTimeout",
    "Branch",
    "CacheLookup",
    "CacheStore",
    "CheckHealth",
    "Effect",
    "Effects",
    "EventStream",
    "EventStreamResponse",
    "EventWriter",
    "ExchangeResult",
    "ExchangeRun",
    "OpenBody",
    "ReadBatch",
    "ReadBody",
    "ReadContent",
    "Release",
    "RenderMetrics",
    "Response",
    "RunParallel",
    "SendCall",
    "Sleep",
    "Translation",
    "evaluate",
    "failed_report",
    "health_request",
    "is_healthy",
    "no_route",
    "rejected",
    "report_of",
    "response_report",
    "run_exchange",
    "skipped_report",
    "too_large",
    "unread",
    "usage_of",
]
