"""The clients of docs/clients.md, unmodified, against `make serve`: each check of a client is a test.

`make test-clients` sets CLIENTS_VENV to the environment of `requirements.lock`; that of
`requirements-openai-2.lock` has the same name followed by `-openai-2`. With CLIENTS_TABLE=1, a run in which
each check has the expected result writes the table of the page.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.table import CLIENTS, FOLDER, PAGE, Client, table, with_section
from tests.support.server import Server, make_serve
from tests.support.times import PATIENCE, START

VENV = os.environ.get("CLIENTS_VENV")
WRITES_TABLE = bool(os.environ.get("CLIENTS_TABLE"))

if VENV is None:
    pytest.skip("CLIENTS_VENV is not set: make test-clients", allow_module_level=True)

#: Characters of a script's output that a failed test shows, from its end.
_TAIL = 4000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with make_serve() as running:
        yield running


class Runs:
    """What the scripts printed; each is run once, when the first of its checks is tested."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lines: dict[Client, list[dict[str, Any]]] = {}
        self._output: dict[Client, str] = {}
        self.passed: set[tuple[Client, str]] = set()

    def error(self, client: Client, check: str) -> str | None:
        """The error of a check, or None."""
        found = [line for line in self._of(client) if line.get("check") == check]
        assert found, f"{client.script} did not report this check:\n{self._output[client][-_TAIL:]}"
        return found[0]["error"]

    def output(self, client: Client) -> str:
        return self._output[client]

    def versions(self, client: Client) -> dict[str, str]:
        (found,) = [line["versions"] for line in self._of(client) if "versions" in line]
        assert list(found) == list(client.packages)
        return dict(found)

    def _of(self, client: Client) -> list[dict[str, Any]]:
        if client not in self._lines:
            self._lines[client], self._output[client] = run(client, self._server.url)
        return self._lines[client]


def run(client: Client, url: str) -> tuple[list[dict[str, Any]], str]:
    """Runs a script; returns what it reported, and its complete output."""
    with tempfile.TemporaryDirectory() as home:
        out, err = Path(home, "stdout"), Path(home, "stderr")
        environ = {"PATH": os.environ["PATH"], "HOME": home, "PYTHONDONTWRITEBYTECODE": "1"}
        with out.open("wb") as stdout, err.open("wb") as stderr:
            command = [*interpreter(client), str(client.file), url]
            process = subprocess.Popen(command, cwd=home, env=environ, stdout=stdout, stderr=stderr)
            try:
                process.wait(START + 10 * PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        printed = out.read_text(errors="replace")
        output = printed + err.read_text(errors="replace")
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")], output


def interpreter(client: Client) -> list[str]:
    """Returns the command that runs a client's script."""
    assert VENV is not None
    if client.install == "npm":
        return ["node"]
    return [str(Path(VENV + client.install.removeprefix("requirements"), "bin", "python").absolute())]


def missing(client: Client) -> str | None:
    """Returns why a client cannot be run, or None."""
    if client.install == "npm":
        if shutil.which("node") is None:
            return "node is not installed"
        if not (FOLDER / "node_modules" / client.packages[0]).is_dir():
            return "the npm packages are not installed: make test-clients"
    return None


@pytest.fixture(scope="module")
def runs(server: Server) -> Iterator[Runs]:
    runs = Runs(server)
    yield runs
    if WRITES_TABLE and runs.passed == {(client, check) for client in CLIENTS for check in client.checks}:
        PAGE.write_text(
            with_section(PAGE.read_text(), table({client: runs.versions(client) for client in CLIENTS}))
        )


@pytest.mark.parametrize(
    ("client", "check"),
    [(client, check) for client in CLIENTS for check in client.checks],
    ids=str,
)
def test_a_client(runs: Runs, client: Client, check: str) -> None:
    reason = missing(client)
    if reason is not None:
        pytest.skip(reason)
    error = runs.error(client, check)
    if check in client.limits:
        assert error is not None, f"the client no longer has this limit: {client.limits[check]}"
        assert error.startswith("AssertionError"), error  # of the check, not of a client that does not work
    else:
        assert error is None, f"{error}\n{runs.output(client)[-_TAIL:]}"
    runs.passed.add((client, check))
