"""Dragoman as an ASGI application, for any ASGI server and to be mounted in other applications.

    # app.py
    from engine.asgi import create_app

    app = create_app(["shop.yaml"])

Serve it with `uvicorn app:app`, or with `uvicorn.run(app)` in a program. `Mount("/shop", app)` puts it below
a path of a Starlette application. `uvicorn --factory app:make` calls a function `make` that returns it.

Contract: with `engine` the public Python API; both are typed.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from engine.compiler import compile_set, load, source_files
from engine.diagnostics import Findings
from engine.errors import MappingError, TruncatedResponse
from engine.observability import logs, metrics
from engine.server.app import Application
from engine.server.browser_guard import BrowserGuard, host_names
from engine.server.client_addresses import ClientAddresses, networks
from engine.server.http1 import Limits
from engine.stores.rate_limits import MEMORY, RateLimits

__all__ = ["Application", "MappingError", "TruncatedResponse", "create_app"]

Path: TypeAlias = str | os.PathLike[str]

_LIMITS: Final = Limits()
_applications: weakref.WeakSet[Application] = weakref.WeakSet()


def create_app(
    paths: Path | Iterable[Path],
    *,
    environ: Mapping[str, str] | None = None,
    strict: bool = False,
    max_in_flight: int = _LIMITS.in_flight,
    allowed_hosts: str | Iterable[str] | None = None,
    trusted_proxies: str | Iterable[str] = (),
    limits_storage: str = MEMORY,
) -> Application:
    """Load mappings and return an ASGI 3 application that serves them together.

    The application opens connections to upstreams when they are called. It closes them at the end of its
    lifespan. A mounted application has no lifespan of its own: `await app.aclose()` closes them, and so does
    the end of the event loop. It needs asyncio; trio is not supported. It handles WebSockets by closing them.

    Args:
        paths: files, directories, globs, and names of shipped mappings, or one of these.
        environ: the variables that `env` of the mappings reads; by default those of the process. Unlike
            `dragoman serve` this reads no `.env`.
        strict: treat warnings as errors, such as that of a mapping whose keys are not set. By default they
            are logged.
        max_in_flight: requests at a time; others get 503.
        allowed_hosts: names of this server, such as `api.example.com` or `*.example.com`, in addition to
            those of this machine. If this is given, requests that need no key get 403 if their `Host` is
            another one or a page of another origin made them (DNS rebinding, cross-site requests). By
            default nothing is checked, as the application does not know its address.
        trusted_proxies: networks such as `10.0.0.0/8` whose `X-Forwarded-For` is used, and forwarded.
        limits_storage: where requests are counted for `rate_limit`: `memory://` or the URL of a Redis.

    Raises:
        MappingError: a mapping has errors; `findings` has each with its location.
        ValueError: there is no route to serve, or another argument is invalid.

    Example:
        >>> import uvicorn
        >>> from engine.asgi import create_app
        >>> uvicorn.run(create_app(["ollama-over-openai"]), port=11434)  # doctest: +SKIP
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    limits = RateLimits(limits_storage)
    addresses = ClientAddresses(networks(_with_commas(trusted_proxies)))
    guard = None if allowed_hosts is None else BrowserGuard(host_names(_with_commas(allowed_hosts)))
    findings = Findings()
    sources = source_files([os.fspath(path) for path in given], findings)
    plans = compile_set(load(sources, findings), os.environ if environ is None else environ, findings)
    if findings.has_errors or (strict and len(findings)):
        raise MappingError(findings)
    if not plans.mappings:
        raise ValueError("there is no route to serve in these files")
    for finding in findings:
        logs.finding(finding)
    app = Application(plans, max_in_flight, limits, addresses, guard)
    _applications.add(app)
    metrics.observe_active_requests(_running)
    return app


def _with_commas(names: str | Iterable[str]) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _running() -> int:
    """Requests that all applications of this process are handling."""
    return sum(app.running for app in _applications)
