"""`dragoman routes`: its table, its JSON, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.commands import run


def test_routes_as_a_table(shop: Path) -> None:
    shown = run("routes", str(shop), env={"KEYS": "one"})
    assert shown.output == (
        "METHOD  PATH     CALLS  KEY     MAPPING  SUMMARY\n"
        "GET     /items   shop   bearer  shop     All items.\n"
        "GET     /health                 shop\n"
    )


def test_routes_as_json(shop: Path) -> None:
    rows = json.loads(run("routes", str(shop), "--format", "json").output)
    assert [(row["method"], row["path"], row["calls"]) for row in rows] == [
        ("GET", "/items", "shop"),
        ("GET", "/health", ""),
    ]


def test_routes_that_only_mappings_can_call(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text("dragoman: 1\npublic: false\nroutes: { GET /models: { respond: {} } }\n")
    assert "GET     mapping:hub/models" in run("routes", str(file)).output
    (row,) = json.loads(run("routes", str(file), "--format", "json").output)
    assert (row["path"], row["mapping"], row["public"]) == ("/models", "hub", False)


def test_routes_of_an_invalid_file_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("dragoman: 1\nroutes: { GET /x: { respond: { body: '${ oops( }' } } }\n")
    assert run("routes", str(file)).exit_code == 1
