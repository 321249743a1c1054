"""Templates that use themselves are bounded in depth, in steps and in bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.exchange import ExchangeResult
from engine.values import dumps

from .exchanges import Upstream, compiled, location_of, posted

TREE = """
templates:
  node: { name: "${ name }", below?: { $each: "${ below }", $use: node } }
  doubled: { $with: "${ below[0] }", $value: [{ $use: doubled }, { $use: doubled }] }
  copied: { all: "${ $request.body.text }", below: { $with: "${ below[0] }", $use: copied } }
upstreams: { api: { url: "http://localhost" } }
routes:
  POST /sent:
    call: { upstream: api, path: /x, body: { $use: node } }
    respond: { body: "${ @ }" }
  POST /received:
    call: POST api /x
    respond: { body: { $use: node } }
  POST /doubled: { respond: { body: { $use: doubled } } }
  POST /copied: { respond: { body: { $use: copied } } }
  POST /reads:
    call: { upstream: api, path: /x, body: { $with: "${ tree }", $use: node } }
    respond: { body: "${ @ }" }
"""


def chain(levels: int) -> dict[str, Any]:
    """A tree of so many levels, each with one node."""
    node: dict[str, Any] = {"name": "last"}
    for number in range(levels - 1):
        node = {"name": str(number), "below": [node]}
    return node


def run(
    tmp_path: Path, path: str, body: Any, upstream: Upstream | None = None, more: str = ""
) -> ExchangeResult:
    return posted(compiled(TREE + more, tmp_path), path, body, upstream)


def test_64_levels_are_translated(tmp_path: Path) -> None:
    result = run(tmp_path, "/sent", chain(64), upstream := Upstream())
    assert result.error is None, result.error
    assert upstream.requests[0].content.value == chain(64)


@pytest.mark.parametrize(
    ("path", "kind", "status"), [("/sent", "invalid_request", 400), ("/received", "upstream_error", 502)]
)
def test_one_level_more_is_an_error_that_names_the_template(
    path: str, kind: str, status: int, tmp_path: Path
) -> None:
    result = run(tmp_path, path, chain(65), Upstream([dumps(chain(65))]))
    assert result.error is not None
    assert (result.error.kind, result.response.status) == (kind, status)
    message = "the template 'node' uses itself more than 64 levels deep"
    assert result.error.message.endswith(f"cannot be translated: {message}")
    assert (result.error.cause or "").endswith(message)
    assert location_of(result) == "4:67"  # the name after $use


def test_each_use_costs_a_step(tmp_path: Path) -> None:
    result = run(tmp_path, "/sent", {"below": [{"below": [{}, {}]}, {}]})
    assert result.error is None, result.error
    assert result.exchange.steps_taken == 5 + 4  # the uses, and the items of the lists


def test_uses_that_double_at_each_level_are_bounded(tmp_path: Path) -> None:
    result = run(tmp_path, "/doubled", chain(60), more="limits: { steps: 100000 }\n")
    assert result.error is not None
    assert result.response.status == 400
    assert result.error.message.endswith("the limit of 100000 loop steps is exceeded (limits.steps)")


def test_what_each_level_copies_costs_bytes(tmp_path: Path) -> None:
    body = {**chain(60), "text": "x" * 1000}
    assert run(tmp_path, "/copied", body, more="limits: { bytes: 90000 }\n").error is None
    result = run(tmp_path, "/copied", body, more="limits: { bytes: 30000 }\n")
    assert result.error is not None
    assert result.error.message.endswith("the limit of 30000 bytes is exceeded (limits.bytes)")


def test_all_of_what_it_is_given_counts_as_read(tmp_path: Path) -> None:
    result = run(tmp_path, "/reads", {"tree": {"name": "a", "other": 1, "below": [{"odd": 2}]}, "more": 3})
    assert result.error is None, result.error
    assert result.exchange.dropped == ["more"]
