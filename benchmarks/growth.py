"""Cases of the shipped suites in which one part of the request or of a response is lengthened.

Contract: each list and each string of the client's body and of the upstream's responses can have any length.
The result depends on the case and the length alone.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from engine import exchange
from engine.codecs import FRAMINGS, MEDIA_TYPES
from engine.errors import call_failed
from engine.http.messages import EMPTY, Content, UpstreamResponse
from engine.testing.cases import Case, StubbedCall
from engine.testing.loading import load_suite
from engine.testing.offline import Halt, carry_out

MAPPINGS = Path(__file__).parent.parent / "mappings"

ITEMS, CHARACTERS = 60, 6_000
Grow = Callable[[int], Any]


@dataclass(frozen=True)
class Growth:
    """A part of a case that can be lengthened.

    Attributes:
        shape: equal for growths that templates treat the same way.
        case: returns the case with a number of units of the part.
    """

    label: str
    shape: str
    case: Callable[[int], Case]


# --- What can grow ---------------------------------------------------------------------------------------


def renumbered(value: Any, number: int) -> Any:
    """A copy with other indexes and identifiers, which depend on `number` alone."""
    if isinstance(value, dict):
        return {key: _renumbered(key, item, number) for key, item in value.items()}
    return [renumbered(item, number) for item in value] if isinstance(value, list) else value


def _renumbered(key: str, value: Any, number: int) -> Any:
    if key == "index" and type(value) is int:
        return value + number
    if key in ("id", "tool_call_id", "call_id") and isinstance(value, str):
        return f"{value}-{number}"
    return renumbered(value, number)


def longer(value: Any, times: int) -> Any:
    """A list with its items repeated, or a string with its characters repeated."""
    if isinstance(value, str):
        count = CHARACTERS * times
        return (value * (count // len(value) + 1))[:count]
    return [item for number in range(ITEMS * times) for item in renumbered(value, number)]


def growable(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The paths and values of the non-empty lists and strings in a JSON value."""
    if value and isinstance(value, str | list):
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from growable(item, (*path, key))


def with_longer(value: Any, path: tuple[Any, ...], times: int) -> Any:
    """A copy of a JSON value with the value at a path lengthened."""
    if not path:
        return longer(value, times)
    made = copy.copy(value)
    made[path[0]] = with_longer(value[path[0]], path[1:], times)
    return made


def all_longer(value: Any, times: int) -> Any:
    """A copy with each list lengthened that is not inside another list."""
    if isinstance(value, list):
        return longer(value, times)
    return {key: all_longer(item, times) for key, item in value.items()} if isinstance(value, dict) else value


def growths(value: Any) -> Iterator[tuple[str, str, Grow]]:
    """The ways to lengthen a JSON value: label, shape, and a function that returns the longer value."""
    found_lists = False
    for path, found in growable(value):
        found_lists = found_lists or isinstance(found, list)
        shape = json.dumps([["*" if isinstance(key, int) else key for key in path], shape_of(found)])
        yield ".".join(map(str, path)), shape, lambda times, path=path: with_longer(value, path, times)
    if found_lists:
        yield "all lists", json.dumps(shape_of(value)), lambda times: all_longer(value, times)


def shape_of(value: Any) -> Any:
    """The keys and types of a value, which decide how templates treat it."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return sorted({json.dumps(shape_of(item)) for item in value})
    return type(value).__name__


# --- The parts of a case ---------------------------------------------------------------------------------


def growths_of(case: Case) -> Iterator[Growth]:
    """All ways to lengthen the client's body or a response of the upstream."""
    if isinstance(case.body, dict | list):
        for label, shape, grow in growths(case.body):
            yield Growth(f"body {label}", f"body {shape}", lambda n, grow=grow: with_body(case, grow(n)))
    for number, call in enumerate(case.calls):
        if call.failure is None:
            for label, shape, data in of_content(call.response.content):
                yield Growth(
                    f"response {number} {label}",
                    f"response {number} {shape}",
                    lambda n, number=number, data=data: with_response(case, number, data(n)),
                )


def with_body(case: Case, value: Any) -> Case:
    data = json.dumps(value).encode()
    return replace(case, content=Content(data, case.content.media_type), body=value)


def with_response(case: Case, number: int, data: bytes) -> Case:
    call = case.calls[number]
    content = Content(data, call.response.content.media_type)
    made = replace(call, response=UpstreamResponse(call.response.status, call.response.headers, content))
    return replace(case, calls=(*case.calls[:number], made, *case.calls[number + 1 :]))


def of_content(content: Content) -> Iterator[tuple[str, str, Callable[[int], bytes]]]:
    """The ways to lengthen a response, which is a JSON value or a stream of events."""
    if MEDIA_TYPES.get(content.media_type) == "aws_events":
        yield from of_messages(content.data)
        return
    try:
        value = json.loads(content.data)
    except ValueError:
        yield from of_stream(content.data.decode())
        return
    for label, shape, grow in growths(value):
        yield label, shape, lambda n, grow=grow: json.dumps(grow(n)).encode()


