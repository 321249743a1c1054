"""Traces of exchanges: a span for each, and one for each call, as OpenTelemetry has them.

Contract: without tracing a client's trace context (W3C Trace Context, level 1) is passed on and nothing else
is done. Spans tell names, statuses and times: never a query, a header or a payload.
The only importer of opentelemetry, an extra, which is imported once tracing is switched on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange import ExchangeResult, SendCall
from engine.exchange.response_source import PumpByNext
from engine.http.messages import Content, Headers, Inbound, UpstreamResponse
from engine.resources import distribution_version

#: W3C Trace Context, 3.2.2: neither id is all zeros.
_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})\Z")
_STATE = re.compile(r"[\x20-\x7e]{1,512}\Z")
_ASKED: Final = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OFF: Final = "none"


class _Tracing:
    """`api` is the package, `provider` what makes spans; None while tracing is off."""

    def __init__(self) -> None:
        self.api: Any = None
        self.provider: Any = None
        self.tracer: Any = None


_tracing: Final = _Tracing()


def start(environ: Mapping[str, str]) -> str | None:
    """Switch tracing on where the environment asks for it; what keeps it from that, or None."""
    wanted = environ.get("OTEL_TRACES_EXPORTER", "otlp")
    is_asked = any(environ.get(name) for name in _ASKED) and wanted != _OFF
    if not is_asked or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if wanted != "otlp":
        return f"OTEL_TRACES_EXPORTER: there is 'otlp' and '{_OFF}' alone"
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return "traces need the extra 'otel': pip install 'dragoman[otel]'"
    use(BatchSpanProcessor(OTLPSpanExporter()))
    return None


def use(processor: Any) -> None:
    """Give spans to a processor of OpenTelemetry's."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    own = Resource({"service.name": "dragoman", "service.version": distribution_version()})
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before.
    told = {key: value for key, value in Resource.create().attributes.items() if value != "unknown_service"}
    _tracing.api = trace
    _tracing.provider = TracerProvider(resource=own.merge(Resource(told)))
    _tracing.provider.add_span_processor(processor)
    _tracing.tracer = _tracing.provider.get_tracer("dragoman", distribution_version())


def stop() -> None:
    """Send what is left; blocks until it is sent, or cannot be."""
    if _tracing.provider is not None:
        _tracing.provider.shutdown()
        _tracing.provider = _tracing.tracer = None


# --- Exchanges -------------------------------------------------------------------------------------------


def begin(inbound: Inbound) -> Any:
    """The span of an exchange, from now on the parent of its calls; None while tracing is off."""
    if _tracing.tracer is None:
        return None
    attributes = {"http.request.method": inbound.method, "url.path": inbound.path, "url.scheme": "http"}
    span = _span(inbound.method, "SERVER", _parent_of(inbound), attributes)
    inbound.trace = _written(span)
    return span


def end(span: Any, result: ExchangeResult) -> None:
    """An exchange has come to its end; `span` is what `begin` gave."""
    if span is None:
        return
    route, mapping, status = result.route, result.mapping, result.response.status
    if route is not None:
        span.update_name(f"{route.method} {route.pattern}")
        span.set_attribute("http.route", route.pattern)
    if mapping is not None:
        span.set_attribute("dragoman.mapping", mapping.name)
    span.set_attribute("http.response.status_code", status)
    if result.events:
        passed = time.monotonic_ns() - result.first_event_ns
        span.add_event("first event", timestamp=time.time_ns() - passed)
        span.add_event("end of stream", {"dragoman.events": result.events})
    if result.error is not None:
        span.set_attribute("error.type", result.error.kind)
    if status >= 500 or (result.error is not None and result.events):
        span.set_status(_tracing.api.StatusCode.ERROR)
    span.end()


def abandon(span: Any) -> None:
    """The client of an exchange has left."""
    if span is not None:
        span.set_attribute("error.type", "client_disconnected")
        span.end()


# --- Calls -----------------------------------------------------------------------------------------------


