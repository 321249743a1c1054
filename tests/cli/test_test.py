"""`dragoman test`: its output in each format, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.support.times import START

ROOT = Path(__file__).parent.parent.parent

MAPPING = """\
dragoman: 1
routes:
  GET /a: { respond: { body: { id: 1 } } }
  GET /b: { respond: { body: "${ fail('not_found', 'no b') }" } }
"""
PASSING = """\
dragoman: 1
cases:
  - { name: gives a, request: GET /a, expect: { body: { id: 1 } } }
"""
FAILING = """\
dragoman: 1
cases:
  - { name: gives a, request: GET /a, expect: { body: { id: 1 } } }
  - name: gives b
    request: GET /b
    expect:
      body: { id: { $any: integer } }
"""


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in a directory with a mapping."""
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(MAPPING)


def run_test(*arguments: str, env: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(main, ["test", *arguments], env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_passing_cases() -> None:
    Path("m.test.yaml").write_text(PASSING)
    result = run_test("m.yaml")
    assert result.output == (
        "m.test.yaml: 1 passed\n"
        "not covered by any case:\n"
        "  m.yaml:4:3: the route GET /b\n"
        "1 case passed, 0 failed; 1 not covered\n"
    )
    assert result.exit_code == 0


def test_failing_cases() -> None:
    Path("m.test.yaml").write_text(FAILING)
    result = run_test(".")
    assert result.output.splitlines() == [
        "m.test.yaml: 1 passed, 1 failed",
        "  m.test.yaml:4:11: gives b",
        "    m.test.yaml:7:7: status: expected 200, got 404",
        "    m.test.yaml:7:27: body.id: expected an integer, but it is missing",
        "    m.test.yaml:7:13: body.error: not expected here, got "
        '{"message":"no b","type":"not_found","param":null,"code":null}',
        "    the exchange failed: not_found: no b",
        "1 case passed, 1 failed",
    ]
    assert result.exit_code == 1


def test_coverage_can_be_required() -> None:
    Path("m.test.yaml").write_text(PASSING)
    assert run_test("m.yaml", "--require-coverage").exit_code == 1
    Path("m.yaml").write_text("dragoman: 1\nroutes: { GET /a: { respond: { body: { id: 1 } } } }\n")
    result = run_test("m.yaml", "--require-coverage")
    assert result.output == "m.test.yaml: 1 passed\n1 case passed, 0 failed\n"
    assert result.exit_code == 0


def test_cases_can_be_filtered() -> None:
    Path("m.test.yaml").write_text(FAILING)
    result = run_test("m.yaml", "--case", "gives a")
    assert result.output == "m.test.yaml: 1 passed\n1 case passed, 0 failed\n"
    assert result.exit_code == 0
    assert run_test("m.yaml", "--case", "gives b").exit_code == 1


def test_a_filter_without_a_match_fails() -> None:
    Path("m.test.yaml").write_text(FAILING)
    result = run_test("m.yaml", "--case", "gives c")
    assert result.output == (
        "error[no-case]: no case has 'gives c' in its name (did you mean 'gives b'?)\n"
        "0 cases passed, 0 failed\n"
    )
    assert result.exit_code == 1


def test_a_filter_and_required_coverage_exclude_each_other() -> None:
    Path("m.test.yaml").write_text(PASSING)
    result = run_test("m.yaml", "--case", "a", "--require-coverage")
    assert result.exit_code == 2
    assert "cannot be combined with --case" in result.output


def test_a_path_without_a_suite_is_a_finding() -> None:
    Path("m.test.yaml").write_text(PASSING)
    result = run_test("m.test.yaml", "gone", "*.none")
    assert "error[no-files]: unknown mapping 'gone'" in result.output
    assert "error[no-files]: no file matches '*.none'\n" in result.output
    assert "m.test.yaml: 1 passed" in result.output
    assert result.exit_code == 1


def test_an_invalid_suite_is_not_run() -> None:
    Path("m.test.yaml").write_text(PASSING.replace("expect", "expct"))
    result = run_test("m.yaml")
    assert "m.test.yaml:3:39: error[unknown-key]: unknown key 'expct'" in result.output
    assert "did you mean 'expect'?" in result.output
    assert result.output.endswith("m.test.yaml: not run\n0 cases passed, 0 failed; 1 suite not run\n")
    assert result.exit_code == 1


def test_an_invalid_mapping_is_reported_with_its_own_locations() -> None:
    Path("m.test.yaml").write_text(PASSING)
    Path("m.yaml").write_text(MAPPING.replace("fail(", "fial("))
    result = run_test("m.yaml")
    assert "m.yaml:4:34: error[unknown-function]: unknown function 'fial'" in result.output
    assert result.exit_code == 1


def test_json_output() -> None:
    Path("m.test.yaml").write_text(FAILING)
    result = run_test("m.yaml", "nowhere", "--format", "json")
    report = json.loads(result.output)
    assert (report["passed"], report["failed"], report["not_run"]) == (1, 1, 0)
    assert [finding["code"] for finding in report["findings"]] == ["no-files"]
    (suite,) = report["suites"]
    assert (suite["file"], suite["findings"]) == ("m.test.yaml", [])
    first, second = suite["cases"]
    assert first == {
        "name": "gives a",
        "passed": True,
        "file": "m.test.yaml",
        "line": 3,
        "column": 13,
        "mismatches": [],
        "failure": None,
    }
    assert second["failure"] == "not_found: no b"
    assert second["mismatches"][0] == {
        "path": "status",
        "message": "expected 200, got 404",
        "file": "m.test.yaml",
        "line": 7,
        "column": 7,
    }
    assert [entry["line"] for entry in report["unreached"]] == []
    assert result.exit_code == 1


def test_github_output() -> None:
    Path("m.test.yaml").write_text(PASSING)
    result = run_test("m.yaml", "--format", "github")
    assert result.output == (
        "::warning file=m.yaml,line=4,col=3,title=not-reached::no case covers the route GET /b\n"
        "1 case passed, 0 failed; 1 not covered\n"
    )
    Path("m.test.yaml").write_text(PASSING.replace("id: 1", "id: 2"))
    result = run_test("m.yaml", "--format", "github", "--require-coverage")
    assert result.output.splitlines()[:2] == [
        "::error file=m.test.yaml,line=3,col=61,title=case-failed::gives a: body.id: expected 2, got 1",
        "::error file=m.yaml,line=4,col=3,title=not-reached::no case covers the route GET /b",
    ]


def test_help_lists_options() -> None:
    help_text = " ".join(run_test("--help").output.split())
    for word in ("--format", "--case", "--require-coverage"):
        assert word in help_text
    assert "DRAGOMAN_" not in help_text
    assert "Exit status: 0 all cases passed, 1 failures or errors" in help_text


def test_a_shipped_mapping_can_be_tested_by_name() -> None:
    result = run_test("demo")
    assert result.exit_code == 0, result.output
    assert "demo.test.yaml: " in result.output


def test_a_missing_path_is_a_usage_error() -> None:
    assert run_test().exit_code == 2


def test_as_a_process(tmp_path: Path) -> None:
    Path("m.test.yaml").write_text(FAILING)
    command = [sys.executable, "-c", "from cli.main import main; main()", "test", "m.yaml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=START)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "m.test.yaml: 1 passed, 1 failed"
    assert done.stderr == ""
