"""What came, against what a case expects: its calls and its answer, part by part.

Contract: the parts are tables; a part is read as its receiver sees it, bodies from their bytes.
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
    """A call as its upstream receives it: as the inbound request of an exchange."""

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
    """An answer as its client receives it: as the reply of an exchange, and what `warn()` said."""

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
    """How the calls that were made differ from those that are expected; none may be missing."""
    is_list = isinstance(case.spec.node.value.get("upstream"), list)
    for number, canned in enumerate(case.calls):
        path = f"upstream[{number}]" if is_list else "upstream"
        if number < len(calls):
            sight = _sight(case, params, _payload(calls[number].inbound.content))
            yield from _compare(canned.expected, _CALL_PARTS, calls[number], path, sight)
        else:
            yield Mismatch(path, "expected a call, but none was made", canned.node.span)


def response_mismatches(case: Case, result: ExchangeResult) -> Iterator[Mismatch]:
    """How an answer differs from the one that is expected."""
    answer = ReceivedResponse.of(result)
    sight = _sight(case, result.exchange.params, _payload(answer.content))
    yield from _compare(case.expected, _ANSWER_PARTS, answer, "", sight)


def _sight(case: Case, params: dict[str, str], payload: Any) -> View:
    """What the expressions of expectations see."""
    client = Exchange(case.inbound, params)
    client.body = case.body
    return View(payload, client)


def _compare(
    expected: Mapping[str, Expectation],
    parts: Mapping[str, Callable[[T], Any]],
    came: T,
    path: str,
    sight: View,
) -> Iterator[Mismatch]:
    for name, expectation in expected.items():
        where = below(path, name)
        try:
            actual = parts[name](came)
        except JsonError:
            yield expectation.mismatch(where, f"expected JSON, got {shown(sight.payload)}")
        else:
            yield from expectation.compare(where, actual, sight)


def _payload(content: Content) -> Any:
    """A body for expressions: its JSON value, or its text."""
    try:
        return None if content.is_empty else content.value
    except JsonError:
        return _text(content)


def _text(content: Content) -> str:
    return content.data.decode("utf-8", "replace")


def _json(content: Content) -> Any:
    return content.value if content.data else ABSENT


def _events(content: Content) -> Any:
    """The events of a stream: their JSON values, and closing words as text; absent where it is no stream."""
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


#: How each part of a call is read, by its key under `expect`.
_CALL_PARTS: Final[Mapping[str, Callable[[ReceivedCall], Any]]] = {
    "upstream": lambda call: call.upstream,
    "method": lambda call: call.inbound.method,
    "path": lambda call: call.inbound.path,
    "query": lambda call: call.exchange.query,
    "headers": lambda call: call.exchange.headers,
    "body": lambda call: _json(call.inbound.content),
    "form": lambda call: _form(call.inbound.content),
}

#: How each part of an answer is read, by its key under `expect`.
_ANSWER_PARTS: Final[Mapping[str, Callable[[ReceivedResponse], Any]]] = {
    "status": lambda answer: answer.exchange.status,
    "headers": lambda answer: answer.exchange.upstream_headers,
    "body": lambda answer: _json(answer.content),
    "text": lambda answer: _text(answer.content),
    "events": lambda answer: _events(answer.content),
    "warnings": lambda answer: answer.warnings,
}
