"""The pure middle: a request becomes a call, the call's reply an answer, a failure the client's dialect.

Contract: plain values in and out; no asyncio, no sockets. What goes wrong is an `ExchangeError`: the
client's fault where its body was being translated, the upstream's where its answer was.
Must not know any HTTP library, nor how anything is sent.

    exchange             a request, its response and its state
    evaluation           templates → values, and values → text and bytes
    output_limits        what an exchange writes, within its limits
    unread_fields        the client's fields that a route does not carry over
    headers              header fields: of templates, and the engine's own
    health_check         whether an upstream is well: the question, and reports
    response_content     an answer's values → the answer
    effects              what an exchange asks for on its way
    request              the client's request: its key, its rate, its body
    call                 the client's request → the call
    upstream_error_text  what an upstream says of its own failure
    errors               what failed → an `ExchangeError` → the client's dialect
    stream_translation   the upstream's events → those of the client
    response_source      the body of an upstream's response, read as it arrives
    event_stream         an answer that is a stream of events
    response             the upstream's reply → the answer
    caching              answers that are given or taken again
    retry                one call, sent again where that is allowed
    parallel_calls       calls that are made at the same time
    stream_response      an answer made from the upstream's events
    passthrough          a request that goes through as it is
    builtin_responses    answers of the engine's own
    run                  a whole exchange, from its beginning to its end
    usage                what an exchange has used, for its metrics

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
    OpenBody,
    ReadBatch,
    ReadBody,
    ReadContent,
    Release,
    RenderMetrics,
    RunParallel,
    SendCall,
    Sleep,
    Step,
)
from engine.exchange.errors import no_route, too_large
from engine.exchange.evaluation import evaluate
from engine.exchange.event_stream import EventStream, EventWriter
from engine.exchange.health_check import (
    failed_report,
    health_request,
    is_healthy,
    response_report,
    skipped_report,
)
from engine.exchange.run import ExchangeResult, Steps, answer, refusal
from engine.exchange.stream_translation import Batch
from engine.exchange.unread_fields import unread
from engine.exchange.usage import usage_of

__all__ = [
    "AcquireRetry",
    "Admit",
    "Batch",
    "BatchTimeout",
    "Branch",
    "CacheLookup",
    "CacheStore",
    "CheckHealth",
    "EventStream",
    "EventWriter",
    "ExchangeResult",
    "OpenBody",
    "ReadBatch",
    "ReadBody",
    "ReadContent",
    "Release",
    "RenderMetrics",
    "RunParallel",
    "SendCall",
    "Sleep",
    "Step",
    "Steps",
    "answer",
    "evaluate",
    "failed_report",
    "health_request",
    "is_healthy",
    "no_route",
    "refusal",
    "response_report",
    "skipped_report",
    "too_large",
    "unread",
    "usage_of",
]
