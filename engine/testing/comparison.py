"""Comparison of actual calls and responses with those that a case expects, part by part.

Contract: the parts are tables. A part is read as its recipient would read it, bodies from their bytes.
Must not know how a case runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from engine.codecs import FRAMINGS, MEDIA_TYPES
from engine.exchange import ExchangeResult
from engine.exchange.exchange import Exchange
from engine.http.messages import BufferedBody, Content, Inbound, UpstreamRequest, UpstreamResponse
from engine.testing.cases import Case
from engine.testing.expectations import Expectation, Mismatch, View, below, shown
from engine.testing.offline import received
from engine.values import ABSENT, JsonError, loads

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """A call as its upstream receives it, as the inbound request of an exchange."""

    upstream: str
    exchange: Exchange

    @classmethod
    def of(cls, request: UpstreamRequest) -> ReceivedCall:
        path, _, query = request.target.partition("?")
        body = request.body
        data = body.data if isinstance(body, BufferedBody) else request.content.data
        content = Content(data, request.content.media_type)
        inbound = Inbound(request.method, path, query, request.headers, content)
        return cls(request.upstream, Exchange(inbound, {}))

    @property
    def inbound(self) -> Inbound:
        return self.exchange.inbound

    def __str__(self) -> str:
        return f"{self.inbound.method} {self.upstream} {self.inbound.path}"


@dataclass(frozen=True, slots=True)
class ReceivedResponse:
    """A response as its client receives it, as an upstream response; and the messages of `warn()`."""

    exchange: Exchange
    content: Content
    warnings: list[str]

    @classmethod
    def of(cls, result: ExchangeResult) -> ReceivedResponse:
        response, inbound = received(result), result.exchange.inbound
        data = b"" if inbound.method == "HEAD" else response.content.data
        content = Content(data, response.content.media_type)
        media_type = (("content-type", content.media_type),) if content.media_type else ()
        client = Exchange(inbound, result.exchange.params)
        client.upstream_response = UpstreamResponse(
            response.status, (*response.headers, *media_type), content
        )
        return cls(client, content, result.exchange.warnings)


def call_mismatches(case: Case, calls: list[ReceivedCall], params: dict[str, str]) -> Iterator[Mismatch]:
    """The differences between actual and expected calls; a missing call is one."""
    is_list = isinstance(case.spec.node.value.get("upstream"), list)
    for number, stub in enumerate(case.calls):
        path = f"upstream[{number}]" if is_list else "upstream"
        if number < len(calls):
            view = _view(case, params, _payload(calls[number].inbound.content))
            yield from _compare(stub.expected, _CALL_PARTS, calls[number], path, view)
        else:
            yield Mismatch(path, "expected a call, but none was made", stub.node.span)


def response_mismatches(case: Case, result: ExchangeResult) -> Iterator[Mismatch]:
    """The differences between a response and the expected one."""
    response = ReceivedResponse.of(result)
    view = _view(case, result.exchange.params, _payload(response.content))
    yield from _compare(case.expected, _RESPONSE_PARTS, response, "", view)


def _view(case: Case, params: dict[str, str], payload: Any) -> View:
    """The variables of expressions in expectations."""
    client = Exchange(case.inbound, params)
    client.body = case.body
    return View(payload, client)


def _compare(
    expected: Mapping[str, Expectation],
    parts: Mapping[str, Callable[[T], Any]],
    received: T,
    path: str,
    view: View,
) -> Iterator[Mismatch]:
    for name, expectation in expected.items():
        where = below(path, name)
        try:
            actual = parts[name](received)
        except JsonError:
            yield expectation.mismatch(where, f"expected JSON, got {shown(view.payload)}")
        else:
            yield from expectation.compare(where, actual, view)


def _payload(content: Content) -> Any:
    """A body for expressions: its JSON value, or else its text."""
    try:
        return None if content.is_empty else content.value
    except JsonError:
        return _text(content)


def _text(content: Content) -> str:
    return content.data.decode("utf-8", "replace")


def _json(content: Content) -> Any:
    return content.value if content.data else ABSENT


def _events(content: Content) -> Any:
    """The events of a stream as JSON values, an end marker as text; `ABSENT` if it is not a stream."""
    framing = MEDIA_TYPES.get(content.media_type.partition(";")[0])
    if framing is None:
        return ABSENT
    decoder = FRAMINGS[framing].decoder()
    events = [*decoder.feed(content.data), *decoder.close()]
    return [_event(event.data) for event in events]


def _event(data: bytes) -> Any:
    try:
        return loads(data)
    except JsonError:
        return data.decode("utf-8", "replace")


def _form(content: Content) -> dict[str, Any]:
    return Exchange(Inbound("", "", _text(content)), {}).query


#: Readers of the parts of a call, by key under `expect`.
_CALL_PARTS: Final[Mapping[str, Callable[[ReceivedCall], Any]]] = {
    "upstream": lambda call: call.upstream,
    "method": lambda call: call.inbound.method,
    "path": lambda call: call.inbound.path,
    "query": lambda call: call.exchange.query,
    "headers": lambda call: call.exchange.headers,
    "body": lambda call: _json(call.inbound.content),
    "form": lambda call: _form(call.inbound.content),
}

#: Readers of the parts of a response, by key under `expect`.
_RESPONSE_PARTS: Final[Mapping[str, Callable[[ReceivedResponse], Any]]] = {
    "status": lambda response: response.exchange.status,
    "headers": lambda response: response.exchange.upstream_headers,
    "body": lambda response: _json(response.content),
    "text": lambda response: _text(response.content),
    "events": lambda response: _events(response.content),
    "warnings": lambda response: response.warnings,
}
