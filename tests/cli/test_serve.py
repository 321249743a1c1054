"""`dragoman serve`: errors before it serves, and slow libraries that it does not import.

A running server is tested in `tests/server`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import SHOP, run
from tests.support.server import dragoman_server
from tests.support.times import START

ROOT = Path(__file__).parent.parent.parent

#: Each library with the feature that needs it.
NOT_IMPORTED = {
    "attr": "rich and referencing",
    "dotenv": "an environment file",
    "httpx2": "HTTP/2 and proxies",
    "jsonschema": "validation errors",
    "limits": "limits in a Redis",
    "opentelemetry": "traces",
    "redis": "limits in a Redis",
    "referencing": "validation errors",
    "rich": "a terminal",
    "importlib.metadata": "nothing",
    "engine.testing": "tests of mappings",
}

_CODE = """
import sys
import cli.serve
from engine import Findings, compile_set, load, shipped_mappings
files = shipped_mappings()
findings = Findings()
sources = load([files["ollama-over-openai"], files["openai-over-ollama"]], findings)
assert compile_set(sources, {}, findings, served_together=True).mappings
cli.serve.logs.configure("info", "json")
cli.serve.check_client_options("memory://", "")
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules imported by the time mappings are ready to be served."""
    started = subprocess.run(
        [sys.executable, "-c", _CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(started.stdout.split())


@pytest.mark.parametrize("library", NOT_IMPORTED)
def test_serve_does_not_import(imported: set[str], library: str) -> None:
    assert library not in imported, f"only needed for {NOT_IMPORTED[library]}"


def test_serve_describes_a_missing_variable(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "dragoman: 1\n"
        "env: { MODELS_KEY: { required: true, secret: true, description: the key for the models } }\n"
        "routes: { GET /x: { respond: { body: x } } }\n"
    )
    served = run("serve", str(file), "--port", "0")
    assert served.exit_code == 1
    assert "the environment variable MODELS_KEY is not set: the key for the models" in served.output
    assert run("validate", str(file)).exit_code == 0


def test_the_paths_can_come_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "dragoman: 1\nenv: { NOWHERE: { required: true } }\nroutes: { GET /x: { respond: {} } }\n"
    )
    served = run("serve", "--log-format", "console", env={"DRAGOMAN_MAPPINGS": str(file)})
    assert served.exit_code == 1
    assert f"{file}:2:8: error[missing-env]" in served.output


def test_serve_reports_a_port_in_use(shop: Path) -> None:
    with dragoman_server(SHOP) as server:
        port = server.address[1]
        done = subprocess.run(
            [*server.process.args[:3], "serve", str(shop), "--port", str(port)],  # type: ignore[index]
            capture_output=True,
            text=True,
            timeout=START,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port} is already in use; choose another with --port" in done.stderr
    assert "Traceback" not in done.stderr
