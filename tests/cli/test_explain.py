"""`dragoman explain`: what it prints, to the letter, and what it says of what cannot be explained.

`tests/suites/explain/cases.txt` has a name and arguments a line, and `NAME.expect` beside it what is printed;
where `DRAGOMAN_WRITE_EXPECTED` is set, these files are written.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/suites/explain"
SHOP = "tests/suites/explain/shop.yaml"
#: What is secret in the shop, where no environment says otherwise.
SECRETS = (
    *("pass-of-orders", "orders.example", "key-of-stock", "token-of-chat", "key-one", "key-two"),
    *("key-of-files", "key-of-chat-server", "pass-of-proxy", "proxy-user", "c2hvcDpwYXNz"),
)


def cases() -> list[tuple[str, list[str]]]:
    pairs = (line.split(": ", 1) for line in (CASES / "cases.txt").read_text().splitlines())
    return [(name, shlex.split(arguments)) for name, arguments in pairs]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs beside the mappings, with no variable that they read."""
    monkeypatch.chdir(ROOT)
    for name in os.environ:
        if name not in ("PATH", "HOME", "PYTHONPATH", "DRAGOMAN_WRITE_EXPECTED"):
            monkeypatch.delenv(name)


def explain(*arguments: str, env: dict[str, str] | None = None, given: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["explain", *arguments], env=env, input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(("name", "arguments"), cases(), ids=[name for name, _ in cases()])
def test_what_is_told(name: str, arguments: list[str]) -> None:
    result = explain(*arguments)
    told = f"{result.output}exit status {result.exit_code}\n"
    file = CASES / f"{name}.expect"
    if os.environ.get("DRAGOMAN_WRITE_EXPECTED"):
        file.write_text(told)
    assert told == file.read_text()
    if "shop" in name:
        assert not [secret for secret in SECRETS if secret in told]


def test_no_case_is_left_behind() -> None:
    assert {file.stem for file in CASES.glob("*.expect")} == {name for name, _ in cases()}


# --- Secrets ---------------------------------------------------------------------------------------------

DERIVED = """
dragoman: 1
env:
  TOKEN: { secret: true, required: true }
  PLAIN_URL: { default: "https://user:secret-of-url@host.example" }
  WHERE: { secret: true, default: "http://host-secret.example/x,http://host-other.example/x" }
vars: { folded: { $file: folded.json } }
upstreams:
  up: { url: "${ $env.PLAIN_URL }/${ $env.TOKEN }" }
  many: { url: "${ $env.WHERE }" }
routes:
  POST /x/{id}:
    call:
      upstream: up
      path: /p/${ $env.TOKEN }/${ $request.params.id }
      method: POST
      query: { t: "${ $env.TOKEN }", token: "${ $vars.folded.key }", u: "${ $env.PLAIN_URL }" }
      headers: { x-digest: "${ sha256($env.TOKEN) }", x-b: "${ base64_encode($env.TOKEN) }" }
      body: { parts: "${ split($env.TOKEN, '-') }", up: "${ upper($env.TOKEN) }", set: "${ $is_set.TOKEN }" }
    respond: { body: { said: "${ @ }", folded: "${ $vars.folded.list[0] }" } }
"""


@pytest.mark.parametrize("token", ["sesame-open-now", "a&b=c-d%41+e", "http://sesame.example/a"])
def test_nothing_that_is_made_of_a_secret_tells_it(tmp_path: Path, token: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(DERIVED)
    (tmp_path / "folded.json").write_text('{"key": "key-of-file", "list": ["item-of-file"]}')
    (tmp_path / "b.json").write_text("{}")
    for arguments in (
        (),
        ("--python",),
        ("--format", "json"),
        ("--request", "POST /x/7", "--body", str(tmp_path / "b.json")),
        ("--request", "POST /x/7", "--body", str(tmp_path / "b.json"), "--response", "401"),
        ("--request", "POST /x/7", "--format", "json"),
    ):
        result = explain(str(file), *arguments, env={"TOKEN": token})
        assert len(result.output) > 100
        told = result.output.lower()
        for part in (token, "sesame", "secret-of-url", "host-secret", "host-other", "key-of-file"):
            assert part.lower() not in told, (arguments, part)
    walked = explain(str(file), "--request", "POST /x/7", env={"TOKEN": token}).output
    assert "POST https://host.example/" in walked
    assert "/7?t=" in walked
    assert "***&token=***" in walked
    assert '"set": true' in walked


def test_what_looks_like_a_key_is_masked_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        'dragoman: 1\nupstreams: { u: { url: "http://h" } }\nroutes:\n  GET /x:\n'
        "    call: { upstream: u, path: /, when: \"${ $request.query.k == 'sk-0123456789abcdefghij' }\" }\n"
        '    respond: { headers: { x-other: sk-0123456789abcdefghij }, body: "${ @ }" }\n'
    )
    for arguments in (
        (),
        ("--python",),
        ("--request", "GET /x?k=sk-0123456789abcdefghij", "--response", "-"),
    ):
        told = explain(str(file), *arguments, given="1").output
        assert "sk-0" not in told
        assert "***" in told, arguments


# --- Requests --------------------------------------------------------------------------------------------


def test_the_trace_gives_what_the_server_gives() -> None:
    """The answer of a call by another mapping, whole and as a stream."""
    mappings = ("mappings/ollama-over-openai.yaml", "mappings/demo.yaml")
    env = {"OPENAI_BASE_URL": "mapping:demo/v1"}
    for stream in (True, False):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        request = ("--request", "POST /api/chat", "--body", "-", "--format", "json")
        result = explain(*mappings, *request, env=env, given=json.dumps(body))
        steps = {step["label"]: step for step in json.loads(result.output)}
        assert steps["upstream response"]["text"] == "200 from the mapping demo"
        got = steps["client response"]
        assert got["text"] == ("200 application/x-ndjson" if stream else "200 application/json")
        assert (got["value"].count("\n") > 1) if stream else (got["value"]["message"]["content"] == "hi")
        assert result.exit_code == 0


def test_a_route_is_found_by_its_pattern_and_by_a_path() -> None:
    by_pattern = explain(SHOP, "--route", "GET /shop/orders/{id}")
    assert by_pattern.exit_code == 0
    assert by_pattern.output == explain(SHOP, "--route", "get /shop/orders/17").output


def test_headers_and_parameters_reach_the_mapping(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "dragoman: 1\nroutes: { GET /x: { respond: { body: "
        '{ q: "${ $request.query }", h: "${ $request.headers.x_a }" } } } }\n'.replace("x_a", '\\"x-a\\"')
    )
    options = ("--request", "GET /x?a=1", "--query", "b=2", "--query", "b=3 4", "--header", "X-A: v: w")
    result = explain(str(file), *options, "--format", "json")
    value = json.loads(result.output)[-1]["value"]
    assert value == {"q": {"a": "1", "b": ["2", "3 4"]}, "h": "v: w"}
    env = {"DRAGOMAN_REQUEST": "GET /x", "DRAGOMAN_HEADER": "X-A: 1 2\nX-B: 3", "DRAGOMAN_QUERY": "a=b c"}
    value = json.loads(explain(str(file), "--format", "json", env=env).output)[-1]["value"]
    assert value == {"q": {"a": "b c"}, "h": "1 2"}


# --- What cannot be explained ----------------------------------------------------------------------------


def test_findings_are_told_as_validate_tells_them(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("dragoman: 1\nroutes: { GET /x: { respond: { body: '${ lenght(@) }' } } }\n")
    result = explain(str(file))
    assert result.exit_code == 1
    assert "error[unknown-function]" in result.output
    assert "did you mean 'length'?" in result.output
    assert json.loads(explain(str(file), "--format", "json").output)[0]["code"] == "unknown-function"


def test_a_mapping_that_is_not_there() -> None:
    result = explain("nowhere")
    assert result.exit_code == 1
    assert "error[no-files]" in result.output


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GET /api/tgs", "did you mean 'GET /api/tags'?"),
        ("DELETE /api/tags", "its methods are GET, HEAD"),
        ("GET /quite/another", ""),
    ],
)
@pytest.mark.parametrize("option", ["--route", "--request"])
def test_a_route_that_is_not_there(option: str, name: str, hint: str) -> None:
    result = explain("mappings/ollama-over-openai.yaml", option, name)
    assert result.exit_code == 1
    assert result.output == f"no route serves '{name}'" + (f"; {hint}" if hint else "") + "\n"


