"""The runner of mapping tests: running cases, every matcher, every mismatch message, coverage."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from docs.generate import examples_of
from engine import SuiteRun, distribution_version, run_suites, schema_text
from engine.errors import CALL_FAILURES
from engine.testing.notation import MATCHERS

MAPPING = """
    dragoman: 1
    env:
      HOST: { default: "http://shop.test/base" }
      KEYS: { secret: true }
    vars: { shop: corner }
    upstreams:
      shop: { url: "${ $env.HOST }" }
      inside: { url: "mapping:elsewhere" }
    auth: { bearer: "${ $env.KEYS }" }
    errors:
      body: { problem: "${ kind }", text: "${ message }" }
    routes:
      GET /items:
        call: { upstream: shop, path: /list, query: { limit: "${ $request.query.limit }" } }
        respond:
          body: { items: "${ warn(items, 'listed') }", shop: "${ $vars.shop }" }
      POST /items/{id}:
        request: { max_bytes: 100 }
        call:
          upstream: inside
          method: PUT
          path: /put/${ $request.params.id }
          headers: { x-tenant: "${ tenant }" }
          body: { name: "${ upper(name) }", size: "${ size }" }
        respond:
          status: 201
          headers: { location: "/items/${ $request.params.id }" }
          body: ${ @ }
      POST /form:
        call: { upstream: shop, path: /form, form: { a: "${ a }", b: "${ b }" } }
        respond: { status: 204 }
      POST /echo:
        respond: { headers: { content-type: application/json }, body: "${ nullable(@) }" }
      GET /text:
        respond: { body: plain words }
"""


def run(directory: Path, suite: str, mapping: str = MAPPING, name_part: str = "") -> SuiteRun:
    """Runs one suite file with one mapping file."""
    (directory / "shop.yaml").write_text(dedent(mapping))
    file = directory / "shop.test.yaml"
    file.write_text("dragoman: 1\n" + dedent(suite))
    return run_suites([file], name_part)


def mismatches(directory: Path, suite: str, mapping: str = MAPPING) -> list[str]:
    """Returns the mismatches of the only case, each as `line:column path: message`."""
    result = run(directory, suite, mapping).suites[0]
    assert not list(result.findings)
    (case,) = result.cases
    return [f"{m.span.line}:{m.span.column} {m}" for m in case.mismatches]


def findings(directory: Path, suite: str, mapping: str = MAPPING) -> list[str]:
    """Returns the findings of an invalid suite, each as `file:line:column code: message (hint)`."""
    result = run(directory, suite, mapping).suites[0]
    assert result.findings.has_errors
    assert not result.cases
    return [
        f"{Path(d.span.file.name).name}:{d.span.line}:{d.span.column} {d.code}: {d.message}"
        + (f" ({d.hint})" if d.hint else "")
        for d in result.findings
    ]


def echoed(directory: Path, received: Any, expected: str) -> list[str]:
    """Returns the mismatches between a received and an expected body, without their locations."""
    suite = f"""
cases:
  - name: echo
    request: {{ path: /echo, body: {json.dumps(received)} }}
    expect: {{ body: {expected} }}
"""
    result = run(directory, suite).suites[0]
    assert not list(result.findings)
    return [str(m) for m in result.cases[0].mismatches]


# --- A case from its request to its response -------------------------------------------------------------


def test_a_case_passes_if_everything_matches(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: all parts
        request:
          method: POST
          path: /items/a%20b
          query: { x: [1, 2] }
          headers: { X-Request-Id: abc, authorization: null }
          body: { name: tea, size: 2, colour: red, tenant: t1 }
        upstream:
          expect:
            upstream: inside
            method: PUT
            path: /put/a%20b
            query: {}
            headers: { X-Tenant: t1, authorization: null, x-request-id: "${ $request.id }" }
            body: { name: "${ upper($request.body.name) }", size: 2 }
          response: { status: 200, headers: { x: 1 }, body: { ok: true } }
        expect:
          status: 201
          headers:
            Location: "/items/${ $request.params.id }"
            content-type: application/json
            x-dragoman-dropped: colour
            x-request-id: { $matches: "^abc$" }
            x: null
          body: { ok: true }
          warnings: []
    """
    assert mismatches(tmp_path, suite) == []


