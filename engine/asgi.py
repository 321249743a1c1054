"""Dragoman as an ASGI application, for any ASGI server or a mount point in another application.

    # app.py
    from engine.asgi import create_app

    app = create_app(["shop.yaml"])

Serve it with `uvicorn app:app`, or with `uvicorn.run(app)` in a program. `Mount("/shop", app)` mounts it in a
Starlette application. `uvicorn --factory app:make` calls a function `make` that returns it.

Contract: this module and `engine` are the public Python API; both are typed.
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
from engine.server.no_routes import describe_no_routes
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
    """Load mappings and return an ASGI 3 application that serves them.

    The application connects to an upstream on its first call, and closes all connections at the end of its
    lifespan. A mounted application has no lifespan: `await app.aclose()` or the end of the event loop closes
    its connections. The application requires asyncio; trio is not supported. It closes WebSockets.

    Args:
        paths: one or more files, directories, globs, or names of shipped mappings.
        environ: the variables that `env` in mappings reads; by default the environment of the process. Unlike
            `dragoman serve`, this function does not read `.env`.
        strict: treat warnings as errors, for example that the keys of a mapping are not set. By default
            warnings are logged.
        max_in_flight: the maximum number of concurrent requests; further ones get 503.
        allowed_hosts: names of this server, such as `api.example.com` or `*.example.com`, in addition to
            the names of this machine. If given, requests that require no key get 403 if their `Host` is not
            one of these names (DNS rebinding) or a page of another origin sent them (cross-site requests).
            By default there is no check, because the application does not know its address.
        trusted_proxies: networks such as `10.0.0.0/8` whose `X-Forwarded-For` is trusted and forwarded.
        limits_storage: the storage of the counters of `rate_limit`: `memory://` or a Redis URL.

    Raises:
        MappingError: a mapping has errors; its `findings` contain each error with its location.
        ValueError: the files contain no route to serve, or another argument is invalid.

    Example:
        >>> import uvicorn
        >>> from engine.asgi import create_app
        >>> uvicorn.run(create_app(["ollama-over-openai"]), port=11434)  # doctest: +SKIP
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    limits = RateLimits(limits_storage)
    addresses = ClientAddresses(networks(_comma_separated(trusted_proxies)))
    guard = None if allowed_hosts is None else BrowserGuard(host_names(_comma_separated(allowed_hosts)))
    findings = Findings()
    sources = source_files([os.fspath(path) for path in given], findings)
    plans = compile_set(load(sources, findings), os.environ if environ is None else environ, findings)
    if findings.has_errors or (strict and len(findings)):
        raise MappingError(findings)
    if not plans.public:
        raise ValueError(describe_no_routes(plans))
    logs.findings(findings)
    app = Application(plans, max_in_flight, limits, addresses, guard)
    _applications.add(app)
    metrics.observe_active_requests(_active_requests)
    return app


def _comma_separated(names: str | Iterable[str]) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _active_requests() -> int:
    """The number of requests that all applications of this process are handling."""
    return sum(app.running for app in _applications)