def test_a_body_that_is_no_json() -> None:
    result = explain(SHOP, "--request", "POST /shop/orders", "--body", "-", given="{oops")
    assert result.exit_code == 1
    assert "error: invalid_request: the request's body is invalid JSON: line 1 column 2" in result.output
    assert "client response: 400" in result.output
    refused = explain(SHOP, "--request", "POST /shop/orders", "--body", "-", given="{}")
    assert "error: unprocessable" in refused.output
    assert refused.exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (SHOP, "--body", "-"),
        (SHOP, "--response", "404"),
        (SHOP, "--route", "GET /shop/health", "--request", "GET /shop/health"),
        (SHOP, "--request", "GET /shop/health", "--python"),
        (SHOP, "--route", "/shop/health"),
        (SHOP, "--request", "GET"),
        (SHOP, "--request", "GET /shop/health", "--header", "no colon"),
        (SHOP, "--request", "GET /shop/health", "--query", "word"),
        (SHOP, "--request", "GET /shop/health", "--response", "no-such-file.json"),
        (SHOP, "--request", "GET /shop/health", "--response", "200:no-such-file.json"),
        (SHOP, "--request", "GET /shop/health", "--body", "no-such-file.json"),
        (SHOP, "--format", "github"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    result = explain(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_nothing_of_it_is_imported_by_a_server() -> None:
    """What only explains costs serving nothing."""
    code = (
        "import sys, cli.serve; print([m for m in sys.modules if m in ('engine.explain', 'engine.testing')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
