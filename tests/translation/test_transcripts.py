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
#: Recordings for mappings that are not shipped have other prefixes.
OURS = ("o2l_", "o2g_", "l2o_")
ENTRIES = (
    [e for e in json.loads((FOLDER / "index.json").read_text()) if e["name"].startswith(OURS)]
    if FOLDER.exists()
    else []
)
pytestmark = pytest.mark.skipif(not ENTRIES, reason="the recordings are not next to this checkout")

MEDIA_TYPES = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}


def matcher() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matcher", FOLDER / "matcher.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plans() -> dict[str, PlanSet]:
    openai = shipped("openai-over-ollama", {"OPENAI_PREFIX": "/"})
    return {"ollama": shipped("ollama-over-openai"), "openai": openai}


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


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_a_recording_gives_the_expected_response(
    entry: dict[str, Any], line_end: bytes, plans: dict[str, PlanSet]
) -> None:
    module = matcher()
    client = entry["client"].split()[0]
    file = FOLDER / entry["upstream_file"]
    data = file.read_bytes()
    if line_end == b"\r\n" and b"\r" not in data:
        data = data.replace(b"\n", b"\r\n")
    expected = [json.loads(line) for line in (FOLDER / entry["expect_file"]).read_text().split("\n") if line]
    request = entry["client_request"]
    body = {"stream": True, **request["body"]} if client == "openai" else request["body"]
    for chunks in splits(data):
        exchange = run_offline(plans[client], request["path"], body, chunks, MEDIA_TYPES[file.suffix[1:]])
        got = seen(exchange, client, module)
        assert module.match_lines(expected, got) == [], f"{len(chunks)} chunks: {exchange.body.decode()}"
