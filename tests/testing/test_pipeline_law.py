"""The law of pipelines, as `dragoman test` checks it: a violation names the field and both values."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import run_suites

MAPPING = """
dragoman: 1
auth: none
upstreams: {{ up: {{ url: "http://127.0.0.1:9" }} }}
streams:
  reader: {{ from: ndjson, merge: {{ text: join }} }}
  writer: {{ to: ndjson, {merge}rules: [{{ emit: "${{ @ }}" }}] }}
templates:
  one: {{ {template} }}
routes:
  POST /x:
    call: {{ upstream: up, path: / }}
    respond: {{ stream_when: "${{ $request.body.stream }}", pipeline: [reader, one, writer] }}
"""
SUITE = """
dragoman: 1
cases:
  - name: a stream
    request: { method: POST, path: /x, body: { stream: STREAM } }
    upstream: { response: { headers: { content-type: application/x-ndjson }, text: TEXT } }
    expect: { status: 200 }
"""
JOINED = "merge: { text: join }, "
TEXT = r'"{\"text\":\"a\"}\n{\"text\":\"b\"}\n"'


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize(
    ("merge", "template", "violation"),
    [
        pytest.param(JOINED, 'text: "${ text }"', None, id="text is joined in both orders"),
        pytest.param("", 'text: "${ upper(text) }"', None, id="without merge the law is not checked"),
        pytest.param(
            JOINED,
            'text: "${ text }", count: "${ length(text) }"',
            "pipeline: count: the merged parts translate to 2, the translated parts merge to 1",
            id="a length is not the last length",
        ),
        pytest.param(
            JOINED,
            'text: "<${ text }>"',
            'pipeline: text: the merged parts translate to "<ab>", the translated parts merge to "<a><b>"',
            id="text around a part",
        ),
        pytest.param(
            JOINED,
            'text: "${ text }", list: ["${ if($partial, null, text) }"]',
            "pipeline: list",
            id="a field that only a complete response has",
        ),
    ],
)
def test_a_violation_is_a_mismatch(
    merge: str, template: str, violation: str | None, stream: str, tmp_path: Path
) -> None:
    (tmp_path / "m.yaml").write_text(MAPPING.format(merge=merge, template=template))
    suite = tmp_path / "m.test.yaml"
    suite.write_text(SUITE.replace("TEXT", TEXT).replace("STREAM", stream))
    (result,) = run_suites([suite]).suites
    assert not result.findings.has_errors, list(result.findings)
    found = [mismatch for case in result.cases for mismatch in case.mismatches]
    assert len(found) == (violation is not None), found
    for mismatch in found:
        assert str(mismatch).startswith(violation or "")
        assert mismatch.span.file.name == str(tmp_path / "m.yaml")
