"""An exchange has limits for its loop steps and for the bytes that it produces.

The tests count steps and bytes, never time. Each case checks which limit is exceeded, whether the client or
the upstream caused it, and the location in the mapping.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.exchange import ExchangeResult
from engine.language.budget import Limits

from .exchanges import Upstream, compiled, events, location_of, posted, sse

MIB = 1 << 20


def steps_of(text: str, tmp_path: Path, body: Any = None, upstream: Upstream | None = None) -> int:
    """The steps of a successful exchange."""
    result = posted(compiled(text, tmp_path), "/x", body, upstream)
    assert result.error is None, (result.error.message, result.error.cause)
    return result.exchange.steps_taken


def check_refused(result: ExchangeResult, status: int, kind: str, message: str, location: str) -> None:
    """Check the error of a failed exchange, and its location."""
    assert result.error is not None
    error = json.loads(result.response.content.data)["error"]
    assert (result.response.status, error["type"]) == (status, kind)
    assert error["message"].endswith(message)
    assert result.error.cause is not None
    assert result.error.cause.endswith(message)
    assert location_of(result) == location


# --- Steps -----------------------------------------------------------------------------------------------

#: A template for the client's body `{a: [n numbers], s: "n letters"}` (`b` and `t` likewise), and its steps.
#: Functions cost steps only in loops, where the same value can be passed to them many times.
STEPS: dict[str, tuple[str, Any]] = {
    "nothing": ("{ v: '${ a[0] }' }", lambda n: 0),
    "each": ("{ $each: '${ a }', v: '${ @ }' }", lambda n: n),
    "each of an object": ("{ $each: { a: 1, b: 2 }, v: '${ value }' }", lambda n: 2),
    "nested each": (
        "{ $each: '${ a }', v: { $each: '${ $request.body.a }', w: '${ @ }' } }",
        lambda n: n + n * n,
    ),
    "projection": ("${ a[*] }", lambda n: n),
    "filter": ("${ a[?@ > `3`] }", lambda n: n),
    "values": ("${ @.* }", lambda n: 4),
    "flatten": ("${ [a, a][] }", lambda n: 2 + 2 * n + 2 * n),
    "map": ("${ map(&[@], a) }", lambda n: n),
    "nested map": ("${ map(&length(a[*]), [@, @]) }", lambda n: 2 + 2 * n),
    "sort": ("${ sort(a) }", lambda n: 0),
    "sort in each": ("{ $each: '${ a }', v: '${ sort($request.body.a)[0] }' }", lambda n: n + n * n),
    "sort_by": ("${ sort_by(a, &@) }", lambda n: n),
    "contains": ("${ contains(a, `-1`) }", lambda n: 0),
    "contains in each": (
        "{ $each: '${ a }', v: '${ contains($request.body.a, `-1`) }' }",
        lambda n: n + n * n,
    ),
    "length": ("${ length(a) }", lambda n: 0),
    "constants": ("${ contains(`[1, 2, 3]`, @) }", lambda n: 0),
    "a long text": (
        "{ $each: '${ a }', v: \"${ contains($request.body.s, 'b') }\" }",
        lambda n: n + n * (n // 64),
    ),
    "long texts compared": (
        "{ $each: '${ a }', v: '${ $request.body.s == $request.body.t }' }",
        lambda n: n + n * (n // 64),
    ),
    "long texts ordered": (
        "{ $each: '${ a }', v: '${ $request.body.s < $request.body.t }' }",
        lambda n: n + n * (n // 64),
    ),
    "long lists compared": (
        "{ $each: '${ a }', v: '${ $request.body.a == $request.body.b }' }",
        lambda n: n + n * (5 * n // 64),
    ),
    "JSON texts": (
        "{ $each: '${ a }', v: '${ length(to_json($request.body.a)) }' }",
        lambda n: n + n * 5 * n // 64,
    ),
    "parts of items": ("{ $each: '${ [a, a] }', v: '${ sort(@)[0] }' }", lambda n: 2),
    "spread of a list": ("{ $spread: '${ a[*].{k: @} }' }", lambda n: n),
}


@pytest.mark.parametrize("name", STEPS)
def test_work_is_counted_in_steps(name: str, tmp_path: Path) -> None:
    template, steps = STEPS[name]
    text = f"routes:\n  POST /x: {{ respond: {{ body: {json.dumps(template)} }} }}\n"
    if not template.startswith("$"):
        text = f"routes:\n  POST /x: {{ respond: {{ body: {template} }} }}\n"
    for n in (512, 1024):
        body = {"a": [7] * n, "b": [7] * n, "s": "a" * n, "t": "a" * n}
        taken = steps_of(text, tmp_path, body)
        assert taken == pytest.approx(steps(n), abs=max(2, steps(n) * 0.05)), taken


LOOP = """\
limits: { steps: 1000 }
upstreams: { up: { url: "http://up.example" } }
routes:
  POST /x:
    respond:
      body:
        $each: ${ a }
        v:
          $each: ${ $request.body.a }
          w: ${ @ }
  POST /y:
    call: POST up /y
    respond:
      body: "${ map(&length($upstream.body.a[*]), a) }"
  POST /z:
    call: POST up /z
    respond:
      stream_when: true
      pipeline:
        - to: ndjson
          rules:
            - each: ${ a }
              emit: { v: "${ @ }" }