def begin_call(inbound: Inbound, step: SendCall) -> Any:
    """The span of a call, None while tracing is off; in both cases the call carries the trace context."""
    request = step.request
    if _tracing.tracer is None:
        parent = _parent_of(inbound)
        if parent is not None and not any(name == "traceparent" for name, _ in request.headers):
            request.headers = (*request.headers, *_carried(inbound, parent))
        return None
    attributes = {
        "http.request.method": request.method,
        "dragoman.mapping": step.mapping.name,
        "dragoman.upstream": step.upstream.name,
        "server.address": step.upstream.origin or f"mapping:{step.upstream.mapping}",
    }
    span = _span(request.method, "CLIENT", inbound.trace or _parent_of(inbound), attributes)
    others = (field for field in request.headers if field[0] not in ("traceparent", "tracestate"))
    request.headers = (*others, *_carried(inbound, _written(span)))
    return span


def end_call(span: Any, outcome: int | ExchangeError) -> None:
    """A call was answered with a status, or failed."""
    if span is None:
        return
    if isinstance(outcome, ExchangeError):
        span.set_attribute("error.type", outcome.how or outcome.kind)
    else:
        span.set_attribute("http.response.status_code", outcome)
        if outcome >= 400:
            span.set_attribute("error.type", str(outcome))
    if isinstance(outcome, ExchangeError) or outcome >= 400:
        span.set_status(_tracing.api.StatusCode.ERROR)
    span.end()


def follow(span: Any, response: UpstreamResponse) -> None:
    """A call was answered; of an answer that is read as it comes the span ends with its body."""
    if span is None:
        return
    if response.source is None:
        end_call(span, response.status)
        return
    span.add_event("head of the answer")
    response.source = _TracedSource(response.source, span, response.status)


class _TracedSource(PumpByNext):
    """The body of an answer, with whose end or closing the span of its call ends."""

    __slots__ = ("_source", "_span", "_status")

    def __init__(self, source: Any, span: Any, status: int) -> None:
        self._source = source
        self._span = span
        self._status = status

    async def next(self) -> Any:
        """What comes next; None at the end."""
        try:
            batch = await self._source.next()
        except ExchangeError as error:
            self._end(error)
            raise
        if batch is None:
            self._end(self._status)
        return batch

    async def content(self, limit: int) -> Content:
        """All that still comes, at most so many bytes."""
        try:
            content: Content = await self._source.content(limit)
        except ExchangeError as error:
            self._end(error)
            raise
        self._end(self._status)
        return content

    async def aclose(self) -> None:
        """Read no more."""
        self._end(self._status)
        await self._source.aclose()

    def _end(self, outcome: int | ExchangeError) -> None:
        span, self._span = self._span, None
        end_call(span, outcome)


def _carried(inbound: Inbound, parent: str | None) -> Headers:
    """The header fields of a trace context; vendors' state goes with its parent alone."""
    if parent is None:
        return ()
    state = inbound.header("tracestate")
    is_sound = state is not None and _STATE.match(state) and _parent_of(inbound) is not None
    return (("traceparent", parent), *((("tracestate", str(state)),) if is_sound else ()))


def _parent_of(inbound: Inbound) -> str | None:
    """The trace context that the client sent, if it is one."""
    told = inbound.header("traceparent")
    return told if told is not None and _PARENT.match(told) else None


def _span(name: str, kind: str, parent: str | None, attributes: dict[str, Any]) -> Any:
    trace = _tracing.api
    context = None
    match = _PARENT.match(parent) if parent else None
    if match is not None:
        ids = int(match[1], 16), int(match[2], 16)
        before = trace.SpanContext(*ids, is_remote=True, trace_flags=trace.TraceFlags(int(match[3], 16)))
        context = trace.set_span_in_context(trace.NonRecordingSpan(before))
    span_kind = getattr(trace.SpanKind, kind)
    return _tracing.tracer.start_span(name, context=context, kind=span_kind, attributes=attributes)


def _written(span: Any) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