def test_short_forms_contain_method_upstream_path_and_query(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: short
        request: GET /items?limit=5
        upstream:
          - expect: GET shop /base/list?limit=5
            response: { body: { items: [1] } }
        expect: { body: { items: [1], shop: "${ $vars.shop }" }, warnings: [listed] }
    """
    assert mismatches(tmp_path, suite) == []


def test_a_path_with_a_query_in_the_long_form(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: long
        request: { path: "/items?limit=5" }
        upstream:
          expect: { path: "/base/list?limit=6" }
          response: { body: { items: [1] } }
        expect: { body: { $open: true } }
    """
    assert mismatches(tmp_path, suite) == ['7:23 upstream.query.limit: expected "6", got "5"']


def test_every_mismatch_has_its_location(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: all wrong
        request: GET /items?limit=5
        upstream:
          expect:
            upstream: inside
            method: POST
            path: /list
            query: { limit: 6, page: 1 }
            headers: { accept: null, x-tenant: t1, user-agent: { $matches: ^curl } }
            body: { a: 1 }
          response: { body: { items: [1] } }
        expect:
          status: 404
          headers: { content-type: text/plain, x-a: b }
          body: { items: [], shop: 5 }
          warnings: [listed, twice]
    """
    agent = json.dumps(f"dragoman/{distribution_version()}")
    assert mismatches(tmp_path, suite) == [
        '8:19 upstream.upstream: expected "inside", got "shop"',
        '9:17 upstream.method: expected "POST", got "GET"',
        '10:15 upstream.path: expected "/list", got "/base/list"',
        '11:25 upstream.query.limit: expected "6", got "5"',
        '11:34 upstream.query.page: expected "1", but it is missing',
        '12:28 upstream.headers.accept: expected to be absent, got "application/json"',
        '12:44 upstream.headers.x-tenant: expected "t1", but it is missing',
        f'12:72 upstream.headers.user-agent: expected text that matches "^curl", got {agent}',
        '13:15 upstream.body: expected {"a":1}, but it is missing',
        "16:15 status: expected 404, got 200",
        '17:32 headers.content-type: expected "text/plain", got "application/json"',
        '17:49 headers.x-a: expected "b", but it is missing',
        "18:22 body.items[0]: not expected here, got 1",
        '18:32 body.shop: expected 5, got "corner"',
        '19:26 warnings[1]: expected "twice", but it is missing',
    ]


def test_without_expect_the_status_is_200(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: nothing expected
        request: GET /nowhere
    """
    assert mismatches(tmp_path, suite) == ["4:11 status: expected 200, got 404"]


def test_an_unsupported_method_has_the_servers_response(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: method
        request: DELETE /items
        expect:
          status: 405
          headers: { allow: "GET, HEAD" }
          body: { problem: method_not_allowed, $open: true }
    """
    assert mismatches(tmp_path, suite) == []


def test_the_response_to_head_has_no_body(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: head
        request: HEAD /text
        expect: { text: "" }
    """
    assert mismatches(tmp_path, suite) == []


def test_text_is_compared_as_text(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: text
        request: GET /text
        expect: { text: { $contains: words }, headers: { content-type: { $matches: ^text/plain } } }
    """
    assert mismatches(tmp_path, suite) == []


def test_a_body_that_is_not_json_is_a_mismatch(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: text
        request: GET /text
        expect: { body: { a: 1 } }
    """
    assert mismatches(tmp_path, suite) == ['6:21 body: expected JSON, got "plain words"']


def test_a_form_is_compared_by_its_fields(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: form
        request: { path: /form, body: { a: [1, 2], b: x y } }
        upstream: { expect: { form: { a: ["1", 2], b: z } } }
        expect: { status: 204, text: "" }
    """
    assert mismatches(tmp_path, suite) == ['6:51 upstream.form.b: expected "z", got "x y"']


def test_a_call_body_that_is_not_json_is_a_mismatch(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: form
        request: { path: /form, body: { a: 1 } }
        upstream: { expect: { body: { a: 1 } } }
        expect: { status: 204 }
    """
    assert mismatches(tmp_path, suite) == ['6:33 upstream.body: expected JSON, got "a=1"']


# --- Calls -----------------------------------------------------------------------------------------------


def test_an_unexpected_call_ends_the_case(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: surprise
        request: GET /items
        expect: { status: 500, body: 5 }
    """
    message = "unexpected call GET shop /base/list: the case expects no calls"
    assert mismatches(tmp_path, suite) == [f"4:5 upstream[0]: {message}"]


def test_an_extra_call_is_reported_with_the_earlier_ones(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: empty list
        request: GET /items
        upstream: []
    """
    message = "unexpected call GET shop /base/list: the case expects no calls"
    assert mismatches(tmp_path, suite) == [f"6:5 upstream[0]: {message}"]


def test_a_missing_call_is_reported(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: two
        request: GET /items
        upstream:
          - { response: { body: { items: [] } } }
          - expect: GET /more
        expect: { body: { items: [], shop: corner } }
    """
    assert mismatches(tmp_path, suite) == ["8:9 upstream[1]: expected a call, but none was made"]


@pytest.mark.parametrize("how", CALL_FAILURES)
def test_a_failed_call_has_the_error_of_the_http_adapter(tmp_path: Path, how: str) -> None:
    kind, what = CALL_FAILURES[how]
    if how == "too_large":
        what += ": over 16777216 bytes"
    status = {"upstream_error": 502, "upstream_unavailable": 503, "upstream_timeout": 504}[kind]
    suite = f"""
    cases:
      - name: fails
        request: GET /items
        upstream: {{ fail: {how} }}
        expect: {{ status: {status}, body: {{ problem: {kind}, text: "the upstream 'shop' {what}" }} }}
    """
    assert mismatches(tmp_path, suite) == []


def test_the_default_stub_response_is_200_without_a_body(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: empty
        request: GET /items
        upstream: {}
        expect: { status: 502, body: { problem: upstream_error, $open: true } }
    """
    assert mismatches(tmp_path, suite) == []


def test_stub_responses_are_read_from_their_bytes(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: no JSON
        request: GET /items
        upstream: { response: { headers: { content-type: text/html }, text: "<html>" } }
        expect: { status: 502, body: { problem: upstream_error, text: { $contains: invalid JSON } } }
      - name: a status and a header
        request: GET /items
        upstream: { response: { status: 429, headers: { Retry-After: 5 } } }
        expect: { status: 429, headers: { retry-after: 5 } }
    """
    result = run(tmp_path, suite)
    assert (result.passed, result.failed) == (2, 0)
    assert result.suites[0].cases[0].failure == (
        "upstream_error: the upstream's response is invalid JSON (line 1 column 1)"
    )


def test_requests_are_read_from_their_bytes(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: no JSON
        request: { path: /items/1, text: "{ no" }
        expect: { status: 400, body: { problem: invalid_request, $open: true } }
      - name: too large
        request: { path: /items/1, body: { name: &l "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", a: *l, b: *l } }
        expect: { status: 413, body: { text: the body is larger than 100 bytes, $open: true } }
      - name: a type that is not taken
        request: { path: /items/1, headers: { content-type: multipart/form-data }, text: a }
        expect: { status: 415 }
    """
    result = run(tmp_path, suite)
    assert (result.passed, result.failed) == (3, 0)


def test_an_error_in_a_template_has_its_location(tmp_path: Path) -> None:
    suite = """
    cases:
      - name: raises
        request: { path: /items/1, body: { name: 5 } }
        upstream: { response: { body: {} } }
    """
    result = run(tmp_path, suite).suites[0].cases[0]
    assert [str(m) for m in result.mismatches] == [
        "upstream: expected a call, but none was made",
        "status: expected 200, got 400",
    ]
    assert result.failure is not None
    assert result.failure.startswith(
        f"invalid_request: the request cannot be translated ({tmp_path}/shop.yaml:25:"
    )
    assert ": upper() takes" in result.failure


def test_a_defect_of_the_engine_fails_the_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise KeyError("secret text")

    monkeypatch.setattr("engine.exchange.run.read_body", explode)
    suite = """
    cases:
      - name: defect
        request: GET /text
        expect: { status: 500 }
    """
    assert mismatches(tmp_path, suite) == ["4:11 exchange: internal error: KeyError in explode()"]


# --- Environments ----------------------------------------------------------------------------------------


def test_only_the_suites_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "http://process.test/process")
    suite = """
    env: { HOST: "http://other.test/other", KEYS: "k1,k2" }
    cases:
      - name: the suite's
        request: { path: /items, headers: { authorization: Bearer k2 } }
        upstream: { expect: GET /other/list, response: { body: { items: [] } } }
        expect: { body: { $open: true } }
      - name: the case's
        env: { HOST: "http://case.test/case", KEYS: null }
        request: GET /items
        upstream: { expect: GET /case/list, response: { body: { items: [] } } }
        expect: { body: { $open: true } }
      - name: needs a key
        request: GET /items
        expect: { status: 401, headers: { www-authenticate: Bearer } }
    """
    result = run(tmp_path, suite)
    assert (result.passed, result.failed) == (3, 0)


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    mapping = """
    dragoman: 1
    env: { TOKEN: { required: true, description: "the token" } }
    routes: { GET /: { respond: { body: "${ $env.TOKEN }" } } }
    """
    suite = """
    cases:
      - name: a
        request: GET /
    """
    hint = f"set it under 'env' in {tmp_path}/shop.test.yaml"
    message = "the environment variable TOKEN is not set: the token"
    assert findings(tmp_path, suite, mapping) == [f"shop.yaml:3:8 missing-env: {message} ({hint})"]


# --- Expectations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ({"a": 1, "b": [True, None, "x", 1.5]}, '{ a: 1, b: [true, null, "x", 1.5] }'),
        (1, "1.0"),
        ({"a": 1, "b": 2}, "{ a: 1, $open: true }"),
        ({"$a": 1}, "{ $$a: 1 }"),
        ("x", "{ $any: string }"),
        (5, "{ $any: integer }"),
        (5.5, "{ $any: number }"),
        (5, "{ $any: number }"),
        (False, "{ $any: boolean }"),
        ({}, "{ $any: object }"),
        ([], "{ $any: array }"),
        ({"a": None}, '{ a: { $any: "null" } }'),
        ({"a": None}, "{ a: { $any: any } }"),
        ("gpt-4o", '{ $matches: "^gpt-[0-9]o$" }'),
        ("a long text", "{ $contains: long }"),
        (["a", {"b": 1, "c": 2}], "{ $contains: { b: 1, $open: true } }"),
        ([1, "one"], '{ $contains: "${ @[1] }" }'),
        ("one", '{ $contains: "${ @ }" }'),
        ([1, 2], "{ $length: 2 }"),
        ("abc", "{ $length: 3 }"),
        ({"a": 1}, '{ $length: "${ length(keys(@)) }" }'),
        ({}, "{ a: { $optional: 1 } }"),
        ({"a": 1}, "{ a: { $optional: { $any: integer } } }"),
        ([1, 2, 3], "{ $unordered: [3, 1, 2] }"),
        ([1, "a"], "{ $unordered: [{ $any: any }, 1] }"),
        ([1, "a", None], '{ $unordered: [{ $any: any }, { $any: integer }, "a"] }'),
        ({"a": 1, "b": 1}, '{ a: 1, b: "${ a }" }'),
        ({"a": [1]}, '{ a: "${ $request.body.a }" }'),
        ({"a": "x-1"}, '{ a: "x-${ length(a) && `1` }" }'),
        ({"a": "${ b }"}, '{ a: "$${ b }" }'),
        ({"a": 1}, '{ a: 1, b: "${ c }" }'),
        ({"b": None}, '{ b: "${ c }" }'),
    ],
)
def test_matching_values(tmp_path: Path, received: Any, expected: str) -> None:
    assert echoed(tmp_path, received, expected) == []


@pytest.mark.parametrize(
    ("received", "body", "expected"),
    [
        (1, "2", ["body: expected 2, got 1"]),
        (1, "true", ["body: expected true, got 1"]),
        (False, "0", ["body: expected 0, got false"]),
        ("1", "1", ['body: expected 1, got "1"']),
        ({"a": None}, "{ a: 1 }", ["body.a: expected 1, got null"]),
        ({}, "{ a: null }", ["body.a: expected null, but it is missing"]),
        ([1], "{ a: 1 }", ["body: expected an object, got [1]"]),
        ({"a": 1}, "[1]", ['body: expected a list, got {"a":1}']),
        ({"a": {"b c": 1}}, "{ a: {} }", ['body.a["b c"]: not expected here, got 1']),
        ([1, 2, 3], "[1]", ["body[1]: not expected here, got 2", "body[2]: not expected here, got 3"]),
        ([1], "[1, { a: 1 }]", ['body[1]: expected {"a":1}, but it is missing']),
        ({"a": [{"b": 1}]}, "{ a: [{ b: 2 }] }", ["body.a[0].b: expected 2, got 1"]),
        ("x", "{ $any: integer }", ['body: expected an integer, got "x"']),
        (True, "{ $any: integer }", ["body: expected an integer, got true"]),
        (1.5, "{ $any: integer }", ["body: expected an integer, got 1.5"]),
        (1, "{ $any: string }", ["body: expected a string, got 1"]),
        (None, "{ $any: number }", ["body: expected a number, got null"]),
        (0, "{ $any: boolean }", ["body: expected a boolean, got 0"]),
        ([], "{ $any: object }", ["body: expected an object, got []"]),
        ({}, "{ $any: array }", ["body: expected an array, got {}"]),
        (0, '{ $any: "null" }', ["body: expected null, got 0"]),
        ({}, "{ a: { $any: any } }", ["body.a: expected any value, but it is missing"]),
        ("abc", '{ $matches: "^b" }', ['body: expected text that matches "^b", got "abc"']),
        (5, "{ $matches: 5x }", ['body: expected text that matches "5x", got 5']),
        ("abc", "{ $contains: d }", ['body: expected text or a list that contains "d", got "abc"']),
        ("abc", "{ $contains: 5 }", ['body: expected text or a list that contains 5, got "abc"']),
        ([1], "{ $contains: 2 }", ["body: expected text or a list that contains 2, got [1]"]),
        (5, "{ $contains: 5 }", ["body: expected text or a list that contains 5, got 5"]),
        ("5", "{ $contains: '${ keys(@) }' }", [
            "body: expected text or a list that contains \"${ keys(@) }\", got \"5\"",
        ]),
        ([1], "{ $length: 2 }", ["body: expected a length of 2, got 1"]),
        (5, "{ $length: 2 }", ["body: expected a length of 2, got 5"]),
        ({"a": "x"}, "{ a: { $optional: 1 } }", ['body.a: expected 1, got "x"']),
        ([1, 2], "{ $unordered: [2, 3] }", [
            "body: expected an item 3, but it is missing",
            "body[0]: not expected here, got 1",
        ]),
        ({}, "{ $unordered: [] }", ["body: expected a list, got {}"]),
        ({"a": 1, "b": 2}, '{ a: 1, b: "${ a }" }', ["body.b: expected 1, got 2"]),
        ({"a": {"b": 1}}, '{ a: "${ { b: `2` } }" }', ["body.a.b: expected 2, got 1"]),
        ({"b": 2}, '{ b: "${ c }" }', ["body.b: expected no value, got 2"]),
        ({"a": "x" * 300}, "{ a: 1 }", [f'body.a: expected 1, got "{"x" * 158}…']),
    ],
)  # fmt: skip
def test_mismatching_values(tmp_path: Path, received: Any, body: str, expected: list[str]) -> None:
    assert echoed(tmp_path, received, body) == expected


def test_a_failing_expression_is_a_mismatch(tmp_path: Path) -> None:
    found = echoed(tmp_path, {"a": 1}, '{ a: "${ upper($request.body.a) }" }')
    assert len(found) == 1
    assert found[0].startswith("body.a: cannot evaluate this expectation: ")
    assert "shop.test.yaml:6:" in found[0]
    assert "upper() takes" in found[0]


def test_every_matcher_is_in_the_cases_above() -> None:
    text = Path(__file__).read_text()
    assert all(f"{{ {matcher}: " in text for matcher in MATCHERS)


# --- Invalid suites --------------------------------------------------------------------------------------


def test_errors_of_a_suite_are_found_before_it_runs(tmp_path: Path) -> None:
    suite = """
    env: { HSOT: x }
    cases:
      - name: a
        request: GET /items
        upstream: { expect: GET shopp /list }
        expect:
          headers: { a: { $optinal: 1 }, b: { $optional: 1 } }
          body:
            a: { $anyy: string }
            b: { $any: strin }
            c: { $matches: "(" }
            d: { $matches: 5 }
            e: { $length: -1 }
            f: { $unordered: 5 }
            g: [{ $optional: 1 }]
            h: { $any: string, x: 1 }
            i: { $open: yes, x: 1 }
            j: "${ foo( }"
            k: "${ $requst.body }"
            l: "${ $env.HSOT }"
            m: "${ uper('a') }"
      - name: a
        request: { path: "/items?a=1", query: { b: 1 } }
    """
    types = "string, integer, number, boolean, object, array, null, any"
    assert findings(tmp_path, suite) == [
        "shop.test.yaml:3:8 unknown-variable: the mapping declares no environment variable 'HSOT'"
        " (did you mean 'HOST'?)",
        "shop.test.yaml:7:29 unknown-upstream: unknown upstream 'shopp' (did you mean 'shop'?)",
        "shop.test.yaml:9:23 unknown-matcher: unknown matcher '$optinal';"
        " a literal key is written '$$optinal' (did you mean '$optional'?)",
        "shop.test.yaml:11:14 unknown-matcher: unknown matcher '$anyy'; a literal key is written '$$anyy'"
        " (did you mean '$any'?)",
        f"shop.test.yaml:12:20 bad-value: '$any' takes one of: {types} (did you mean 'string'?)",
        "shop.test.yaml:13:24 bad-regex: invalid RE2 regular expression: missing ): (",
        "shop.test.yaml:14:24 bad-value: '$matches' takes a regular expression",
        "shop.test.yaml:15:23 bad-value: '$length' takes a non-negative integer or an expression ${ … }",
        "shop.test.yaml:16:26 bad-value: '$unordered' takes a list",
        "shop.test.yaml:17:15 misused-matcher: '$optional' is only allowed as the value of a key",
        "shop.test.yaml:18:14 misused-matcher: '$any' must be the only key of its object",
        "shop.test.yaml:19:21 bad-value: '$open' must be true or absent",
        "shop.test.yaml:20:20 bad-expression: the expression ends too early",
        "shop.test.yaml:21:16 unknown-variable: unknown variable '$requst' (did you mean '$request'?)",
        "shop.test.yaml:22:16 unknown-variable: unknown variable '$env.HSOT' (did you mean 'HOST'?)",
        "shop.test.yaml:23:16 unknown-function: unknown function 'uper' (did you mean 'upper'?)",
        "shop.test.yaml:24:11 duplicate-case: duplicate case name, first used at line 5",
        "shop.test.yaml:25:36 bad-value: the path already contains a query",
    ]


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("cases: []", ["2:8 bad-value: expected a list of at least one case"]),
        ("case: 1", ["2:1 unknown-key: unknown key 'case'"]),
        ("cases: [", ["2:8 yaml-syntax: invalid YAML: "]),
        (
            "cases: [{ name: a, request: get /x }]",
            ["2:29 bad-value: expected 'METHOD /path', or a mapping"],
        ),
        (
            "cases: [{ name: a, request: GET /x, upstream: { fail: conect } }]",
            ["2:55 bad-value: expected connect, timeout, busy, open, broken or too_large"],
        ),
        (
            "cases: [{ name: a, request: GET /x, upstream: { fail: connect, response: {} } }]",
            ["2:47 bad-value: expected 'response' or 'fail', not both"],
        ),
        (
            "cases: [{ name: a, request: GET /x, expect: { status: '200', warnings: 5 } }]",
            [
                "2:55 wrong-type: expected a status from 200 to 599, got a string",
                "2:72 wrong-type: expected a list, or a matcher, got a number",
            ],
        ),
        (
            "cases: [{ name: a, request: GET /x, expect: null, upstream: [null] }]",
            [
                "2:45 wrong-type: expected a mapping, got null",
                "2:62 wrong-type: expected a mapping, got null",
            ],
        ),
        (
            "cases: [{ name: a, request: { path: /x, body: 1, text: a } }]",
            ["2:29 bad-value: expected 'body' or 'text', not both"],
        ),
        (
            "cases: [{ name: a, request: GET /x, expect: { headers: { a b: 1 } } }]",
            ["2:58 bad-key: invalid key 'a b': expected a header field's name"],
        ),
    ],
)
def test_a_suite_that_violates_the_schema_is_invalid(tmp_path: Path, suite: str, expected: list[str]) -> None:
    found = findings(tmp_path, suite)
    assert len(found) == len(expected)
    for one, start in zip(found, expected, strict=True):
        assert one.removeprefix("shop.test.yaml:").startswith(start)


def test_a_file_that_is_not_a_suite_is_invalid(tmp_path: Path) -> None:
    file = tmp_path / "shop.test.yaml"
    wrong = {"- a": "wrong-type", "": "empty-file", "abc": "wrong-type", "a: [": "yaml-syntax"}
    for text, code in wrong.items():
        file.write_text(text)
        (finding,) = run_suites([file]).suites[0].findings
        assert finding.code == code


def test_a_missing_mapping_is_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "alone.test.yaml"
    file.write_text("{ dragoman: 1, cases: [{ name: a, request: GET / }] }")
    (finding,) = run_suites([file]).suites[0].findings
    assert (finding.code, finding.span.line) == ("file-unreadable", 1)
    assert finding.message == "there is no mapping 'alone.yaml' next to this file"
    file.write_text("{ dragoman: 1, mapping: gone.yaml, cases: [{ name: a, request: GET / }] }")
    (finding,) = run_suites([file]).suites[0].findings
    assert finding.message == f"'{tmp_path}/gone.yaml' is not a file"
    assert finding.span.column == 25


def test_errors_of_a_mapping_stop_only_its_suite(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("dragoman: 1\nroutes: { GET /: { respond: { body: 1 } } }\n")
    (tmp_path / "good.test.yaml").write_text("{ dragoman: 1, cases: [{ name: a, request: GET / }] }")
    (tmp_path / "bad.yaml").write_text("dragoman: 1\nroutes: { GET /: { call: GET x /, respond: {} } }\n")
    (tmp_path / "bad.test.yaml").write_text("{ dragoman: 1, cases: [{ name: a, request: GET / }] }")
    result = run_suites([tmp_path / "bad.test.yaml", tmp_path / "good.test.yaml"])
    assert (result.passed, result.failed, result.not_run) == (1, 0, 1)
    (finding,) = result.suites[0].findings
    assert str(finding.span) == f"{tmp_path}/bad.yaml:2:30"
    assert finding.code == "unknown-upstream"


def test_an_unreadable_file_is_a_finding(tmp_path: Path) -> None:
    (finding,) = run_suites([tmp_path / "gone.test.yaml"]).suites[0].findings
    assert finding.code == "file-unreadable"


# --- Coverage --------------------------------------------------------------------------------------------

BRANCHES = """
    dragoman: 1
    include: [shared.yaml]
    env: { MODE: { default: "a" } }
    upstreams: { x: { url: "http://x.test" } }
    templates:
      unused: { $if: "${ @ }", a: 1 }
    routes:
      GET /one:
        call: GET x /
        respond:
          - when: ${ $upstream.status == `404` }
            status: 404
            body: { $if: "${ a }", b: 1 }
          - body:
              kind:
                $switch: ${ kind }
                $cases: { a: A, b: B }
                $default: other
              more: { $use: shared }
      GET /two:
        respond: { body: { $if: "${ $env.MODE == 'a' }", $then: 1, $else: 2 } }
      GET /three:
        respond: { body: { $if: "${ $env.MODE }", $then: 1 } }
      POST /four:
        call: { upstream: x, path: /, body: "${ @ }" }
        respond: { body: "${ @ }" }
      POST /five:
        call: { upstream: x, path: /, body: "${ @ }" }
        respond:
          stream_when: true
          pipeline: [{ to: ndjson, rules: [{ emit: "${ @ }" }, { when: "${ a }", stop: true }] }]
"""
SHARED = """
    dragoman: 1
    templates:
      shared: { $if: "${ kind }", $then: yes }
"""
COVERING = """
    cases:
      - name: one
        request: GET /one
        upstream: { response: { body: { kind: a } } }
        expect: { body: { $open: true } }
      - name: two
        request: GET /two
      - name: two again
        env: { MODE: b }
        request: GET /two
      - name: four
        request: { path: /four, body: 1 }
        upstream: { fail: connect }
        expect: { status: 502 }
      - name: five
        request: { path: /five, body: 1 }
        upstream: { response: { body: {} } }
"""


def uncovered(result: SuiteRun) -> list[str]:
    return [f"{Path(u.span.file.name).name}:{u.span.line}:{u.span.column} {u.what}" for u in result.uncovered]


def test_uncovered_branches_are_reported(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text(dedent(SHARED))
    result = run(tmp_path, COVERING, BRANCHES)
    assert (result.passed, result.failed) == (5, 0)
    assert uncovered(result) == [
        "shared.yaml:4:13 the branch where this $if is false",
        "shop.yaml:7:13 the branch where this $if is true",
        "shop.yaml:7:13 the branch where this $if is false",
        "shop.yaml:12:9 response 1 of GET /one",
        "shop.yaml:18:29 the case b of this $switch",
        "shop.yaml:19:13 the default of this $switch",
        "shop.yaml:23:3 the route GET /three",
        "shop.yaml:27:5 the response of POST /four",
        "shop.yaml:32:60 this stream rule",
    ]


def test_the_coverage_of_all_suites_is_combined(tmp_path: Path) -> None:
    mapping = """
    dragoman: 1
    routes:
      GET /a: { respond: { body: a } }
      GET /b: { respond: { body: b } }
    """
    (tmp_path / "m.yaml").write_text(dedent(mapping))
    files = []
    for name in "ab":
        file = tmp_path / f"{name}.test.yaml"
        file.write_text(f"{{ dragoman: 1, mapping: m.yaml, cases: [{{ name: x, request: GET /{name} }}] }}")
        files.append(file)
    assert uncovered(run_suites(files[:1])) == ["m.yaml:5:3 the route GET /b"]
    assert uncovered(run_suites(files)) == []


def test_a_selection_of_cases_reports_no_coverage(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text(dedent(SHARED))
    result = run(tmp_path, COVERING, BRANCHES, name_part="two")
    assert (result.passed, result.uncovered) == (2, ())


# --- The schema ------------------------------------------------------------------------------------------

SCHEMA = json.loads(schema_text("suite"))


def test_every_field_of_the_schema_is_described_with_an_example() -> None:
    for definition in (SCHEMA, *SCHEMA["definitions"].values()):
        for name, field in definition.get("properties", {}).items():
            target = SCHEMA["definitions"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field
            assert target.get("description"), name
            assert examples_of(target), name


def test_the_schema_names_every_failure_of_a_call() -> None:
    assert SCHEMA["definitions"]["upstream"]["properties"]["fail"]["enum"] == list(CALL_FAILURES)


def test_a_mapping_that_only_mappings_call(tmp_path: Path) -> None:
    suite = """
        mapping: shop.yaml
        cases:
          - name: it is run as another mapping calls it
            request: { method: GET, path: /items }
            expect: { text: here }
    """
    mapping = """
        dragoman: 1
        public: false
        routes:
          GET /items: { respond: { body: here } }
    """
    assert run(tmp_path, suite, mapping).passed == 1
