"""A request walked through step by step, with no upstream called.

Contract: what is decided and what would be sent is told in its order. A call is answered from what is given,
by another mapping of the set, or not at all: then the walk ends there, beside the calls that do not wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import unquote

from engine.codecs import FRAMINGS
from engine.compiler.masking import Mask
from engine.errors import CALL_FAILURES, call_failed
from engine.exchange import ExchangeResult, SendCall, no_route, run_exchange
from engine.exchange.exchange import Exchange
from engine.explain.entries import Entry
from engine.explain.instrumentation import watched
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
#: Fields of every call, which say nothing of a mapping.
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
class Answer:
    """What comes of a call: a reply, whose media type its body tells, or a failure, one of `FAILURES`."""

    FAILURES: ClassVar = tuple(CALL_FAILURES)

    status: int = 200
    body: bytes = b""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk: its steps, and whether it came to a failure."""

    steps: tuple[Entry, ...]
    has_failed: bool = False


@dataclass(slots=True)
class _Walker:
    """Takes the place of all upstreams, and writes down what happens."""

    plans: PlanSet
    mask: Mask
    answers: list[Answer]
    steps: list[Entry] = field(default_factory=list)
    exchange: Exchange | None = None
    _last: tuple[str, Node | None] = ("call", None)
    _answered: int = 0
    _pieces: list[bytes] = field(default_factory=list)
    _media_type: str = ""

    # What is decided

    def note(self, label: str, node: Node, holds: bool | None, exchange: Any) -> None:
        self.exchange = exchange
        self._last = (label, node)
        is_call = label.startswith(("call", "forward"))
        if holds is None or (holds and is_call):
            return  # what is sent tells of it
        verb = "made" if is_call else "taken"
        told = Entry(label, "taken" if holds else f"not {verb}: its condition does not hold", node.key_span)
        if told not in self.steps[self._answered :]:
            self.steps.append(told)

    # What is sent, and what comes of it

    def send(self, step: SendCall) -> UpstreamResponse:
        if step.upstream.mapping in self.plans.mappings:
            response = self._inside(step)
        else:
            self.steps.append(self._call(step))
            response = self._given(step)
        self._answered = len(self.steps)
        if step.streams:
            self._pieces, self._media_type = (
                [response.content.data],
                response.content.media_type,
            )
            return UpstreamResponse(
                response.status, response.headers, EMPTY, source=OfflineSource(step.request.upstream)
            )
        return response

    def next(self) -> bytes | None:
        return self._pieces.pop(0) if self._pieces else None

    def rest(self) -> Content:
        left, self._pieces = b"".join(self._pieces), []
        return Content(left, self._media_type)

    def _call(self, step: SendCall, below: tuple[Entry, ...] = ()) -> Entry:
        request, plan = step.request, step.upstream
        label, node = self._last
        secret = tuple(name for name, _ in plan.credentials.query)
        text = f"{request.method} {url_of(plan, self.mask)}{self.mask.target(request.target, secret)}"
        return Entry(
            label,
            text,
            None if node is None else node.key_span,
            (*self._headers(request.headers, tuple(n for n, _ in plan.credentials.headers)), *below),
            self._value(request.content),
        )

    def _headers(self, headers: Headers, credentials: tuple[str, ...] = ()) -> tuple[Entry, ...]:
        return tuple(
            Entry("header", f"{name}: {self.mask.header(name, value, credentials)}")
            for name, value in headers
            if name not in _USUAL
        )

    def _value(self, content: Content) -> Any:
        """A body as it is shown: a JSON value, or text."""
        if content.is_empty:
            return ABSENT
        try:
            return self.mask.value(content.value)
        except JsonError:
            return self.mask.text(content.data.decode("utf-8", "replace"))

    def _given(self, step: SendCall) -> UpstreamResponse:
        if not self.answers:
            self.steps.append(Entry("no answer", "what the upstream says is not known here"))
            raise MissingStub
        answer = self.answers.pop(0)
        if answer.failure:
            self.steps.append(Entry("fails", CALL_FAILURES[answer.failure][1]))
            raise call_failed(step.upstream.name, answer.failure, f"fail: {answer.failure}")
        media_type = _sniffed(answer.body) if answer.body else ""
        self.steps.append(Entry("answered", f"{answer.status} {media_type}".strip()))
        headers = (("content-type", media_type),) if media_type else ()
        return UpstreamResponse(answer.status, headers, Content(answer.body, media_type))

    def _inside(self, step: SendCall) -> UpstreamResponse:
        """The answer of another mapping of the set."""
        mapping = self.plans.mappings[str(step.upstream.mapping)]
        path, _, query = step.request.target.partition("?")
        content = step.request.content
        request = step.request
        inbound = Inbound(request.method, path, query, request.headers, content, _REQUEST_ID)
        inbound.is_internal = True
        inbound.key = request.client.key if request.client is not None else None
        walker = _Walker(self.plans, self.mask, self.answers)
        found = mapping.tree.find(path, request.method)
        if found.found(request.method) is None:
            self.steps.append(self._call(step))
            raise no_route(step.upstream.name, mapping.name, request, path)
        match = _opened(found, walker)
        result = None
        try:
            result = carry_out(run_exchange(match, inbound), content, walker)
        finally:
            self.steps.append(self._call(step, tuple(walker.steps)))
        response = received(result)
        self.steps.append(Entry("answered", f"{response.status} by the mapping {mapping.name}"))
        media_type = response.content.media_type
        return UpstreamResponse(
            response.status, (*response.headers, ("content-type", media_type)), response.content
        )

    # The end

    def finish(self, result: ExchangeResult) -> Walk:
        failure = describe_error(result)
        if result.defect is not None:
            failure = f"a defect of the engine: {result.defect.error}"
        if failure is not None:
            self.steps.append(Entry("failure", self.mask.text(failure)))
        self._remarks(result.exchange)
        response = received(result)
        headers = tuple(pair for pair in response.headers if pair[0] not in FRAMING_FIELDS)
        text = f"{response.status} {response.content.media_type}".strip()
        value = self._value(response.content)
        self.steps.append(Entry("the client gets", text, None, self._headers(headers), value))
        return Walk(tuple(self.steps), failure is not None)

    def unfinished(self) -> Walk:
        if self.exchange is not None:
            self._remarks(self.exchange)
        return Walk(tuple(self.steps))

    def _remarks(self, exchange: Exchange) -> None:
        if exchange.dropped:
            self.steps.append(Entry("not carried over", self.mask.text(", ".join(exchange.dropped))))
        self.steps += [Entry("warning", self.mask.text(message)) for message in exchange.warnings]


