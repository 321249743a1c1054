"""Pipelines: the four rows, the order of stages, one value per exchange, errors, ends and usage.

Each stream is sent in one chunk, byte by byte, and split in two at every position.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Findings, PlanSet, compile_set, load, source_files
from engine.errors import ExchangeError
from engine.exchange import usage_of
from tests.support.exchanges import Outcome, run_offline

MAPPING = """
dragoman: 1
auth: none
upstreams: { up: { url: "http://127.0.0.1:9" } }
streams:
  reader:
    from: { sse: { done: "[DONE]" } }
    merge: { content: { by: index }, "content[].text": join, "content[].input": final }
    state: { arguments: "" }
    rules:
      - when: ${ type == 'start' }
        emit: { id: "${ id }" }
      - when: ${ type == 'text' }
        emit: { content: [{ index: "${ index }", type: text, text: "${ text }" }] }
      - when: ${ type == 'pair' }
        emit: [{ content: [{ index: 0, text: a }] }, { content: [{ index: 0, text: b }] }]
      - when: ${ type == 'arguments' }
        set: { arguments: "${ concat($state.arguments, json) }" }
      - when: ${ type == 'stop' }
        emit: { content: [{ index: "${ index }", type: tool, input: "${ $state.arguments }" }] }
      - when: ${ type == 'finish' }
        emit: { reason: "${ reason }", usage: "${ usage }" }
      - when: ${ type == 'twice' }
        emit: { content: [{ index: 0, text: before }] }
      - when: ${ type == 'error' || type == 'twice' }
        emit: ${ fail('upstream_error', message) }
      - when: ${ type == 'error' || type == 'twice' }
        emit: { content: [{ index: 0, text: never }] }
    complete:
      $let: { odd: "${ if(type(output) != 'string', fail('upstream_error', 'there is no output')) }" }
      id: ${ id }
      content: [{ index: 0, type: text, text: "${ output }" }]
      reason: ${ reason }
      usage: ${ usage }
  writer:
    to:
      sse:
        done: "[DONE]"
        wrap: { id: "${ random_id('w-') }", number: "${ $emitted }", event: "${ @ }" }
    state: { reason: null, usage: null }
    rules:
      - set: { reason: "${ reason }", usage: "${ usage }" }
      - each: ${ parts }
        emit: { text: "${ text }", input: "${ input }", key: "${ key }" }
    end:
      - emit: [{ reason: "${ $state.reason }" }, { usage: "${ $state.usage }" }]
    error:
      - emit: { failed: "${ message }" }
  started:
    to: ndjson
    start: [{ started: "${ $request.body.name }" }, { payload: "${ type(@) }" }]
    rules: [{ emit: "${ parts }" }]
templates:
  first:
    key: ${ random_id() }
    partial: ${ $partial }
    id: ${ id }
    content: ${ content }
    reason: ${ reason }
    usage: ${ usage }
  second:
    key: ${ key }
    partial: ${ partial }
    parts: { $each: "${ content }", text: "${ text }", input: "${ input }", key: "${ $request.body.k }" }
    reason: ${ reason }
    usage: ${ usage }
errors:
  body: { problem: "${ message }" }
routes:
  POST /chat:
    usage: { input: "${ usage.input }", output: "${ usage.output }" }
    call: { upstream: up, path: /, body: "${ @ }" }
    respond:
      stream_when: ${ $request.body.stream }
      headers: { x-status: "${ $upstream.status }" }
      pipeline: [reader, first, second, writer]
  POST /started:
    call: { upstream: up, path: /, body: "${ @ }" }
    respond: { stream_when: true, pipeline: [reader, first, second, started] }
  POST /complete:
    call: { upstream: up, path: /, body: "${ @ }", response_schema: { required: [id] } }
    respond: { pipeline: [reader, first] }
  POST /loose:
    call: { upstream: up, path: /, body: "${ @ }" }
    respond:
      stream_when: true
      pipeline: [{ from: { sse: { done: "[DONE]" } }, eof: ok }, { to: sse, rules: [{ emit: "${ @ }" }] }]
  POST /wrapped:
    call: { upstream: up, path: /, body: "${ @ }" }
    respond:
      stream_when: true
      pipeline:
        - from: sse
        - to: { ndjson: { wrap: { number: "${ $emitted }", event: "${ @ }" } } }
          rules: [{ emit: ["${ type }", { id: "${ id }" }] }]
          end: [{ emit: end }]
  POST /typed:
    call: { upstream: up, path: /, body: "${ @ }" }
    respond:
      stream_when: ${ $request.body.stream }
      pipeline: [{ merge: { text: join } }, { to: ndjson, rules: [{ emit: "${ @ }" }] }]
