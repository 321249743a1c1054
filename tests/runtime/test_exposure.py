"""What may be served where: an address that others can reach wants keys, or that the mapping says so."""

from __future__ import annotations

import pytest

from engine.runtime.exposure import is_loopback
from tests.support.server import dragoman_server, failed_start

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
def test_an_exposed_address_wants_keys(text: str, host: str) -> None:
    status, told = failed_start(text, {"KEYS": " , "}, ("--host", host))
    assert status == 1
    assert "error[no-key]" in told
    assert "'shop'" in told
    assert host in told
    assert "Traceback" not in told


def test_one_mapping_without_keys_is_enough() -> None:
    texts = {"a.yaml": MAPPING, "b.yaml": f"dragoman: 1\nprefix: /b\n{ROUTE}"}
    status, told = failed_start(texts, {"KEYS": "k"}, ("--host", "0.0.0.0"))
    assert (status, told.count("error[no-key]")) == (1, 1)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (MAPPING, "k"),
        (f"dragoman: 1\nauth: none\n{ROUTE}", ""),
        ("dragoman: 1\nroutes: { GET /x: { auth: none, respond: { body: x } } }", ""),
    ],
    ids=["keys", "open", "open-route"],
)
def test_an_exposed_address_is_served(text: str, keys: str) -> None:
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


def test_a_port_that_is_taken_is_exit_status_1() -> None:
    with dragoman_server(f"dragoman: 1\n{ROUTE}") as server:
        status, told = failed_start(f"dragoman: 1\n{ROUTE}", args=("--port", str(server.address[1])))
    assert status == 1
    assert "address already in use" in told
    assert "Traceback" not in told
