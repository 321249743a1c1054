"""docs/operations.md and docs/security.md are complete: fields of the log, metrics, limits, options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from engine.codecs import MAX_EVENT_BYTES
from engine.exchange import passthrough
from engine.http.messages import MAX_BODY_BYTES
from engine.language.budget import DEFAULT_LIMITS
from engine.observability import metrics
from engine.server.http1 import Limits
from engine.stores import response_cache
from tests.support.commands import command, variables
from tests.support.server import dragoman_server
from tests.support.upstream import Upstream

ROOT = Path(__file__).parent.parent
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")
SECURITY = (ROOT / "docs/security.md").read_text("utf-8")
_LOGGERS = (
    *("logs.info", "logs.announce", "logs.warning", "logs.error"),
    *("_state.logger.info", "_state.logger.warning", "_state.logger.error", "_state.logger.log"),
)
_NAME = re.compile(r"`([^`]+)`")
_OWN_METRICS = ("http_", "dragoman_", "gen_ai_")


def rows(text: str, first: str) -> list[list[str]]:
    """Returns the rows of the table whose first heading is `first`."""
    table = text[text.index(f"\n| {first} |") :].split("\n\n")[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\\\)\|", line)[1:-1]] for line in table]


def test_every_log_field_is_documented(upstream: Upstream) -> None:
    documented = {name for row in rows(OPERATIONS, "field") for name in _NAME.findall(row[0])}
    mapping = """
dragoman: 1
env: { UP: {} }
upstreams: { none: { url: "http://127.0.0.1:1" }, up: { url: "${ $env.UP }" } }
auth: { bearer: [{ name: web, key: sk-web }] }
routes:
  GET /stream: { respond: { stream: { to: sse, emit: [1] } } }
  GET /ok: { respond: { body: "${ warn('a', 'text') }" } }
  GET /counted: { call: GET up /json, usage: { input: 1, output: 2 }, respond: { body: "${ @ }" } }
  POST /failed: { call: { upstream: none, path: /x, body: { a: "${ a }" } }, respond: {} }
"""
    with dragoman_server(mapping, {"UP": upstream.url}, ("--workers", "2")) as server:
        key = {"authorization": "Bearer sk-web"}
        server.get("/ok", headers={"x-request-id": "one", **key})
        server.get("/stream", headers={"x-request-id": "three", **key})
        server.post("/failed", {"a": 1, "b": 2}, headers={"x-request-id": "two", **key})
        lines = [server.logged("one"), server.logged("one", "mapping_warning"), server.logged("two")]
        lines.append(server.logged("three"))
        server.get("/counted", headers={"x-request-id": "four", **key})
        lines.append(server.logged("four"))
    seen = {name for line in lines for name in line}
    assert {"error_kind", "cause", "dropped_fields"} < seen
    assert seen - documented == {"message"}, "the text of a warning"
    assert documented - seen == {"attempt_outcomes"}, "of several calls"


def logged_events() -> Iterator[str]:
    """Yields the event names in the calls of loggers."""
    for file in (*ROOT.glob("engine/**/*.py"), *ROOT.glob("cli/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in _LOGGERS:
                for argument in node.args[:2]:
                    values = (n.value for n in ast.walk(argument) if isinstance(n, ast.Constant))
                    yield from (value for value in values if isinstance(value, str))


def test_every_event_is_documented() -> None:
    documented = [name for row in rows(OPERATIONS, "event") for name in _NAME.findall(row[0])]
    assert sorted(documented) == sorted({*logged_events()})


def test_every_metric_is_documented_with_its_labels() -> None:
    documented = {row[0].strip("`"): set(_NAME.findall(row[1])) for row in rows(OPERATIONS, "metric")}
    assert metrics.exposition().data
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in REGISTRY.collect()
        if family.name.startswith(_OWN_METRICS)
    }
    assert set(documented) == set(families)
    for family in families.values():
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        assert labels <= documented[name]


def test_documented_limits_match_the_code() -> None:
    limits = Limits()
    documented = {row[0]: row[1] for row in rows(OPERATIONS, "limit")}
    assert documented["request target"] == f"{limits.target_bytes // 1024} KiB"
    assert documented["concurrent requests"].startswith(f"{limits.in_flight:,},")
    assert documented["request head, from its first byte"].startswith(f"{limits.head:.0f} s")
    assert documented["idle connection"].startswith(f"{limits.keep_alive:.0f} s")
    assert documented["client that does not read its response"].startswith(f"{limits.send:.0f} s")
    assert documented["event of a stream"] == f"{MAX_EVENT_BYTES >> 20} MiB"
    assert (
        documented["cached responses (`cache`)"] == f"{response_cache._MAX_ENTRIES:,}, "
        f"and {response_cache._MAX_BYTES >> 20} MiB together, keys and header fields included"
    )
    for body in (
        "request body that is read completely",
        "upstream response that is read completely, or merged from a stream",
    ):
        assert documented[body].startswith(f"{MAX_BODY_BYTES >> 20} MiB,")
    assert documented["loop steps of one exchange"].startswith(f"{DEFAULT_LIMITS.steps:,},")
    assert f"`--grace` ({limits.grace:.0f} s)" in OPERATIONS


def test_every_dropped_header_field_is_documented() -> None:
    named = {name.lower() for name in _NAME.findall(SECURITY)}
    assert named >= passthrough._HOP_BY_HOP
    assert passthrough._NOT_SENT - {"x-request-id"} <= named


@pytest.mark.parametrize("text", [OPERATIONS, SECURITY], ids=["operations", "security"])
def test_documented_options_and_variables_exist(text: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    parameters = (*command("serve").params, *command("validate").params)
    options = {option for parameter in parameters for option in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)", prose)) <= options
    assert set(re.findall(r"DRAGOMAN_[A-Z_]+", text)) <= variables("serve") | {"DRAGOMAN_API_KEYS"}
