"""Serving: a set of plans on an address, until the process is told to stop. The only importer of uvicorn."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn

import uvicorn

from engine.errors import Findings
from engine.plan import MappingPlan, PlanSet
from engine.runtime.app import application

_GRACE_SECONDS: Final = 30


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(plans: PlanSet, host: str, findings: Findings) -> None:
    """An address that others can reach is served only with keys, or where the mapping says `auth: none`."""
    if is_loopback(host):
        return
    for mapping in plans.mappings.values():
        if not mapping.is_open and not mapping.keys and _has_guarded_routes(mapping):
            place = mapping.spec.auth or mapping.spec.node.get("name") or mapping.spec.node
            message = f"no key is set for '{mapping.name}', and {host} can be reached from other machines"
            hint = "set the keys that auth.bearer names, or say 'auth: none'"
            findings.error("no-key", message, place.key_span, hint)


def _has_guarded_routes(mapping: MappingPlan) -> bool:
    return any(route.spec.auth != "none" for route in mapping.routes)


def run(plans: PlanSet, host: str, port: int, ready: Callable[[str], None]) -> bool:
    """Serve until a signal stops it; `ready` is called with the URL once requests are answered.

    Returns:
        Whether the address could be served at all.
    """
    config = uvicorn.Config(
        application(plans),
        host=host,
        port=port,
        http="httptools",
        loop="auto",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config, ready)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with contextlib.suppress(SystemExit):
        server.run()
    return server.started


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """A signal is how a service is ended, no failure: exit status 0. uvicorn raises it anew once all requests
    are done, and then it comes here."""
    raise SystemExit(0)


class _Server(uvicorn.Server):
    """uvicorn's server, which also says when it is ready and at which port."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        await super().startup(sockets)
        for server in self.servers:
            for bound in server.sockets:
                name = bound.getsockname()
                host = f"[{name[0]}]" if ":" in name[0] else name[0]
                self._ready(f"http://{host}:{name[1]}")
                return
