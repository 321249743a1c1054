"""A non-loopback address requires client keys, or a mapping that declares it is open."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from engine.server.missing_keys import is_loopback
from tests.support.server import dragoman_server, failed_start
from tests.support.upstream import eventually

ROUTE = "routes: { GET /x: { respond: { body: x } } }"
MAPPING = f"""
dragoman: 1
name: shop
env: {{ KEYS: {{ secret: true }} }}
auth: {{ bearer: "${{ $env.KEYS }}" }}
{ROUTE}
"""


@pytest.mark.parametrize("text", [MAPPING, f"dragoman: 1\nname: shop\n{ROUTE}"], ids=["empty", "absent"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_non_loopback_address_requires_keys(text: str, host: str) -> None:
    status, output = failed_start(text, {"KEYS": " , "}, ("--host", host))
    assert status == 1
    assert '"code":"no-key"' in output
    assert "'shop'" in output
    assert host in output
    assert "Traceback" not in output


def test_one_mapping_without_keys_stops_the_start() -> None:
    texts = {"a.yaml": MAPPING, "b.yaml": f"dragoman: 1\nprefix: /b\n{ROUTE}"}
    status, output = failed_start(texts, {"KEYS": "k"}, ("--host", "0.0.0.0"))
    assert (status, output.count('"code":"no-key"')) == (1, 1)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (MAPPING, "k"),
        (f"dragoman: 1\nauth: none\n{ROUTE}", ""),
        ("dragoman: 1\nroutes: { GET /x: { auth: none, respond: { body: x } } }", ""),
    ],
    ids=["keys", "open", "open-route"],
)
def test_a_non_loopback_address_is_served(text: str, keys: str) -> None:
    with dragoman_server(text, {"KEYS": keys}, ("--host", "0.0.0.0")) as server:
        assert server.get("/x").status == (401 if keys else 200)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False), ("", False),
     ("127.0.0.1.example.org", False), ("localhost.example.org", False)],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_port_in_use_is_exit_status_1() -> None:
    with dragoman_server(f"dragoman: 1\n{ROUTE}") as server:
        status, output = failed_start(f"dragoman: 1\n{ROUTE}", args=("--port", str(server.address[1])))
    assert status == 1
    assert "is already in use; choose another with --port" in output
    assert "Traceback" not in output


def test_unset_keys_are_a_note_in_validate(tmp_path: Path) -> None:
    """The variable is misspelt, or not set where the mapping is checked."""
    file = tmp_path / "shop.yaml"
    file.write_text(MAPPING)
    for keys, status, is_noted in ((" , ", 0, True), ("", 0, True), ("k", 0, False)):
        done = CliRunner().invoke(main, ["validate", str(file)], env={"KEYS": keys})
        assert done.exit_code == status
        assert (f"{file}:5:17: note[no-key]: 'auth.bearer' has no key: 'shop' is open" in done.output) is (
            is_noted
        ), done.output
    for option, status in (("--strict", 0), ("--require-env", 1)):
        assert CliRunner().invoke(main, ["validate", option, str(file)], env={"KEYS": ""}).exit_code == status


def test_unset_keys_are_a_warning_at_the_start() -> None:
    """The mapping would be open without notice."""
    with dragoman_server(MAPPING, {"KEYS": ""}) as server:
        (finding,) = [line for line in server.log() if line["event"] == "finding"]
    assert (finding["code"], finding["level"], finding["line"]) == ("no-key", "warning", 5)


NO_AUTH = f"dragoman: 1\nname: shop\nprefix: /free\n{ROUTE}"
OPEN = f"dragoman: 1\nname: open\nprefix: /open\nauth: none\n{ROUTE}"
HALF_OPEN = "dragoman: 1\nauth: { bearer: '' }\nroutes: { GET /x: { auth: none, respond: { body: x } } }"


@pytest.mark.parametrize(
    ("texts", "keys", "note", "logged"),
    [
        ({"a.yaml": MAPPING}, "", " (no keys: open to local processes)", ["shop"]),
        ({"a.yaml": MAPPING}, "k", "", []),
        ({"a.yaml": NO_AUTH}, "", " (no keys: open to local processes)", []),
        ({"a.yaml": MAPPING, "b.yaml": OPEN}, "k", " (no keys for open: open to local processes)", []),
        ({"a.yaml": MAPPING, "b.yaml": OPEN}, "", " (no keys: open to local processes)", ["shop"]),
        ({"a.yaml": HALF_OPEN}, "", " (no keys: open to local processes)", []),
    ],
    ids=["unset", "set", "absent", "one-of-two", "both", "no-guarded-route"],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_start_reports_who_can_call_without_a_key(
    texts: dict[str, str], keys: str, note: str, logged: list[str], workers: str
) -> None:
    with dragoman_server(texts, {"KEYS": keys}, ("--workers", workers)) as server:
        messages = [line["message"] for line in server.log() if line["event"] == "serving"]
        assert [message for message in messages if message.endswith(f" at {server.url}{note}")]
        assert [line["mapping"] for line in server.log() if line["event"] == "no_keys"] == logged


def test_the_start_reports_an_open_address() -> None:
    with dragoman_server({"a.yaml": OPEN}, args=("--host", "0.0.0.0")) as server:
        messages = [line["message"] for line in server.log() if line["event"] == "serving"]
        assert [message for message in messages if message.endswith(" (no keys: open to everyone)")]


def test_keys_removed_by_a_reload_are_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    keys = tmp_path / "keys.env"
    file.write_text(MAPPING)
    keys.write_text("KEYS=k\n")
    with dragoman_server(file, args=("--env-file", str(keys))) as server:
        keys.write_text("KEYS=\n")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: any(line["event"] == "reload" for line in server.log()))
        (finding,) = [line for line in server.log() if line["event"] == "finding"]
        assert (finding["code"], finding["level"], finding["line"]) == ("no-key", "warning", 5)