"""


def test_a_client_that_causes_too_many_steps_is_refused(tmp_path: Path) -> None:
    plans = compiled(LOOP, tmp_path)
    message = "the limit of 1000 loop steps is exceeded (limits.steps)"
    assert posted(plans, "/x", {"a": [1] * 31}).error is None
    check_refused(posted(plans, "/x", {"a": [1] * 32}), 400, "invalid_request", message, "10:18")


def test_an_upstream_that_causes_too_many_steps_is_refused(tmp_path: Path) -> None:
    plans = compiled(LOOP, tmp_path)
    message = "the limit of 1000 loop steps is exceeded (limits.steps)"
    within_limit, above_limit = (Upstream([json.dumps({"a": [1] * n}).encode()]) for n in (31, 32))
    assert posted(plans, "/y", None, within_limit).error is None
    check_refused(posted(plans, "/y", None, above_limit), 502, "upstream_error", message, "15:22")


def test_too_many_steps_in_a_stream_are_reported_in_the_stream(tmp_path: Path) -> None:
    result = posted(compiled(LOOP, tmp_path), "/z", None, sse([{"a": [1] * 600}] * 3))
    assert result.response.status == 200
    lines = result.response.content.data.splitlines()
    assert len(lines) == 601
    error = json.loads(lines[-1])["error"]
    assert error["type"] == "upstream_error"
    assert error["message"].endswith("the limit of 1000 loop steps is exceeded (limits.steps)")
    assert location_of(result) == "23:21"


def test_work_on_the_request_for_every_event_is_counted(tmp_path: Path) -> None:
    """The stream of events is a loop too, although no template contains it."""
    for expression in (
        "contains($request.body.a, v)",
        "to_json([$request.body.a])",
        "sort($request.body.a)[0]",
    ):
        text = f"""\
limits: {{ steps: 2000 }}
upstreams: {{ up: {{ url: "http://up.example" }} }}
routes:
  POST /x:
    call: POST up /x
    respond:
      stream_when: true
      pipeline: [{{ to: ndjson, rules: [ {{ emit: {{ v: "${{ length(to_string({expression})) }}" }} }} ] }}]
"""
        plans = compiled(text, tmp_path)
        body = {"a": [1] * 500}
        assert posted(plans, "/x", body, sse([{"v": 1}])).error is None
        result = posted(plans, "/x", body, sse([{"v": 1}] * 200))
        assert result.error is not None, expression
        assert result.error.message.endswith("the limit of 2000 loop steps is exceeded (limits.steps)")
        assert location_of(result).startswith("9:")


def test_the_error_template_has_steps_in_reserve(tmp_path: Path) -> None:
    text = """\
