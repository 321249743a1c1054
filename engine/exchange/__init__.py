"""The pure middle: a request becomes a call, the call's reply an answer, a failure the client's dialect.

Contract: plain values in and out; no asyncio, no sockets. What goes wrong is an `ExchangeError`: the
client's fault where its body was being translated, the upstream's where its answer was.
Must not know any HTTP library, nor how anything is sent.

    evaluation   templates → values, and values → text and bytes
    sizes        what an exchange writes, within its limits
    dropped      the client's fields that a route does not carry over
    headers      header fields: of templates, and the engine's own
    health       whether an upstream is well: the question, and reports
    outbound     an answer's values → the answer
    steps        what an exchange asks for on its way
    inbound      the client's request: its key, its rate, its body
    call         the client's request → the call
    error_text   what an upstream says of its own failure
    failures     what failed → an `ExchangeError` → the client's dialect
    translation  the upstream's events → those of the client
    stream       an answer that is a stream of events
    reply        the upstream's reply → the answer
    keeping      answers that are given or taken again
    sending      one call, sent again where that is allowed
    several      calls that are made at the same time
    streamed     an answer made from the upstream's events
    forward      a request that goes through as it is
    builtin      answers of the engine's own
    whole        a whole exchange, from its beginning to its end
    usage        what an exchange has used, for its figures

Each imports only from those above it.
"""

from engine.exchange.dropped import unread
from engine.exchange.evaluation import evaluate
from engine.exchange.failures import no_route, too_large
from engine.exchange.health import (
    answered_report,
    failed_report,
    health_request,
    is_well,
    unasked_report,
)
from engine.exchange.steps import (
    Admit,
    AskHealth,
    AskMetrics,
    Branch,
    Keep,
    Later,
    LetGo,
    LookUp,
    MayRepeat,
    OpenBody,
    Pause,
    ReadBatch,
    ReadBody,
    ReadContent,
    SendCall,
    Step,
    Together,
)
from engine.exchange.stream import EventStream, EventWriter
from engine.exchange.translation import Batch
from engine.exchange.usage import usage_of
from engine.exchange.whole import Answered, Steps, answer, refusal

__all__ = [
    "Admit",
    "Answered",
    "AskHealth",
    "AskMetrics",
    "Batch",
    "Branch",
    "EventStream",
    "EventWriter",
    "Keep",
    "Later",
    "LetGo",
    "LookUp",
    "MayRepeat",
    "OpenBody",
    "Pause",
    "ReadBatch",
    "ReadBody",
    "ReadContent",
    "SendCall",
    "Step",
    "Steps",
    "Together",
    "answer",
    "answered_report",
    "evaluate",
    "failed_report",
    "health_request",
    "is_well",
    "no_route",
    "refusal",
    "too_large",
    "unasked_report",
    "unread",
    "usage_of",
]
