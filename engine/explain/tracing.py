"""Traces a request step by step, without calling upstreams.

Contract: the steps are the decisions and the calls, in order. The response to a call is a stub, or produced
by another mapping of the set. Without one the trace ends there, except for calls that do not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import unquote

from engine.codecs import FRAMINGS
from engine.compiler.masking import Mask
from engine.errors import CALL_FAILURES, call_failed
from engine.exchange import ExchangeResult, SendCall, no_route, report_of, run_exchange
from engine.exchange.exchange import Exchange
from engine.explain.entries import Entry
from engine.explain.instrumentation import instrumented
from engine.explain.routes import name_of
from engine.explain.upstreams import url_of
from engine.http.fields import FRAMING_FIELDS
from engine.http.messages import EMPTY, JSON, Content, Headers, Inbound, UpstreamResponse
from engine.http.request_target import literal_path
from engine.http.routing import Leaf, Match
from engine.locations import Node
from engine.plan import PlanMatch, PlanSet
from engine.testing.offline import Halt, MissingStub, OfflineSource, carry_out, describe_error, received
from engine.values import ABSENT, JsonError

_REQUEST_ID = "explain"
#: Header fields of every call, which do not depend on the mapping.
_USUAL = frozenset(("user-agent", "accept", "accept-encoding", "x-request-id"))


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request: header names in any case, the body as bytes, empty for none."""

    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class StubResponse:
    """The result of a call: a response, whose media type is guessed from its body, or one of `FAILURES`."""

    FAILURES: ClassVar = tuple(CALL_FAILURES)

    status: int = 200
    body: bytes = b""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of a request, and whether the request failed."""

    steps: tuple[Entry, ...]
    has_failed: bool = False


@dataclass(slots=True)
class _Tracer:
    """Replaces all upstreams, and records the steps."""

    plans: PlanSet
    mask: Mask
    responses: list[StubResponse]
    steps: list[Entry] = field(default_factory=list)
    exchange: Exchange | None = None
    _last: tuple[str, Node | None] = ("call", None)
    _response_at: int = 0
    _pieces: list[bytes] = field(default_factory=list)
    _media_type: str = ""

    # Decisions

    def note(self, label: str, node: Node, holds: bool | None, exchange: Any) -> None:
        self.exchange = exchange
        self._last = (label, node)
        is_call = label.startswith(("call", "forward"))
        if holds is None or (holds and is_call):
            return  # the step for the call shows it
        verb = "made" if is_call else "selected"
        step = Entry(label, "selected" if holds else f"not {verb}: condition is false", node.key_span)
        if step not in self.steps[self._response_at :]:
            self.steps.append(step)

    # Calls and their responses

    def send(self, step: SendCall) -> UpstreamResponse:
        if step.upstream.mapping in self.plans.mappings:
            response = self._internal_response(step)
        else:
            self.steps.append(self._call(step))
            response = self._stub_response(step)
        self._response_at = len(self.steps)
        if step.streams:
            self._pieces, self._media_type = [response.content.data], response.content.media_type
            response.content, response.source = EMPTY, OfflineSource(step.request.upstream)
        return response

    def next(self) -> bytes | None:
        return self._pieces.pop(0) if self._pieces else None

    def rest(self) -> Content:
        left, self._pieces = b"".join(self._pieces), []
        return Content(left, self._media_type)

    def _call(self, step: SendCall, below: tuple[Entry, ...] = ()) -> Entry:
        request, plan = step.request, step.upstream
        label, node = self._last
        secret = tuple(name for name, _ in request.credentials.query)
        text = f"{request.method} {url_of(plan, self.mask)}{self.mask.target(request.target, secret)}"
        return Entry(
            label,
            text,
            None if node is None else node.key_span,
            (*self._headers(request.headers, tuple(n for n, _ in request.credentials.headers)), *below),
            self._value(request.content),
        )

    def _headers(self, headers: Headers, credentials: tuple[str, ...] = ()) -> tuple[Entry, ...]:
        return tuple(
            Entry("header", f"{name}: {self.mask.header(name, value, credentials)}")
            for name, value in headers
            if name not in _USUAL
        )

    def _value(self, content: Content) -> Any:
        """A body as a JSON value or text, with secrets masked."""
        if content.is_empty:
            return ABSENT
        try:
            return self.mask.value(content.value)
        except JsonError:
            return self.mask.text(content.data.decode("utf-8", "replace"))

    def _stub_response(self, step: SendCall) -> UpstreamResponse:
        if not self.responses:
            self.steps.append(Entry("no stub response", "the response to this call is unknown"))
            raise MissingStub
        stub = self.responses.pop(0)
        if stub.failure:
            self.steps.append(Entry("call failed", CALL_FAILURES[stub.failure][1]))
            raise call_failed(step.upstream.name, stub.failure, f"fail: {stub.failure}")
        media_type = _guess_media_type(stub.body) if stub.body else ""
        self.steps.append(Entry("upstream response", f"{stub.status} {media_type}".strip()))
        headers = (("content-type", media_type),) if media_type else ()
        return UpstreamResponse(stub.status, headers, Content(stub.body, media_type))

    def _internal_response(self, step: SendCall) -> UpstreamResponse:
        """The response of another mapping of the set."""
        mapping = self.plans.mappings[str(step.upstream.mapping)]
        path, _, query = step.request.target.partition("?")
        content = step.request.content
        request = step.request
        inbound = Inbound(request.method, path, query, request.headers, content, _REQUEST_ID)
        inbound.is_internal = True
        inbound.key = request.client.key if request.client is not None else None
        tracer = _Tracer(self.plans, self.mask, self.responses)
        found = mapping.tree.find(path, request.method)
        if found.found(request.method) is None:
            self.steps.append(self._call(step))
            raise no_route(step.upstream.name, mapping.name, request, path)
        match = _instrumented(found, tracer)
        result = None
        try:
            result = carry_out(run_exchange(match, inbound), content, tracer)
        finally:
            self.steps.append(self._call(step, tuple(tracer.steps)))
        response = received(result)
        self.steps.append(Entry("upstream response", f"{response.status} from the mapping {mapping.name}"))
        headers = (*response.headers, ("content-type", response.content.media_type))
        inner = UpstreamResponse(response.status, headers, response.content)
        inner.report = report_of(result.exchange)
        return inner

    # The result

    def finish(self, result: ExchangeResult) -> Trace:
        failure = describe_error(result)
        if result.defect is not None:
            failure = f"internal error: {result.defect.error}"
        if failure is not None:
            self.steps.append(Entry("error", self.mask.text(failure)))
        self._add_notes(result.exchange)
        response = received(result)
        headers = tuple(pair for pair in response.headers if pair[0] not in FRAMING_FIELDS)
        text = f"{response.status} {response.content.media_type}".strip()
        value = self._value(response.content)
        self.steps.append(Entry("client response", text, None, self._headers(headers), value))
        return Trace(tuple(self.steps), failure is not None)

    def unfinished(self) -> Trace:
        if self.exchange is not None:
            self._add_notes(self.exchange)
        return Trace(tuple(self.steps))

    def _add_notes(self, exchange: Exchange) -> None:
        dropped = (*exchange.dropped, *exchange.inner_dropped)
        if dropped:
            self.steps.append(Entry("dropped", self.mask.text(", ".join(dropped))))
        self.steps += [Entry("warning", self.mask.text(message)) for message in exchange.warnings]


def trace(plans: PlanSet, mask: Mask, request: Request, responses: list[StubResponse]) -> Trace:
    """The trace of a request through the plans that serve it."""
    path, tracer = literal_path(request.path), _Tracer(plans, mask, list(responses))
    inbound = Inbound(request.method, path, request.query, _fields(request), request_id=_REQUEST_ID)
    match = plans.find(path, request.method)
    inbound.is_internal = match.owner is not None and not match.owner.is_public
    tracer.steps += _route_steps(match, request.method)
    content = Content(request.body, inbound.header("content-type") or "")
    try:
        result = carry_out(run_exchange(_instrumented(match, tracer), inbound), content, tracer)
    except Halt:
        return tracer.unfinished()
    return tracer.finish(result)


def _fields(request: Request) -> Headers:
    headers = tuple((name.lower(), value) for name, value in request.headers)
    if request.body and not any(name == "content-type" for name, _ in headers):
        return (*headers, ("content-type", JSON))
    return headers


def _route_steps(match: PlanMatch, method: str) -> list[Entry]:
    leaf = match.found(method)
    if leaf is None:
        return []
    params = zip(leaf.names, match.values, strict=True)
    below = tuple(Entry("parameter", f"{name} = {unquote(value)}") for name, value in params)
    node = leaf.route.spec.node
    return [Entry("route", f"{name_of(leaf.route)} of {leaf.owner.name}", node.key_span, below)]


def _instrumented(match: PlanMatch, tracer: _Tracer) -> PlanMatch:
    """The match of a path, with all its routes instrumented."""
    leaves = {
        method: Leaf(leaf.owner, instrumented(leaf.route, tracer.note), leaf.names)
        for method, leaf in match.leaves.items()
    }
    return Match(match.owner, leaves, match.values, match.others)


def _guess_media_type(data: bytes) -> str:
    """The media type of a body, guessed from its content: JSON, a stream, or plain text."""
    content = Content(data, "")
    try:
        content.value  # noqa: B018 - raises if not JSON
        return JSON
    except JsonError:
        pass
    start = data.lstrip()
    framings = (framing for framing in FRAMINGS.values() if start.startswith(framing.prefixes))
    found = next(framings, None)
    return "text/plain" if found is None else found.media_type
