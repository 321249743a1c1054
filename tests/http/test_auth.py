"""Each upstream authentication scheme: what it sends, and that its schema, docs and cases exist.

The cases are the files of `suites/auth/`, one per scheme: an `auth`, the environment, the header fields and
the query that are added to a request, the header fields that differ between a call, a forward and a health
check (`headers_of`), its description, its secrets, the environments without a secret (`empty`), and the
environments and values of `auth` that are findings (`refused`, `refused_auth`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import engine.http.auth
from engine import (
    Explainer,
    Findings,
    PlanSet,
    Request,
    StubResponse,
    compile_set,
    exchange,
    load,
    schema_text,
)
from engine.errors import AuthError
from engine.http.auth import SCHEMES, AuthRequest, Credentials, make_auth, scheme_options
from engine.http.messages import EMPTY, JSON, Content, Inbound, UpstreamResponse
from engine.language.schema.file_schemas import schema_named
from engine.testing.offline import carry_out
from tests.support.signing import TEST_SCHEMA, TEST_SCHEMES, FailingAuth

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "suites" / "auth"
MAPPING = """
dragoman: 1
upstreams: { up: { url: "http://up.example/base", health: GET /health } }
routes:
  POST /call:
    call: { upstream: up, path: /x, query: { a: "1", key: mine }, body: "${ @ }" }
    respond: { body: "${ @ }" }
  POST /forward: { forward: up /x }
  GET /health: { builtin: health }
