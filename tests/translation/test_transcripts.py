"""Recorded upstream streams, each with the expected response to the client.

Each is sent in one chunk, byte by byte and split at every position, with LF and with CRLF.

The tests are skipped if the recordings are not next to the checkout.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine import PlanSet
from tests.support.exchanges import Outcome, run_offline, shipped

FOLDER = Path(__file__).parents[3] / "shared" / "reference" / "streams"
#: The mapping of each recording, by the prefix of its name; there are recordings with other prefixes.
MAPPINGS = {
    "o2l": "ollama-over-openai",
    "o2g": "ollama-over-openai",
    "l2o": "openai-over-ollama",
    "o2a": "anthropic-over-openai",
    "o2gem": "gemini-over-openai",
    "a2o": "openai-over-anthropic",
    "g2o": "openai-over-gemini",
    "c2o": "openai-over-cohere",
    "b2o": "openai-over-bedrock",
    "m2o": "openai-over-mistral",
    "az2o": "openai-over-azure",
    "o2r": "responses-over-openai",
}
ENVIRON = {"OPENAI_PREFIX": "/", "AZURE_OPENAI_ENDPOINT": "https://azure.example"}
ENTRIES = (
    [e for e in json.loads((FOLDER / "index.json").read_text()) if e["name"].split("_")[0] in MAPPINGS]
    if FOLDER.exists()
    else []
)
pytestmark = pytest.mark.skipif(not ENTRIES, reason="the recordings are not next to this checkout")

MEDIA_TYPES = {
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
    "bin": "application/vnd.amazon.eventstream",
}


def matcher() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matcher", FOLDER / "matcher.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plans() -> dict[str, PlanSet]:
    return {prefix: shipped(name, ENVIRON) for prefix, name in MAPPINGS.items()}


def splits(data: bytes) -> Iterator[list[bytes]]:
    """The bytes in one chunk, byte by byte, and split in two at every position."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def seen(exchange: Outcome, client: str, module: ModuleType) -> list[Any]:
    """The values that the client reads from NDJSON or server-sent events."""
    text = exchange.body.decode()
    if client == "ollama":
        return [json.loads(line) for line in text.split("\n") if line]
    return module.parse_sse(text) if exchange.status == 200 else [{"event": None, "data": json.loads(text)}]


def one_call_each(lines: list[Any]) -> list[Any]:
    """The lines, with each tool call in a chunk of its own.

    Our writer sends one call per chunk, as OpenAI does. Clients that merge deltas by index read the same.
    """
    found: list[Any] = []
    for line in lines:
        choice = line["data"]["choices"][0] if is_delta(line) else {}
        calls = choice.get("delta", {}).get("tool_calls", [])
        for call in calls:
            delta = {**choice["delta"], "tool_calls": [call]}
            found.append({**line, "data": {**line["data"], "choices": [{**choice, "delta": delta}]}})
        found += [] if calls else [line]
    return found


def is_delta(line: Any) -> bool:
    data = line.get("data")
    return isinstance(data, dict) and bool(data.get("choices"))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_a_recording_gives_the_expected_response(
    entry: dict[str, Any], line_end: bytes, plans: dict[str, PlanSet]
) -> None:
    module = matcher()
    client, prefix = entry["client"].split()[0], entry["name"].split("_")[0]
    file = FOLDER / entry["upstream_file"]
    data = file.read_bytes()
    if line_end == b"\r\n" and file.suffix != ".bin" and b"\r" not in data:
        data = data.replace(b"\n", b"\r\n")
    expected = [json.loads(line) for line in (FOLDER / entry["expect_file"]).read_text().split("\n") if line]
    if client == "openai":
        expected = one_call_each(expected)
    request = entry["client_request"]
    body = {"stream": True, **request["body"]} if client == "openai" else request["body"]
    for chunks in splits(data):
        exchange = run_offline(plans[prefix], request["path"], body, chunks, MEDIA_TYPES[file.suffix[1:]])
        got = seen(exchange, client, module)
        assert module.match_lines(expected, got) == [], f"{len(chunks)} chunks: {exchange.body.decode()}"