limits: { steps: 3 }
errors: { body: { words: "${ split(message, ' ')[*] }" } }
routes: { POST /x: { respond: { body: "${ a[*] }" } } }
"""
    result = posted(compiled(text, tmp_path), "/x", {"a": [1] * 4})
    assert result.response.status == 400
    assert "steps" in json.loads(result.response.content.data)["words"]
    assert not result.exchange.warnings


def test_a_loop_at_load_has_the_default_limits(tmp_path: Path) -> None:
    text = 'limits: { steps: 1 }\nvars: { a: "${ `[1, 2, 3]`[*] }" }\n'
    text += 'routes: { POST /x: { respond: { body: "${ $vars.a }" } } }\n'
    compiled(text, tmp_path)


# --- Bytes of values -------------------------------------------------------------------------------------

#: Templates with small input and huge output; each fails before it exceeds its limit by more than one text.
EXPANDING: dict[str, str] = {
    "pad_left": "{ $each: '${ a }', v: \"${ pad_left('x', @) }\" }",
    "replace": "{ $each: '${ a }', v: \"${ replace($request.body.s, 'a', $request.body.s) }\" }",
    "join": "{ $each: '${ a }', v: \"${ join($request.body.s, split($request.body.s, '')) }\" }",
    "concat": "{ $each: '${ a }', v: \"${ concat($request.body.s, $request.body.s) }\" }",
    "text": "{ $each: '${ a }', v: \"-${ $request.body.s }\" }",
    "the same text": "{ $each: '${ a }', v: '${ $request.body.s }' }",
    "the same list": "{ $each: '${ a }', v: '${ $request.body.a }' }",
    "the same list, by name": "{ $let: { b: '${ a[*] }' }, rows: { $each: '${ a }', v: '${ $b }' } }",
    "the same list, in an expression": "{ $let: { b: '${ @ }' }, rows: '${ a[*].{v: $b} }' }",
    "the same list, by map": "{ $let: { b: '${ @ }' }, rows: '${ map(&$b, a) }' }",
    "the same list, as JSON": "{ $each: '${ a }', v: '${ to_json($request.body.a) }' }",
    "a long constant": "{ $each: '${ a }', v: '" + "x" * 1000 + "', w: '${ @ }' }",
    "a large object": "{ $each: '${ a }', $spread: '${ $request.body }' }",
}


@pytest.mark.parametrize("name", EXPANDING)
def test_output_of_expanding_templates_is_bounded(name: str, tmp_path: Path) -> None:
    text = f"limits: {{ bytes: {MIB} }}\nroutes:\n  POST /x:\n    respond: {{ body: {EXPANDING[name]} }}\n"
    plans = compiled(text, tmp_path)
    assert posted(plans, "/x", {"a": [5] * 10, "s": "a" * 10}).error is None
    result = posted(plans, "/x", {"a": [2000] * 2000, "s": "a" * 2000})
    assert result.response.status == 400
    assert result.error is not None
    assert result.error.message.endswith(f"the limit of {MIB} bytes is exceeded (limits.bytes)")
    assert location_of(result).startswith("5:")


def test_the_limit_applies_before_a_list_of_long_texts_is_complete(tmp_path: Path) -> None:
    """A body of 0.4 KB would produce 320 MiB. The default limit allows four texts of 16 MiB."""
    text = "routes: { POST /x: { respond: { body: { $each: '${ a }', v: \"${ pad_left('x', @) }\" } } } }\n"
    plans = compiled(text, tmp_path)
    result = posted(plans, "/x", {"a": [16 * MIB] * 20})
    check_refused(
        result, 400, "invalid_request", f"the limit of {64 * MIB} bytes is exceeded (limits.bytes)", "2:65"
    )
    assert result.exchange.limits == Limits()


def test_a_limit_exceeded_by_upstream_data_is_an_upstream_error(tmp_path: Path) -> None:
    text = f"""\
limits: {{ bytes: {MIB} }}
upstreams: {{ up: {{ url: "http://up.example" }} }}
routes:
  POST /x:
    call: POST up /x
    respond:
      body: {{ $each: "${{ a }}", v: "${{ pad_left('x', @) }}" }}
"""
    upstream = Upstream([b'{"a": [400000, 400000, 400000]}'])
    message = f"the limit of {MIB} bytes is exceeded (limits.bytes)"
    result = posted(compiled(text, tmp_path), "/x", None, upstream)
    check_refused(result, 502, "upstream_error", message, "8:39")


# --- Bytes of bodies and heads ---------------------------------------------------------------------------

WRITTEN = f"""\
limits: {{ bytes: {MIB} }}
upstreams: {{ up: {{ url: "http://up.example" }} }}
routes:
  POST /body: {{ respond: {{ body: {{ a: "${{ s }}", b: "${{ s }}", c: ["${{ @ }}", "${{ @ }}"] }} }} }}
  POST /call:
    call: {{ upstream: up, path: /x, body: ["${{ @ }}", "${{ @ }}"] }}
    respond: {{ body: "" }}
  POST /form:
    call: {{ upstream: up, path: /x, form: {{ a: "${{ s }}", b: "${{ @ }}" }} }}
    respond: {{ body: "" }}
  POST /events:
    call: POST up /x
    respond:
      stream_when: true
      pipeline: [{{ to: sse, rules: [ {{ emit: ["${{ @ }}", "${{ @ }}"] }} ] }}]
  POST /fields:
    respond:
      headers: {{ $spread: "${{ from_items(names[*].[@, $request.body.s]) }}" }}
      body: ""
  POST /sent:
    call:
      upstream: up
      path: /x
      headers: {{ $spread: "${{ from_items(names[*].[@, $request.body.s]) }}" }}
    respond: {{ body: "" }}