"""
WAYS = {"call": ("POST", "/call"), "forward": ("POST", "/forward"), "health": ("GET", "/health")}


def case(scheme: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CASES / f"{scheme}.yaml").read_text("utf-8"))
    return found


def mapping(auth: Any, env: Mapping[str, str], folder: Path) -> Path:
    text: dict[str, Any] = yaml.safe_load(MAPPING)
    text["env"] = {name: {"secret": True} for name in env}
    text["upstreams"]["up"]["auth"] = auth
    file = folder / "mapping.yaml"
    file.write_text(json.dumps(text), "utf-8")
    return file


def compiled(auth: Any, env: Mapping[str, str], folder: Path) -> tuple[PlanSet, Findings]:
    findings = Findings()
    plans = compile_set(load([mapping(auth, env, folder)], findings), env, findings)
    return plans, findings


class Recorder:
    """An upstream that records its requests and returns an empty object."""

    def __init__(self) -> None:
        self.sent: list[exchange.SendCall] = []

    def send(self, step: exchange.SendCall) -> UpstreamResponse:
        self.sent.append(step)
        return UpstreamResponse(200, (), EMPTY if step.streams else Content(b"{}", JSON))

    def next(self) -> None:
        return None

    def rest(self) -> Content:
        return EMPTY


def sent(plans: PlanSet, way: str) -> tuple[dict[str, str], str]:
    """The header fields and the query of the only request that an exchange sends."""
    method, path = WAYS[way]
    body = Content(b'{"b":2}', JSON) if method == "POST" else EMPTY
    headers = (("content-type", JSON), ("x-api-key", "of-the-client"), ("x_api_key", "of-the-client"))
    inbound = Inbound(method, path, "key=of-the-client&a=1" if way == "forward" else "", headers)
    recorder = Recorder()
    result = carry_out(exchange.run_exchange(plans.tree.find(path, method), inbound), body, recorder)
    assert result.error is None
    (step,) = recorder.sent
    return dict(step.request.headers), step.request.target.partition("?")[2]


# --- Requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_request_has_the_credentials(scheme: str, way: str, tmp_path: Path) -> None:
    wanted = case(scheme)
    plans, findings = compiled(wanted["auth"], wanted["env"], tmp_path)
    assert [str(finding) for finding in findings] == []
    headers, query = sent(plans, way)
    fields = wanted.get("headers", {}) | wanted.get("headers_of", {}).get(way, {})
    assert headers.items() >= fields.items()
    if "query" in wanted:
        own = [] if way == "health" else ["a=1"]
        assert query.split("&") == [*own, wanted["query"]]
    for name in fields:
        assert sum(field.replace("_", "-") == name for field in headers) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_a_secret_nothing_is_sent(scheme: str, tmp_path: Path) -> None:
    wanted = case(scheme)
    assert wanted["empty"]
    for env in wanted["empty"]:
        plans, findings = compiled(wanted["auth"], env, tmp_path)
        assert [str(finding) for finding in findings] == []
        (plan,) = plans.mappings.values()
        assert not plan.upstreams["up"].has_credentials
        headers, query = sent(plans, "health")
        assert not headers.keys() & wanted.get("headers", {}).keys()
        assert query == ""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_credentials_that_cannot_be_sent_are_a_finding_without_the_secret(
    scheme: str, tmp_path: Path
) -> None:
    wanted = case(scheme)
    refused = [(wanted["auth"], env) for env in wanted.get("refused", ())]
    refused += [(auth, wanted["env"]) for auth in wanted.get("refused_auth", ())]
    assert refused
    for auth, env in refused:
        plans, findings = compiled(auth, env, tmp_path)
        (finding,) = findings
        assert (finding.code, finding.severity) == ("bad-value", "error")
        for secret in (*env.values(), "secret-word"):
            assert secret not in finding.message
        (plan,) = plans.mappings.values()
        assert not plan.upstreams["up"].auth.is_configured


@pytest.mark.parametrize("scheme", SCHEMES)
def test_explain_describes_a_scheme_without_the_secret(scheme: str, tmp_path: Path) -> None:
    wanted = case(scheme)
    findings = Findings()
    specs = load([mapping(wanted["auth"], wanted["env"], tmp_path)], findings)
    shown = repr(Explainer(specs, wanted["env"]).everything())
    assert wanted["describe"] in shown
    for secret in wanted["secrets"]:
        assert secret not in shown


@pytest.mark.parametrize("scheme", SCHEMES)
def test_secrets_are_masked(scheme: str, tmp_path: Path) -> None:
    wanted = case(scheme)
    plans, _ = compiled(wanted["auth"], wanted["env"], tmp_path)
    (plan,) = plans.mappings.values()
    assert {secret.encode() for secret in wanted["secrets"]} <= set(plan.secrets)
    auth = plan.upstreams["up"].auth
    assert set(wanted["secrets"]) <= set(auth.secrets())
    for text in (repr(auth), repr(auth.apply(AuthRequest("GET", "/"))), repr(plan.upstreams["up"])):
        assert not [secret for secret in wanted["secrets"] if secret in text]


@pytest.mark.parametrize("way", ["call", "forward"])
def test_the_trace_of_a_request_does_not_contain_its_signature(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = schema_named("mapping")["definitions"]["upstream_auth"]["properties"]
    monkeypatch.setitem(SCHEMES, "signed", TEST_SCHEMES["signed"])
    monkeypatch.setitem(properties, "signed", TEST_SCHEMA["signed"])
    auth, env = {"signed": {"signer": "signer-of-tests", "key": "${ $env.KEY }"}}, {"KEY": "a-secret-key"}
    explainer = Explainer(load([mapping(auth, env, tmp_path)], Findings()), env)
    method, path = WAYS[way]
    shown = repr(
        explainer.trace(Request(method, path, "a=1", (), b'{"b":2}'), [StubResponse(body=b"{}")]).steps
    )
    assert "x-signature: ***" in shown
    assert "signer=***" in shown
    assert not re.search("[0-9a-f]{64}", shown)
    assert "a-secret-key" not in repr(explainer.everything())


def test_a_scheme_that_needs_the_body_is_not_static() -> None:
    schemes = {**SCHEMES, **TEST_SCHEMES}
    assert not [name for name, scheme in schemes.items() if scheme.needs_body and scheme.is_static]


# --- Errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "value", "message"),
    [
        ("bearer", 5, "expected text"),
        ("bearer", None, "expected text"),
        ("bearer", ["k"], "expected text"),
        ("header", "k", "expected a mapping with 'name' and 'value'"),
        ("header", {"name": "x", "value": ["k"]}, "the options of 'auth' must be text"),
        ("basic", {"username": True, "password": "p"}, "the options of 'auth' must be text"),
        ("basic", {"username": "u", "password": {}}, "the options of 'auth' must be text"),
    ],
)
def test_options_of_a_wrong_type_are_refused(scheme: str, value: Any, message: str) -> None:
    with pytest.raises(AuthError, match=re.escape(message)):
        make_auth(scheme, value)


@pytest.mark.parametrize("value", [None, False, ""])
def test_null_and_false_are_empty_text(value: Any) -> None:
    assert not make_auth("header", {"name": "x", "value": value}).is_configured


def test_a_number_is_converted_to_text() -> None:
    auth = make_auth("header", {"name": "x", "value": 17})
    assert auth.apply(AuthRequest("GET", "/")).headers == (("x", "17"),)


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": (("a b", "x"),)},
        {"headers": (("", "x"),)},
        {"headers": (("x", "a\r\nb: c"),)},
        {"headers": (("x", "ä"),)},
        {"headers": (("x", ""),)},
        {"headers": (("Host", "x"),)},
        {"headers": (("Transfer-Encoding", "x"),)},
        {"query": (("", "x"),)},
        {"query": (("x", "\ud800"),)},
    ],
)
def test_credentials_that_are_invalid_in_http_are_refused(fields: Any) -> None:
    with pytest.raises(AuthError):
        Credentials(**fields)


@pytest.mark.parametrize("method", ["apply", "describe", "secrets"])
@pytest.mark.parametrize("is_static", [True, False])
def test_a_scheme_that_raises_at_load_is_a_finding_without_the_text(
    method: str, is_static: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FailingAuth, *_: Any) -> Any:
        raise ZeroDivisionError(f"with the key {self.key}")

    monkeypatch.setitem(SCHEMES, "bearer", FailingAuth)
    monkeypatch.setattr(FailingAuth, "is_static", is_static)
    monkeypatch.setattr(FailingAuth, method, refuse)
    _, findings = compiled({"bearer": "${ $env.KEY }"}, {"KEY": "a-secret-key"}, tmp_path)
    (finding,) = findings
    assert finding.message == "the credentials cannot be created: ZeroDivisionError"


# --- Completeness of a scheme ----------------------------------------------------------------------------


def not_in_the_schema() -> list[str]:
    """The schemes whose keys, options or `x-expects` differ from the schema."""
    definitions = json.loads(schema_text("mapping"))["definitions"]
    auth = definitions["upstream_auth"]
    wrong = sorted(auth["properties"].keys() ^ SCHEMES.keys())
    for name in SCHEMES.keys() & auth["properties"].keys():
        found = auth["properties"][name]
        found = definitions[found["$ref"].rpartition("/")[2]] if "$ref" in found else found
        options = scheme_options(name)
        if len(options) == 1:
            is_right = found["type"] == "string"
        else:
            required = {option for option, is_required in options.items() if is_required}
            is_right = found["properties"].keys() == options.keys() and set(found["required"]) == required
        wrong += [] if is_right and re.search(rf"\b{name}\b", auth["x-expects"]) else [name]
    return wrong


def not_in_the_language() -> list[str]:
    """The schemes without a row in the table of `docs/language.md`, and the rows without a scheme."""
    page = (ROOT / "docs" / "language.md").read_text("utf-8")
    table = page.partition("| `auth` | what is sent |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+): (.*?)` \|", table, re.MULTILINE))
    wrong = sorted(rows.keys() ^ SCHEMES.keys())
    for name in rows.keys() & SCHEMES.keys():
        options = list(scheme_options(name))
        written = re.findall(r"\w+", rows[name])
        wrong += [] if written == options or (len(options) == 1 and rows[name].isupper()) else [name]
    return wrong


def not_in_the_reference() -> list[str]:
    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    table = page.partition("### mapping: upstream_auth\n")[2].partition("\n### ")[0]
    return [name for name in SCHEMES if f"| `{name}` |" not in table]


def without_a_case() -> list[str]:
    return sorted({file.stem for file in CASES.glob("*.yaml")} ^ SCHEMES.keys())


def without_a_file() -> list[str]:
    """The schemes without a documented class in a file of the same name."""
    found = {name: scheme.__module__ for name, scheme in SCHEMES.items() if scheme.__doc__}
    return [name for name in SCHEMES if found.get(name) != f"{engine.http.auth.__name__}.{name}"]


CHECKS = [not_in_the_schema, not_in_the_language, not_in_the_reference, without_a_case, without_a_file]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_part_of_a_scheme_exists(check: Callable[[], list[str]]) -> None:
    assert check() == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_missing_part_is_found(check: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMES, "signed", TEST_SCHEMES["signed"])
    assert check() == ["signed"]