def of_stream(text: str) -> Iterator[tuple[str, str, Callable[[int], bytes]]]:
    """The ways to lengthen a stream: by repeating an event, or by lengthening a value in it."""
    end = "\n\n" if "data:" in text else "\n"
    blocks = text.split(end)
    for number, block in enumerate(blocks):
        match = re.fullmatch(r"(?s)(.*?)(\{.*\})\s*", block)
        if match is None:
            continue
        before, value = match[1], json.loads(match[2])

        def written(events: list[Any], number: int = number, before: str = before) -> bytes:
            made = [before + json.dumps(event) for event in events]
            return end.join([*blocks[:number], *made, *blocks[number + 1 :]]).encode()

        shape = json.dumps(shape_of(value))
        yield (
            f"event {number}",
            f"event {shape}",
            lambda n, value=value, written=written: written(longer([value], n)),
        )
        for label, inner, grow in growths(value):
            yield (
                f"event {number} {label}",
                f"event {inner}",
                lambda n, grow=grow, written=written: written([grow(n)]),
            )


def of_messages(data: bytes) -> Iterator[tuple[str, str, Callable[[int], bytes]]]:
    """As `of_stream`, for binary messages."""
    framing = FRAMINGS["aws_events"]
    encode = framing.encoder().encode
    events = framing.decoder().feed(data)
    for number, event in enumerate(events):
        value = json.loads(event.data)

        def written(values: list[Any], number: int = number, name: str | None = event.name) -> bytes:
            made = [encode(json.dumps(value).encode(), name) for value in values]
            others = [encode(other.data, other.name) for other in events]
            return b"".join([*others[:number], *made, *others[number + 1 :]])

        shape = json.dumps(shape_of(value))
        label = f"event {number}"
        yield label, f"event {shape}", lambda n, value=value, written=written: written(longer([value], n))
        for part, inner, grow in growths(value):
            yield (
                f"{label} {part}",
                f"event {inner}",
                lambda n, grow=grow, written=written: written([grow(n)]),
            )


# --- Running a case --------------------------------------------------------------------------------------


@dataclass
class Responses:
    """Returns the responses of a case in order; a further call ends the exchange."""

    calls: tuple[StubbedCall, ...]
    sent: int = 0
    left: bytes | None = None

    def send(self, step: exchange.SendCall) -> UpstreamResponse:
        if self.sent == len(self.calls):
            raise Halt
        call = self.calls[self.sent]
        self.sent += 1
        if call.failure is not None:
            raise call_failed(step.request.upstream, call.failure, "as the case has it")
        if not step.streams:
            return call.response
        self.left = call.response.content.data
        return UpstreamResponse(call.response.status, call.response.headers, EMPTY, source=self)

    def next(self) -> bytes | None:
        left, self.left = self.left, None
        return left

    def rest(self) -> Content:
        return Content(self.next() or b"", "")


def run_case(case: Case) -> exchange.ExchangeResult | None:
    """The result of a case; None if it makes more calls than the case has responses."""
    match = case.plans.tree.find(case.inbound.path, case.inbound.method)
    try:
        result = carry_out(exchange.run_exchange(match, case.inbound), case.content, Responses(case.calls))
    except Halt:
        return None
    assert result.defect is None, result.defect
    return result


def steps_of(case: Case) -> int | None:
    """The steps that the engine counts for a case; None as in `run_case`."""
    result = run_case(case)
    return None if result is None else result.exchange.steps_taken


@cache
def cases() -> dict[str, list[Case]]:
    """The cases of the shipped suites whose request or response has a body, by mapping and route."""
    found: dict[str, list[Case]] = {}
    for file in sorted(MAPPINGS.glob("*.test.yaml")):
        suite = load_suite(file)
        assert suite.cases, f"{file}: {list(suite.findings)}"
        for case in suite.cases:
            leaf = case.plans.tree.find(case.inbound.path, case.inbound.method).found(case.inbound.method)
            if leaf is not None:
                name = f"{leaf.owner.name}: {leaf.route.method} {leaf.route.spec.path}"
                found.setdefault(name, []).append(case)
    return found


def distinct_growths(route: str) -> Iterator[tuple[Case, Growth]]:
    """The growths of a route's cases, without those that take the same path through the mapping."""
    seen: set[tuple[Any, ...]] = set()
    for case in cases()[route]:
        for growth in growths_of(case):
            key = (growth.shape, str(sorted(case.spec.env.items())), shape_key(case))
            if key not in seen:
                seen.add(key)
                yield case, growth


def shape_key(case: Case) -> str:
    """The path of a case through its mapping, by the keys of its body and the statuses of its responses."""
    body = sorted(case.body) if isinstance(case.body, dict) else type(case.body).__name__
    return json.dumps([body, [call.response.status for call in case.calls]])
