"""A command exits with its usual status even if its output is closed, full or a pipe without a reader."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.times import PATIENCE, START
from tests.support.upstream import eventually

ROOT = Path(__file__).parents[2]

#: A mapping with a warning, which `serve` writes to standard output.
UNSET = "dragoman: 1\nname: n\nauth: { bearer: '' }\nroutes: { GET /y: { respond: { body: y } } }\n"
MAPPING = "dragoman: 1\nname: m\nroutes: { GET /x: { respond: { body: x } } }\n"
BROKEN = "dragoman: 1\nroutes: { GET /x: { respond: { body: x, statu: 200 } } }\n"
SUITE = "dragoman: 1\ncases: [{ name: one, request: GET /x, expect: { text: x } }]\n"

#: Each command, its usual status, and whether it writes to standard output.
COMMANDS: dict[str, tuple[list[str], int, bool]] = {
    "validate": (["validate", "m.yaml"], 0, True),
    "validate-json": (["validate", "m.yaml", "--format", "json"], 0, True),
    "validate-unusual": (["validate", "x" * 5000], 1, True),
    "test": (["test", "m.test.yaml"], 0, True),
    "explain": (["explain", "m.yaml"], 0, True),
    "schema": (["schema", "mapping"], 0, True),
    "functions": (["functions"], 0, True),
    "version": (["--version"], 0, True),
    "serve-broken": (["serve", "broken.yaml"], 1, False),
    "usage": (["validate"], 2, False),
}
#: Redirections of a shell, and the resulting state of standard output.
REDIRECTIONS = {
    "out-full": (">/dev/full", "full"),
    "out-closed": (">&-", "closed"),
    "out-broken": ("> >(:)", "broken"),
    "err-full": ("2>/dev/full", "there"),
    "err-closed": ("2>&-", "there"),
    "err-broken": ("2> >(:)", "there"),
    "both-full": (">/dev/full 2>/dev/full", "full"),
    "all-closed": ("<&- >&- 2>&-", "closed"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("output")
    texts = {"m.yaml": MAPPING, "broken.yaml": BROKEN, "unset.yaml": UNSET, "m.test.yaml": SUITE}
    for name, text in texts.items():
        (found / name).write_text(text)
    return found


def shell(folder: Path, arguments: Sequence[str], redirection: str) -> subprocess.Popen[str]:
    """The command, started by a shell that redirects its streams and then replaces itself with it."""
    return subprocess.Popen(
        ["bash", "-c", f'exec "$@" {redirection}', "bash", sys.executable, "-m", "cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("name", REDIRECTIONS)
def test_a_command_exits_with_its_status_despite_broken_output(folder: Path, name: str) -> None:
    redirection, output = REDIRECTIONS[name]
    for command, (arguments, status, writes) in COMMANDS.items():
        with shell(folder, arguments, redirection) as process:
            out, err = process.communicate(timeout=START)
        assert "Traceback" not in out + err, command
        if not writes or output in ("there", "closed"):
            assert process.returncode == status, (command, err)
        elif output == "full":
            assert process.returncode == 1, (command, err)
            assert err in ("", "Error: cannot write to standard output: No space left on device\n"), command
            assert (err == "") == (name == "both-full")
        else:
            # The reader may have read all output before it closed the pipe.
            assert process.returncode in (1, status), (command, err)
            assert err == "", command


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_character_outside_the_encoding_is_escaped(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "ü.yaml").write_text("dragoman: 1\nröutes: {}\n")
    done = subprocess.run(
        [sys.executable, "-m", "cli", "validate", "ü.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        check=False,
        timeout=START,
    )
    assert done.returncode == 1
    assert done.stderr == b""
    assert b"unknown-key" in done.stdout


@pytest.mark.parametrize(
    ("name", "workers"), [*((name, "1") for name in REDIRECTIONS), ("err-full", "2"), ("all-closed", "2")]
)
def test_a_server_works_despite_broken_output(folder: Path, name: str, workers: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["serve", "m.yaml", "unset.yaml", "--port", str(port), "--workers", workers]
    with shell(folder, arguments, REDIRECTIONS[name][0]) as process:
        try:
            assert eventually(lambda: status_of(port) == 200 or process.poll() is not None, START)
            assert process.poll() is None, process.communicate()
            assert [status_of(port) for _ in range(5)] == [200] * 5
        finally:
            process.terminate()
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Traceback" not in out + err


def status_of(port: int) -> int | None:
    """The status of a request; None if the connection is refused."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=PATIENCE) as response:
            return int(response.status)
    except OSError:
        return None


def test_a_server_survives_the_end_of_its_log_reader(folder: Path) -> None:
    arguments = ["serve", "m.yaml", "--port", "0"]
    with shell(folder, arguments, "") as process:
        assert process.stderr is not None
        url = re.search(r" at (http://[^\s\"]+)", process.stderr.readline())
        assert url is not None
        process.stderr.close()
        try:
            for _ in range(5):
                with urllib.request.urlopen(f"{url[1]}/x", timeout=PATIENCE) as response:
                    assert response.status == 200
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0
