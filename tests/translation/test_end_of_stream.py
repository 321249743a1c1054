"""The `$done` variable of `end` rules: whether the stream ended with its end marker."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Findings, PlanSet, compile_set, load
from tests.support.exchanges import run_offline

MAPPING = """
dragoman: 1
upstreams: { up: { url: "http://localhost:9" } }
routes:
  POST /stream:
    call: { upstream: up, path: /x, body: {} }
    respond:
      stream:
        from: { sse: { done: "[DONE]" } }
        to: ndjson
        rules: [{ emit: "${ @ }" }]
        end: [{ emit: { done: "${ $done }" } }]
  POST /plain:
    call: { upstream: up, path: /x, body: {} }
    respond:
      stream:
        from: ndjson
        to: ndjson
        rules: [{ emit: "${ @ }" }]
        end: [{ emit: { done: "${ $done }" } }]
  POST /collected:
    call: { upstream: up, path: /x, body: {} }
    respond:
      collect:
        from: { sse: { done: "[DONE]" } }
        state: { done: null, seen: 0 }
        rules: [{ set: { seen: 1 } }]
        end: [{ set: { done: "${ $done }" } }]
      body: { done: "${ $state.done }" }
"""
SSE, NDJSON, JSON = "text/event-stream", "application/x-ndjson", "application/json"


@pytest.fixture
def plans(tmp_path: Path) -> PlanSet:
    file, findings = tmp_path / "ends.yaml", Findings()
    file.write_text(MAPPING)
    plans = compile_set(load([file], findings), {}, findings)
    assert not findings.has_errors, [f"{f.span}: {f.message}" for f in findings]
    return plans


@pytest.mark.parametrize(
    ("path", "sent", "media_type", "done"),
    [
        ("/stream", b'data: {"a":1}\n\ndata: [DONE]\n\n', SSE, b"true"),
        ("/stream", b'data: {"a":1}\n\ndata: [DONE]', SSE, b"true"),
        ("/stream", b'data: {"a":1}\n\n', SSE, b"false"),
        ("/stream", b'data: {"a":1}\n\ndata: "[DONE]"\n\n', SSE, b"false"),
        ("/stream", b'{"a":1}', JSON, b"true"),
        ("/stream", b'{"a":1}\n', NDJSON, b"false"),
        ("/plain", b'{"a":1}\n', NDJSON, b"false"),
        ("/collected", b'data: {"a":1}\n\ndata: [DONE]\n\n', SSE, b"true"),
        ("/collected", b'data: {"a":1}\n\n', SSE, b"false"),
    ],
)
def test_end_rules_know_whether_the_stream_was_complete(
    path: str, sent: bytes, media_type: str, done: bytes, plans: PlanSet
) -> None:
    for size in (1, 5, len(sent)):
        chunks = [sent[i : i + size] for i in range(0, len(sent), size)]
        exchange = run_offline(plans, path, {}, chunks, media_type)
        assert exchange.body.splitlines()[-1] == b'{"done":%s}' % done