def walk(plans: PlanSet, mask: Mask, request: Request, answers: list[Answer]) -> Walk:
    """Walk a request through the plans that serve it."""
    path, walker = literal_path(request.path), _Walker(plans, mask, list(answers))
    inbound = Inbound(request.method, path, request.query, _fields(request), request_id=_REQUEST_ID)
    match = plans.tree.find(path, request.method)
    walker.steps += _found(match, request.method)
    content = Content(request.body, inbound.header("content-type") or "")
    try:
        result = carry_out(run_exchange(_opened(match, walker), inbound), content, walker)
    except Halt:
        return walker.unfinished()
    return walker.finish(result)


def _fields(request: Request) -> Headers:
    headers = tuple((name.lower(), value) for name, value in request.headers)
    if request.body and not any(name == "content-type" for name, _ in headers):
        return (*headers, ("content-type", JSON))
    return headers


def _found(match: PlanMatch, method: str) -> list[Entry]:
    leaf = match.found(method)
    if leaf is None:
        return []
    params = zip(leaf.names, match.values, strict=True)
    below = tuple(Entry("parameter", f"{name} = {unquote(value)}") for name, value in params)
    node = leaf.route.spec.node
    return [Entry("route", f"{name_of(leaf.route)} of {leaf.owner.name}", node.key_span, below)]


def _opened(match: PlanMatch, walker: _Walker) -> PlanMatch:
    """What a path leads to, watched."""
    leaves = {
        method: Leaf(leaf.owner, watched(leaf.route, walker.note), leaf.names)
        for method, leaf in match.leaves.items()
    }
    return Match(match.owner, leaves, match.values, match.others)


def _sniffed(data: bytes) -> str:
    """The media type of an answer by its text: JSON, a stream, or plain text."""
    content = Content(data, "")
    try:
        content.value  # noqa: B018 - it is tried
        return JSON
    except JsonError:
        pass
    if data.lstrip().startswith((b"data:", b"event:", b":", b"id:")):
        return FRAMINGS["sse"].media_type
    return FRAMINGS["ndjson"].media_type if data.lstrip().startswith((b"{", b"[")) else "text/plain"
