"""`dragoman healthcheck`: its output and exit status for a healthy and an unhealthy server."""

from __future__ import annotations

import pytest

from tests.support.commands import run
from tests.support.server import dragoman_server
from tests.support.upstream import refusing

HEALTH = "dragoman: 1\nroutes: { GET /health: { respond: { body: ok } } }\n"
LIVEZ = "dragoman: 1\nroutes: { GET /livez: { respond: { body: ok } } }\n"


def test_healthcheck() -> None:
    with dragoman_server(HEALTH) as server:
        assert run("healthcheck", f"{server.url}/health").output == "healthy: status 200\n"
        missing = run("healthcheck", f"{server.url}/nothing")
        assert (missing.exit_code, missing.output) == (1, "unhealthy: status 404\n")
    with refusing() as url:
        refused = run("healthcheck", url, "--timeout", "2")
        assert refused.exit_code == 1
        assert "refused" in refused.output
    assert run("healthcheck", "ftp://x").exit_code == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "", "localhost"])
def test_healthcheck_uses_the_admin_address_of_the_environment(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dragoman_server(LIVEZ) as server:
        monkeypatch.setenv("DRAGOMAN_ADMIN", f"{host}:{server.address[1]}")
        assert run("healthcheck").output == "healthy: status 200\n"
        assert run("healthcheck", f"{server.url}/other").output == "unhealthy: status 404\n"
    assert run("healthcheck", "--timeout", "2").exit_code == 1
    monkeypatch.delenv("DRAGOMAN_ADMIN")
    assert run("healthcheck").exit_code == 2
