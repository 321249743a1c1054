"""Traces of exchanges: an OpenTelemetry span for each exchange, and one for each call.

Contract: while tracing is off, the client's trace context (W3C Trace Context, level 1) is forwarded and
nothing else is done. Spans contain names, statuses and times, never a query, a header or a payload. The only
importer of opentelemetry, an optional dependency, which is imported when tracing starts.
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
_SWITCHES: Final = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)
_OFF: Final = "none"


class _Tracing:
    """The package `opentelemetry.trace`, the tracer provider and the tracer; None while tracing is off."""

    def __init__(self) -> None:
        self.api: Any = None
        self.provider: Any = None
        self.tracer: Any = None


_tracing: Final = _Tracing()


def start(environ: Mapping[str, str]) -> str | None:
    """Start tracing if the environment enables it. Returns the reason if that is not possible, else None."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "otlp")
    is_enabled = any(environ.get(name) for name in _SWITCHES) and exporter != _OFF
    if not is_enabled or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if exporter != "otlp":
        return f"OTEL_TRACES_EXPORTER: unknown exporter (supported: 'otlp' and '{_OFF}')"
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return "traces need the extra 'otel': pip install 'dragoman[otel]'"
    use(BatchSpanProcessor(OTLPSpanExporter()))
    return None


def use(processor: Any) -> None:
    """Start tracing with a span processor of OpenTelemetry."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    own = Resource({"service.name": "dragoman", "service.version": distribution_version()})
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override these.
    configured = Resource.create().attributes
    overrides = {key: value for key, value in configured.items() if value != "unknown_service"}
    _tracing.api = trace
    _tracing.provider = TracerProvider(resource=own.merge(Resource(overrides)))
    _tracing.provider.add_span_processor(processor)
    _tracing.tracer = _tracing.provider.get_tracer("dragoman", distribution_version())


def stop() -> None:
    """Stop tracing; blocks until the remaining spans are sent, or sending failed."""
    if _tracing.provider is not None:
        _tracing.provider.shutdown()
        _tracing.provider = _tracing.tracer = None


# --- Exchanges -------------------------------------------------------------------------------------------


def begin(inbound: Inbound) -> Any:
    """Start the span of an exchange, the parent of the spans of its calls; None while tracing is off."""
    if _tracing.tracer is None:
        return None
    attributes = {"http.request.method": inbound.method, "url.path": inbound.path, "url.scheme": "http"}
    span = _span(inbound.method, "SERVER", _parent_of(inbound), attributes)
    inbound.trace = _traceparent(span)
    return span


def end(span: Any, result: ExchangeResult) -> None:
    """End the span of a finished exchange; `span` is the result of `begin`."""
    if span is None:
        return
    status = result.response.status
    _add_route(span, result)
    span.set_attribute("http.response.status_code", status)
    if result.events:
        elapsed = time.monotonic_ns() - result.first_event_ns
        span.add_event("first event", timestamp=time.time_ns() - elapsed)
        span.add_event("end of stream", {"dragoman.events": result.events})
    if result.error is not None:
        span.set_attribute("error.type", result.error.kind)
    if status >= 500 or (result.error is not None and result.events):
        span.set_status(_tracing.api.StatusCode.ERROR)
    span.end()


def _add_route(span: Any, result: ExchangeResult) -> None:
    """Add the route and the mapping of an exchange to its span."""
    route, mapping = result.route, result.mapping
    if route is not None:
        span.update_name(f"{route.method} {route.pattern}")
        span.set_attribute("http.route", route.pattern)
    if mapping is not None:
        span.set_attribute("dragoman.mapping", mapping.name)


def abandon(span: Any) -> None:
    """End the span of an exchange whose client disconnected."""
    if span is not None:
        span.set_attribute("error.type", "client_disconnected")
        span.end()


# --- Calls -----------------------------------------------------------------------------------------------


def begin_call(inbound: Inbound, step: SendCall) -> Any:
    """Start the span of a call and put its trace context into the request.

    While tracing is off, returns None, and the request carries the trace context of the client.
    """
    request = step.request
    if _tracing.tracer is None:
        parent = _parent_of(inbound)
        if parent is not None and not any(name == "traceparent" for name, _ in request.headers):
            request.headers = (*request.headers, *_context_fields(inbound, parent))
        return None
    attributes = {
        "http.request.method": request.method,
        "dragoman.mapping": step.mapping.name,
        "dragoman.upstream": step.upstream.name,
        "server.address": step.upstream.origin or f"mapping:{step.upstream.mapping}",
    }
    span = _span(request.method, "CLIENT", inbound.trace or _parent_of(inbound), attributes)
    others = (field for field in request.headers if field[0] not in ("traceparent", "tracestate"))
    request.headers = (*others, *_context_fields(inbound, _traceparent(span)))
    return span


def end_call(span: Any, outcome: int | ExchangeError) -> None:
    """End the span of a call with the status of its response, or its error."""
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
    """End the span of a call when its response ends: now, or with the body of a streaming response."""
    if span is None:
        return
    if response.source is None:
        end_call(span, response.status)
        return
    span.add_event("response head")
    response.source = _TracedSource(response.source, span, response.status)


class _TracedSource(PumpByNext):
    """The body of a response; the span of its call ends when the body ends or is closed."""

    __slots__ = ("_source", "_span", "_status")

    def __init__(self, source: Any, span: Any, status: int) -> None:
        self._source = source
        self._span = span
        self._status = status

    async def next(self) -> Any:
        """The next batch; None at the end."""
        try:
            batch = await self._source.next()
        except ExchangeError as error:
            self._end(error)
            raise
        if batch is None:
            self._end(self._status)
        return batch

    async def content(self, limit: int) -> Content:
        """The rest of the body, at most `limit` bytes."""
        try:
            content: Content = await self._source.content(limit)
        except ExchangeError as error:
            self._end(error)
            raise
        self._end(self._status)
        return content

    async def aclose(self) -> None:
        """Close the source and end the span."""
        self._end(self._status)
        await self._source.aclose()

    def _end(self, outcome: int | ExchangeError) -> None:
        span, self._span = self._span, None
        end_call(span, outcome)


def _context_fields(inbound: Inbound, parent: str | None) -> Headers:
    """The header fields of a trace context; `tracestate` only if the client's `traceparent` is valid."""
    if parent is None:
        return ()
    state = inbound.header("tracestate")
    is_valid = state is not None and _STATE.match(state) and _parent_of(inbound) is not None
    return (("traceparent", parent), *((("tracestate", str(state)),) if is_valid else ()))


def _parent_of(inbound: Inbound) -> str | None:
    """The client's `traceparent`; None if it is absent or invalid."""
    parent = inbound.header("traceparent")
    return parent if parent is not None and _PARENT.match(parent) else None


def _span(name: str, kind: str, parent: str | None, attributes: dict[str, Any]) -> Any:
    trace = _tracing.api
    context = None
    match = _PARENT.match(parent) if parent else None
    if match is not None:
        ids = int(match[1], 16), int(match[2], 16)
        remote = trace.SpanContext(*ids, is_remote=True, trace_flags=trace.TraceFlags(int(match[3], 16)))
        context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    span_kind = getattr(trace.SpanKind, kind)
    return _tracing.tracer.start_span(name, context=context, kind=span_kind, attributes=attributes)


def _traceparent(span: Any) -> str:
    """The context of a span as the header field `traceparent`."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
