"""The `$done` variable in `end` of a reader: whether the stream ended with its end marker."""

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
      stream_when: true
      pipeline:
        - from: { sse: { done: "[DONE]" } }
          eof: ok
          rules: [{ emit: "${ @ }" }]
          end: [{ emit: { done: "${ $done }" } }]
        - { to: ndjson, rules: [{ emit: "${ @ }" }] }
  POST /plain:
    call: { upstream: up, path: /x, body: {} }
    respond:
      stream_when: true
      pipeline:
        - { from: ndjson, end: [{ emit: { done: "${ $done }" } }] }
        - { to: ndjson, rules: [{ emit: "${ @ }" }] }
  POST /merged:
    call: { upstream: up, path: /x, body: {} }
    respond:
      pipeline:
        - from: { sse: { done: "[DONE]" } }
          eof: ok
          rules: [{ when: false, emit: "${ @ }" }]
          end: [{ emit: { done: "${ $done }" } }]
"""
SSE, NDJSON = "text/event-stream", "application/x-ndjson"


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
        ("/stream", b'{"a":1}\n', NDJSON, b"false"),
        ("/plain", b'{"a":1}\n', NDJSON, b"false"),
        ("/merged", b'data: {"a":1}\n\ndata: [DONE]\n\n', SSE, b"true"),
        ("/merged", b'data: {"a":1}\n\n', SSE, b"false"),
    ],
)
def test_end_rules_know_whether_the_stream_was_complete(
    path: str, sent: bytes, media_type: str, done: bytes, plans: PlanSet
) -> None:
    for size in (1, 5, len(sent)):
        chunks = [sent[i : i + size] for i in range(0, len(sent), size)]
        exchange = run_offline(plans, path, {}, chunks, media_type)
        assert exchange.body.splitlines()[-1] == b'{"done":%s}' % done
