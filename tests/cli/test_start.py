"""`serve` does not import slow libraries that it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
