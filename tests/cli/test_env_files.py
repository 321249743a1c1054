"""Environment variables from .env, --env-file and the process apply to mappings and options."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.support.times import PATIENCE, START

ROOT = Path(__file__).parents[2]
MAPPING = """
dragoman: 1
env: { PREFIX: { default: /default }, TOKEN: { required: true } }
prefix: ${ $env.PREFIX }
routes: { GET /x: { respond: { body: "${ $env.TOKEN }" } } }
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "m.yaml").write_text(MAPPING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFIX", raising=False)
    return tmp_path


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environ)


def test_dotenv_of_the_working_directory_is_read(here: Path) -> None:
    assert "/default/x" in run("routes", "m.yaml").output
    (here / ".env").write_text("PREFIX=/dotenv\nTOKEN=t\n")
    assert "/dotenv/x" in run("routes", "m.yaml").output
    assert run("validate", "--strict", "m.yaml").exit_code == 0, "TOKEN is set"


def test_env_file_overrides_dotenv_and_the_process_overrides_both(here: Path) -> None:
    (here / ".env").write_text("PREFIX=/dotenv\n")
    (here / "more.env").write_text("PREFIX=/more\n")
    (here / "last.env").write_text("PREFIX=/last\n")
    assert "/more/x" in run("routes", "m.yaml", "--env-file", "more.env").output
    files = ("--env-file", "more.env", "--env-file", "last.env")
    assert "/last/x" in run("routes", "m.yaml", *files).output
    assert "/process/x" in run("routes", "m.yaml", *files, PREFIX="/process").output


def test_dotenv_of_a_parent_directory_is_not_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / ".env").write_text("PREFIX=/dotenv\n")
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert "/default/x" in run("routes", "../m.yaml").output


def test_files_set_variables_of_options(here: Path) -> None:
    (here / ".env").write_text("DRAGOMAN_MAPPINGS=m.yaml\nDRAGOMAN_LOG_FORMAT=console\n")
    result = run("serve")
    assert result.exit_code == 1, "TOKEN is not set"
    assert "error[missing-env]" in result.output
    lines = run("serve", "--log-format", "json").output.splitlines()
    assert {json.loads(line)["level"] for line in lines} == {"info", "error"}, (
        "the command line has precedence"
    )
    lines = run("serve", DRAGOMAN_LOG_FORMAT="json").output.splitlines()
    assert [json.loads(line) for line in lines], "the process's environment has precedence"


def test_files_set_no_options_of_other_commands(here: Path) -> None:
    (here / ".env").write_text("DRAGOMAN_MAPPINGS=m.yaml\nDRAGOMAN_FORMAT=json\nDRAGOMAN_REQUIRE_ENV=1\n")
    assert run("validate").exit_code == 2
    result = run("validate", "m.yaml")
    assert (result.exit_code, result.output.startswith("m.yaml:3:")) == (0, True)


def test_option_names_without_prefix_are_ignored_in_the_process_environment(here: Path) -> None:
    """Other programs use HOST and PORT too."""
    (here / ".env").write_text("TOKEN=t\nPORT=0\nHOST=256.0.0.1\n")
    output = run("serve", "m.yaml", HOST="nowhere.invalid", PORT="many", DRAGOMAN_HOST="0.0.0.0").output
    assert "no-key" in output, "the server must use the address of DRAGOMAN_HOST"


def test_an_invalid_option_value_is_a_usage_error(here: Path) -> None:
    (here / ".env").write_text("DRAGOMAN_PORT=many\n")
    result = run("serve", "m.yaml")
    assert result.exit_code == 2
    assert "--port" in result.output


def test_a_binary_env_file_is_a_usage_error(here: Path) -> None:
    (here / ".env").write_bytes(b"A=\xff\xfe\n")
    result = run("routes", "m.yaml")
    assert result.exit_code == 2
    assert "'.env'" in result.output


@pytest.mark.parametrize(
    "settings",
    [
        "DRAGOMAN_HOST=127.0.0.2\nDRAGOMAN_PORT=0\nDRAGOMAN_LOG_LEVEL=info\n",
        "HOST=127.0.0.2\nPORT=0\nLOG_LEVEL=INFO\n",
        "HOST=127.0.0.3\nDRAGOMAN_HOST=127.0.0.2\nPORT=0\n",
    ],
)
def test_serve_reads_its_address_from_dotenv_and_logs_the_file(here: Path, settings: str) -> None:
    (here / ".env").write_text(f"PREFIX=/dotenv\nTOKEN=canary-token\nDRAGOMAN_LOG_FORMAT=json\n{settings}")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", "m.yaml"],
        env={**inherited, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    deadline = time.monotonic() + START
    try:
        while not (lines and "Dragoman serves" in lines[-1]) and time.monotonic() < deadline:
            lines.append(process.stderr.readline())
    finally:
        process.terminate()
        lines.append(process.communicate(timeout=PATIENCE)[1])
    assert re.search(r"at http://127\.0\.0\.2:\d+", "".join(lines))
    entries = [json.loads(line) for line in lines if line.startswith("{") and '"environment_files"' in line]
    assert [entry["files"] for entry in entries] == [[".env"]]
    assert "canary-token" not in "".join(lines)


def test_serve_reports_a_missing_variable(here: Path) -> None:
    result = run("serve", "m.yaml")
    assert result.exit_code == 1
    assert "the environment variable TOKEN is not set" in result.output
