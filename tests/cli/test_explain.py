"""`dragoman explain`: its exact output, and its errors.

`tests/suites/explain/cases.txt` has a name and arguments per line; `NAME.expect` has the expected output. If
`DRAGOMAN_WRITE_EXPECTED` is set, the test writes these files.
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
#: The secrets in the shop mapping's default environment.
SECRETS = (
    *("pass-of-orders", "orders.example", "key-of-stock", "token-of-chat", "key-one", "key-two"),
    *("key-of-files", "key-of-chat-server", "pass-of-proxy", "proxy-user", "c2hvcDpwYXNz"),
)


def cases() -> list[tuple[str, list[str]]]:
    pairs = (line.split(": ", 1) for line in (CASES / "cases.txt").read_text().splitlines())
    return [(name, shlex.split(arguments)) for name, arguments in pairs]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in the root of the repository, without environment variables that mappings read."""
    monkeypatch.chdir(ROOT)
    for name in os.environ:
        if name not in ("PATH", "HOME", "PYTHONPATH", "DRAGOMAN_WRITE_EXPECTED"):
            monkeypatch.delenv(name)


def explain(*arguments: str, env: dict[str, str] | None = None, given: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["explain", *arguments], env=env, input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(("name", "arguments"), cases(), ids=[name for name, _ in cases()])
def test_output(name: str, arguments: list[str]) -> None:
    result = explain(*arguments)
    output = f"{result.output}exit status {result.exit_code}\n"
    file = CASES / f"{name}.expect"
    if os.environ.get("DRAGOMAN_WRITE_EXPECTED"):
        file.write_text(output)
    assert output == file.read_text()
    if "shop" in name:
        assert not [secret for secret in SECRETS if secret in output]


def test_every_expected_file_has_a_case() -> None:
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
    respond: { body: { data: "${ @ }", folded: "${ $vars.folded.list[0] }" } }
"""


@pytest.mark.parametrize("token", ["sesame-open-now", "a&b=c-d%41+e", "http://sesame.example/a"])
def test_values_derived_from_a_secret_are_masked(tmp_path: Path, token: str) -> None:
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
        output = result.output.lower()
        for part in (token, "sesame", "secret-of-url", "host-secret", "host-other", "key-of-file"):
            assert part.lower() not in output, (arguments, part)
    traced = explain(str(file), "--request", "POST /x/7", env={"TOKEN": token}).output
    assert "POST https://host.example/" in traced
    assert "/7?t=" in traced
    assert "***&token=***" in traced
    assert '"set": true' in traced


def test_text_that_looks_like_a_key_is_masked_everywhere(tmp_path: Path) -> None:
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
        output = explain(str(file), *arguments, given="1").output
        assert "sk-0" not in output
        assert "***" in output, arguments


# --- Requests --------------------------------------------------------------------------------------------


def test_the_trace_has_the_response_of_the_server() -> None:
    """With another mapping as the upstream, for a complete and a streaming response."""
    mappings = ("mappings/ollama-over-openai.yaml", "mappings/demo.yaml")
    env = {"OPENAI_BASE_URL": "mapping:demo/v1"}
    for stream in (True, False):
        body = {"model": "llama3", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
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


def test_header_and_query_options_reach_the_mapping(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "dragoman: 1\nroutes: { GET /x: { respond: { body: "
        '{ q: "${ $request.query }", h: "${ $request.headers.x_a }" } } } }\n'.replace("x_a", '\\"x-a\\"')
    )
    options = ("--request", "GET /x?a=1", "--query", "b=2", "--query", "b=3 4", "--header", "X-A: v: w")
    result = explain(str(file), *options, "--format", "json")
    value = json.loads(result.output)[-1]["value"]
    assert value == {"q": {"a": "1", "b": ["2", "3 4"]}, "h": "v: w"}
    options = ("--request", "GET /x", "--header", "X-A: 1 2", "--header", "X-B: 3", "--query", "a=b c")
    value = json.loads(explain(str(file), "--format", "json", *options).output)[-1]["value"]
    assert value == {"q": {"a": "b c"}, "h": "1 2"}


# --- Errors ----------------------------------------------------------------------------------------------


def test_findings_are_printed_as_by_validate(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("dragoman: 1\nroutes: { GET /x: { respond: { body: '${ lenght(@) }' } } }\n")
    result = explain(str(file))
    assert result.exit_code == 1
    assert "error[unknown-function]" in result.output
    assert "did you mean 'length'?" in result.output
    assert json.loads(explain(str(file), "--format", "json").output)[0]["code"] == "unknown-function"


def test_an_unknown_mapping() -> None:
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
def test_an_unknown_route(option: str, name: str, hint: str) -> None:
    result = explain("mappings/ollama-over-openai.yaml", option, name)
    assert result.exit_code == 1
    assert result.output == f"no route serves '{name}'" + (f" ({hint})" if hint else "") + "\n"


def test_a_body_of_invalid_json() -> None:
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
def test_usage_errors(arguments: tuple[str, ...]) -> None:
    result = explain(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_server_does_not_import_it() -> None:
    """The code of `explain` must not slow down `serve`."""
    code = (
        "import sys, cli.serve; print([m for m in sys.modules if m in ('engine.explain', 'engine.testing')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