"""

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
EVENTS: list[Any] = [
    {"type": "start", "id": "r-1"},
    {"type": "text", "index": 0, "text": "Hel"},
    {"type": "text", "index": 0, "text": "lo"},
    {"type": "arguments", "json": '{"a"'},
    {"type": "arguments", "json": ":1}"},
    {"type": "stop", "index": 1},
    {"type": "finish", "reason": "end", "usage": {"input": 2}},
    {"type": "finish", "usage": {"output": 5}},
]
COMPLETE = {"id": "r-1", "output": "Hello", "reason": "end", "usage": {"input": 2, "output": 5}}


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> PlanSet:
    file: Path = tmp_path_factory.mktemp("pipelines") / "pipes.yaml"
    file.write_text(MAPPING)
    findings = Findings()
    found = compile_set(load(source_files([str(file)], findings), findings), {}, findings)
    assert not list(findings), [f"{f.span}: {f.message}" for f in findings]
    return found


def sse(events: list[Any], done: str = "data: [DONE]\n\n") -> bytes:
    return ("".join(f"data: {json.dumps(event)}\n\n" for event in events) + done).encode()


def splits(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def events_of(outcome: Outcome) -> list[Any]:
    """The events that the client received, with the end marker as text."""
    blocks = outcome.body.decode().split("\n\n")[:-1]
    texts = [block.removeprefix("data: ") for block in blocks if not block.startswith(":")]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


def without_ids(events: list[Any]) -> list[Any]:
    return [event["event"] if isinstance(event, dict) and "event" in event else event for event in events]


# --- The four rows ---------------------------------------------------------------------------------------


def test_events_to_events(plans: PlanSet) -> None:
    for chunks in splits(sse(EVENTS)):
        outcome = run_offline(plans, "/chat", {"stream": True, "k": "v"}, chunks, SSE)
        events = events_of(outcome)
        assert [event["number"] for event in events[:-1]] == [0, 1, 2, 3, 4]
        assert len({event["id"] for event in events[:-1]}) == 1, "one id for all events"
        assert without_ids(events) == [
            {"text": "Hel", "key": "v"},
            {"text": "lo", "key": "v"},
            {"input": '{"a":1}', "key": "v"},
            {"reason": "end"},
            {"usage": {"output": 5}},
            "[DONE]",
        ]
    assert ("x-status", "200") in outcome.result.response.headers


def test_events_to_json(plans: PlanSet) -> None:
    for chunks in splits(sse(EVENTS)):
        outcome = run_offline(plans, "/chat", {}, chunks, SSE)
        body = json.loads(outcome.body)
        assert len(body.pop("key")) == 24
        assert body == {
            "partial": False,
            "parts": [{"text": "Hello"}, {"input": '{"a":1}'}],
            "reason": "end",
            "usage": {"input": 2, "output": 5},
        }


def test_json_to_json(plans: PlanSet) -> None:
    outcome = run_offline(
        plans, "/chat", {}, [json.dumps(COMPLETE).encode()], "application/json; charset=utf-8"
    )
    body = json.loads(outcome.body)
    assert body["parts"] == [{"text": "Hello"}]
    assert (body["partial"], body["reason"], body["usage"]) == (False, "end", {"input": 2, "output": 5})


def test_json_to_events(plans: PlanSet) -> None:
    outcome = run_offline(
        plans, "/chat", {"stream": True}, [json.dumps(COMPLETE).encode()], "application/problem+json"
    )
    assert without_ids(events_of(outcome)) == [
        {"text": "Hello"},
        {"reason": "end"},
        {"usage": {"input": 2, "output": 5}},
        "[DONE]",
    ]


def test_a_part_is_partial(plans: PlanSet) -> None:
    outcome = run_offline(plans, "/started", {"name": "n"}, [sse(EVENTS[:2])], SSE)
    assert outcome.status == 200
    whole = run_offline(plans, "/complete", {}, [json.dumps(COMPLETE).encode()], "application/json")
    assert json.loads(whole.body)["partial"] is False


# --- The choice of the row -------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/octet-stream"])
def test_the_reader_names_the_framing_of_other_types(plans: PlanSet, media_type: str) -> None:
    outcome = run_offline(plans, "/chat", {}, [sse(EVENTS)], media_type)
    assert json.loads(outcome.body)["reason"] == "end"


def test_the_content_type_takes_precedence(plans: PlanSet) -> None:
    data = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)
    outcome = run_offline(plans, "/typed", {}, [data], NDJSON)
    assert json.loads(outcome.body)["text"] == "Hello"


@pytest.mark.parametrize(
    ("media_type", "named"), [("", "no Content-Type"), ("text/html; charset=utf-8", "'text/html'")]
)
def test_another_type_without_from(plans: PlanSet, media_type: str, named: str) -> None:
    outcome = run_offline(plans, "/typed", {}, [b"<html>"], media_type)
    assert outcome.status == 502
    assert json.loads(outcome.body) == {"problem": f"the upstream sent {named} instead of JSON or a stream"}


# --- Errors ----------------------------------------------------------------------------------------------


def test_an_error_before_the_status(plans: PlanSet) -> None:
    data = sse([{"type": "error", "message": "no credit"}])
    for wanted in (True, False):
        for chunks in splits(data):
            outcome = run_offline(plans, "/chat", {"stream": wanted}, chunks, SSE)
            assert (outcome.status, json.loads(outcome.body)) == (502, {"problem": "no credit"})


def test_an_error_after_the_status(plans: PlanSet) -> None:
    data = sse([*EVENTS[:2], {"type": "error", "message": "no credit"}, EVENTS[2]])
    for chunks in splits(data):
        outcome = run_offline(plans, "/chat", {"stream": True}, chunks, SSE)
        assert outcome.status == 200
        assert without_ids(events_of(outcome)) == [{"text": "Hel"}, {"failed": "no credit"}]


def test_parts_before_a_failure_in_the_same_event_are_sent(plans: PlanSet) -> None:
    data = sse([{"type": "twice", "message": "no credit"}])
    outcome = run_offline(plans, "/chat", {"stream": True}, [data], SSE)
    assert without_ids(events_of(outcome)) == [{"text": "before"}, {"failed": "no credit"}]


def test_a_client_that_wants_json_gets_the_error_format(plans: PlanSet) -> None:
    data = sse([*EVENTS[:3], {"type": "error", "message": "no credit"}])
    outcome = run_offline(plans, "/chat", {}, [data], SSE)
    assert (outcome.status, json.loads(outcome.body)) == (502, {"problem": "no credit"})


def test_a_complete_response_that_the_reader_refuses(plans: PlanSet) -> None:
    for wanted in (True, False):
        outcome = run_offline(plans, "/chat", {"stream": wanted}, [b"{}"], "application/json")
        assert (outcome.status, json.loads(outcome.body)) == (502, {"problem": "there is no output"})


def test_a_failed_response_never_enters_a_pipeline(plans: PlanSet) -> None:
    outcome = run_offline(plans, "/chat", {"stream": True}, [sse(EVENTS)], SSE, status=500)
    assert outcome.status == 502
    assert json.loads(outcome.body) == {"problem": "the upstream returned status 500"}


def test_a_value_marked_final_in_two_parts(plans: PlanSet) -> None:
    data = sse(
        [{"type": "stop", "index": 1}, {"type": "arguments", "json": "x"}, {"type": "stop", "index": 1}]
    )
    outcome = run_offline(plans, "/chat", {}, [data], SSE)
    assert outcome.status == 502
    assert outcome.result.error is not None
    assert "'final'" in str(outcome.result.error.cause)


def test_a_merged_response_that_does_not_match_the_schema(plans: PlanSet) -> None:
    outcome = run_offline(plans, "/complete", {}, [sse(EVENTS[1:])], SSE)
    assert outcome.status == 502
    assert "does not match the schema" in json.loads(outcome.body)["problem"]
    assert run_offline(plans, "/complete", {}, [sse(EVENTS)], SSE).status == 200


# --- Ends ------------------------------------------------------------------------------------------------


def test_a_stream_without_its_end_marker_is_truncated(plans: PlanSet) -> None:
    data = sse(EVENTS, done="")
    streaming = run_offline(plans, "/chat", {"stream": True}, [data], SSE)
    assert "ended its stream early" in without_ids(events_of(streaming))[-1]["failed"]
    complete = run_offline(plans, "/chat", {}, [data], SSE)
    assert complete.status == 502
    assert "ended its stream early" in json.loads(complete.body)["problem"]


def test_eof_ok_accepts_a_missing_end_marker(plans: PlanSet) -> None:
    outcome = run_offline(plans, "/loose", {}, [sse(EVENTS[:2], done="")], SSE)
    assert events_of(outcome) == EVENTS[:2]


def test_a_broken_connection(plans: PlanSet) -> None:
    broken = ExchangeError("upstream_error", "the upstream disconnected")
    outcome = run_offline(plans, "/chat", {"stream": True}, [sse(EVENTS[:2], "")], SSE, broken=broken)
    assert without_ids(events_of(outcome)) == [{"text": "Hel"}, {"failed": "the upstream disconnected"}]
    assert run_offline(plans, "/chat", {}, [sse(EVENTS[:2], "")], SSE, broken=broken).status == 502


# --- `start` and `wrap` ----------------------------------------------------------------------------------


def test_start_is_sent_before_the_first_event(plans: PlanSet) -> None:
    outcome = run_offline(plans, "/started", {"name": "n"}, [sse([{"type": "error", "message": "m"}])], SSE)
    lines = [json.loads(line) for line in outcome.body.decode().split("\n") if line]
    assert outcome.status == 200
    assert lines == [{"started": "n"}, {"payload": "null"}, {"problem": "m"}]


def test_each_item_of_a_list_is_a_part(plans: PlanSet) -> None:
    outcome = run_offline(plans, "/chat", {"stream": True}, [sse([{"type": "pair"}])], SSE)
    events = events_of(outcome)
    assert [event["number"] for event in events[:-1]] == list(range(len(events) - 1))
    assert without_ids(events)[:2] == [{"text": "a"}, {"text": "b"}]


def test_the_events_of_a_stream_are_wrapped_too(plans: PlanSet) -> None:
    outcome = run_offline(plans, "/wrapped", {}, [sse(EVENTS[:1], "")], SSE)
    assert [json.loads(line) for line in outcome.body.splitlines()] == [
        {"number": 0, "event": "start"},
        {"number": 1, "event": {"id": "r-1"}},
        {"number": 2, "event": "end"},
    ]


# --- Usage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
def test_usage_is_read_from_every_part(plans: PlanSet, wanted: bool) -> None:
    outcome = run_offline(plans, "/chat", {"stream": wanted}, [sse(EVENTS)], SSE)
    assert usage_of(outcome.result) == {"input": 2, "output": 5}
    complete = run_offline(
        plans, "/chat", {"stream": wanted}, [json.dumps(COMPLETE).encode()], "application/json"
    )
    assert usage_of(complete.result) == {"input": 2, "output": 5}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ('{ input: "${ usage.input }", output: "${ usage.output }" }', {"input": 2, "output": 5}),
        # Counts of parts without any field that `usage` reads.
        ('{ input: 7, output: "${ usage.output }" }', {"input": 7, "output": 5}),
        ('{ input: "${ usage.input || `9` }" }', {"input": 9}),
        ('{ input: "${ length(keys(@)) }" }', {"input": 1}),
        ('{ input: "${ length($request.body.k) }", output: "${ usage.output }" }', {"input": 3, "output": 5}),
        ("{ input: \"${ fail('internal', 'no') }\" }", {}),
        ('{ input: "${ abs(usage) }" }', {}),
    ],
)
def test_counts_come_from_the_last_part_that_has_them(
    usage: str, expected: dict[str, int], tmp_path: Path
) -> None:
    file = tmp_path / "pipes.yaml"
    file.write_text(MAPPING.replace('{ input: "${ usage.input }", output: "${ usage.output }" }', usage))
    findings = Findings()
    found = compile_set(load(source_files([str(file)], findings), findings), {}, findings)
    assert not findings.has_errors
    for stream in (True, False):
        outcome = run_offline(found, "/chat", {"stream": stream, "k": "key"}, [sse(EVENTS)], SSE)
        assert usage_of(outcome.result) == expected
