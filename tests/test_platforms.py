"""Systems without fork(), Unix signals and uvloop, which `tests/support/without_unix.py` hides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.repository import ROOT
from tests.support.server import dragoman_server
from tests.support.times import START

_WITHOUT_UNIX = "import tests.support.without_unix; "
_COMMAND = (sys.executable, "-c", f"{_WITHOUT_UNIX}from cli.main import main; main()")
_IMPORT_ALL = """
import importlib, pkgutil, cli, engine
for package in (cli, engine):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""
HELLO = "dragoman: 1\nroutes: { GET /hello: { respond: { body: hello } } }\n"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=START, check=False
    )


def test_all_modules_can_be_imported() -> None:
    done = python("-c", _WITHOUT_UNIX + _IMPORT_ALL)
    assert done.returncode == 0, done.stderr


def test_the_fast_tests_can_be_imported() -> None:
    entries = (ROOT / "tests/fast.txt").read_text("utf-8").splitlines()
    files = [
        file
        for entry in entries
        if not entry.startswith("--")
        for file in ([ROOT / entry] if entry.endswith(".py") else sorted((ROOT / entry).rglob("test_*.py")))
        if "properties" not in file.name and "against" not in file.name
    ]
    assert len(files) > 20
    # The rewriting of assertions takes most of the time, and is not what is tested.
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    done = python(
        "-c", f"{_WITHOUT_UNIX}import importlib\nfor name in {names}: importlib.import_module(name)"
    )
    assert done.returncode == 0, done.stderr


def test_mappings_are_served() -> None:
    with dragoman_server(HELLO, command=_COMMAND, args=("--admin", "127.0.0.1:0")) as server:
        assert server.get("/hello").text == "hello"


def test_several_workers_are_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(HELLO, "utf-8")
    done = python(*_COMMAND[1:], "serve", "--workers", "2", "--port", "0", str(tmp_path / "hello.yaml"))
    assert done.returncode == 2
    assert "--workers above 1 needs fork(), which this operating system does not have" in done.stderr


def test_files_are_read_in_utf8() -> None:
    """In the encoding of the locale, mappings would be read differently on Windows."""
    done = python("-X", "warn_default_encoding", "-W", "error::EncodingWarning", "-m", "cli", "test", "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "EncodingWarning" not in done.stderr