"""
TOO_MUCH = f"it writes more than {MIB} bytes (limits.bytes)"


@pytest.mark.parametrize(("path", "location"), [("/body", "5:34"), ("/call", "7:43"), ("/form", "10:43")])
def test_written_bytes_are_bounded(path: str, location: str, tmp_path: Path) -> None:
    plans = compiled(WRITTEN, tmp_path)
    assert posted(plans, path, {"s": "a" * (MIB // 5)}).error is None
    check_refused(
        posted(plans, path, {"s": "a" * (MIB * 2 // 3)}), 400, "invalid_request", TOO_MUCH, location
    )


def test_calls_and_the_response_share_one_limit(tmp_path: Path) -> None:
    text = f"""\
limits: {{ bytes: {MIB} }}
upstreams: {{ up: {{ url: "http://up.example" }} }}
routes:
  POST /x:
    calls:
      one: {{ upstream: up, path: /x, body: "${{ @ }}" }}
      two: {{ upstream: up, path: /x, body: ["${{ @ }}", "${{ $calls.one.status }}"] }}
    respond: {{ body: "${{ $request.body }}" }}
"""
    plans = compiled(text, tmp_path)
    assert posted(plans, "/x", {"s": "a" * (MIB // 4)}).error is None
    result = posted(plans, "/x", {"s": "a" * (MIB * 2 // 5)})
    check_refused(result, 502, "upstream_error", TOO_MUCH, "9:22")


def test_a_stream_that_writes_too_much_ends_with_an_error(tmp_path: Path) -> None:
    upstream = sse([{"n": n, "s": "a" * 1000} for n in range(1000)])
    result = posted(compiled(WRITTEN, tmp_path), "/events", None, upstream)
    pieces = result.response.content.data.split(b"\n\n")
    assert 1000 <= len(pieces) <= 1050
    assert sum(map(len, pieces[:-2])) <= MIB
    error = json.loads(pieces[-2].removeprefix(b"data: "))["error"]
    assert error["type"] == "upstream_error"
    assert error["message"].endswith(TOO_MUCH)
    assert location_of(result) == "16:47"


@pytest.mark.parametrize(("path", "location"), [("/fields", "19:16"), ("/sent", "25:16")])
def test_a_head_is_bounded(path: str, location: str, tmp_path: Path) -> None:
    """Without the bound, 3,000 fields of 8 KB would be sent."""
    plans = compiled(WRITTEN, tmp_path)
    few = {"names": [f"x-{n}" for n in range(7)], "s": "a" * 8000}
    assert posted(plans, path, few).error is None
    many = {"names": [f"x-{n}" for n in range(3000)], "s": "a" * 8000}
    plans = compiled(WRITTEN.replace(str(MIB), str(256 * MIB)), tmp_path)
    message = "its header fields exceed 65536 bytes"
    check_refused(posted(plans, path, many), 400, "invalid_request", message, location)


def test_a_long_query_is_refused_before_it_is_encoded(tmp_path: Path) -> None:
    text = """\
upstreams: { up: { url: "http://up.example" } }
routes:
  POST /x:
    call: { upstream: up, path: /x, query: { a: "${ a }" } }
    respond: { body: "" }
"""
    plans = compiled(text, tmp_path)
    assert posted(plans, "/x", {"a": [1] * 2000}).error is None
    result = posted(plans, "/x", {"a": [1] * 200_000})
    check_refused(result, 400, "invalid_request", "the values of its query are too long", "5:44")


def test_events_count_with_their_written_size(tmp_path: Path) -> None:
    upstream = Upstream(events([{"a": 1}] * 3), "text/event-stream")
    result = posted(compiled(WRITTEN, tmp_path), "/events", None, upstream)
    assert result.error is None
    assert result.exchange.output == MIB - len(result.response.content.data)
