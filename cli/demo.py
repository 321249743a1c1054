"""`dragoman demo`: serves the shipped mappings on a built-in mock of a model server.

Contract: it needs no account, model or file, and works in the same way everywhere: of the environment the
mappings receive only the variables that `demo.toml` names. After startup it prints the base URLs for clients,
and commands to try, which work as printed. `demo.toml` is among the shipped mappings and defines all of it.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import click

from cli import render
from cli.serve import (
    configure_log,
    host_option,
    log_format_option,
    log_level_option,
    port_option,
    run,
)
from engine import shipped_mappings
from engine.observability import logs
from engine.server.serve import PlanSource

_KEYS: Final = "DRAGOMAN_API_KEYS"

#: Wildcard addresses of listeners → the loopback address to connect to.
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True, slots=True)
class _Demo:
    """The contents of `demo.toml`.

    Attributes:
        served: names of shipped mappings.
        inherited: variables that mappings receive from the environment.
        models: the names of models, as text.
        env: the other variables.
        urls: what is served, and its path below the address.
        commands: what to try, each with `title`, `path` and, for POST, `body`.
    """

    served: list[str]
    inherited: list[str]
    models: str
    env: Mapping[str, str]
    urls: Mapping[str, str]
    commands: list[dict[str, Any]]


@click.command("demo", short_help="Serve the shipped mappings on a mock of a model server.")
@host_option(click.option)
@port_option(click.option)
@log_level_option(click.option)
@log_format_option(click.option)
def command(host: str, port: int, log_level: str, log_format: logs.Format | None) -> None:
    """Serve the shipped mappings on a built-in mock of a model server, which needs no account and no model.

    After startup it prints the base URLs for clients, and commands to try. Each request is translated by the
    mapping for its API; the mock returns deterministic responses.

    DRAGOMAN_API_KEYS sets the keys of clients, as in 'serve'. .env and other variables for mappings are not
    read.
    """
    configure_log(log_level, log_format)
    files = shipped_mappings()
    demo = _Demo(**tomllib.loads(files["demo"].with_suffix(".toml").read_text("utf-8")))
    # Paths, as a name would also match a file of the working directory.
    paths = tuple(str(files[name]) for name in demo.served)
    environ = {**{name: os.environ[name] for name in demo.inherited if name in os.environ}, **demo.env}
    source = PlanSource(paths, tuple, lambda: environ, host)
    has_keys = bool(environ.get(_KEYS, "").strip())

    def announce(url: str) -> None:
        for line in _banner(demo, _reachable(url), has_keys):
            render.line(line)

    # The warnings are about missing keys, which the startup line mentions.
    sys.exit(run(source, port, announce=announce, shows_warnings=False))


def _reachable(url: str) -> str:
    """The URL for clients on this machine."""
    parts = urlsplit(url)
    host = _ANY.get(parts.hostname or "")
    return url if host is None else f"http://{host}:{parts.port}"


def _banner(demo: _Demo, url: str, has_keys: bool) -> Iterator[str]:
    """The lines of the banner: base URLs, models and commands."""
    yield ""
    width = max(map(len, demo.urls))
    for name, path in demo.urls.items():
        yield f"  {name:<{width}}  {url}{path}"
    yield ""
    yield f"Models: {demo.models}."
    if has_keys:
        yield f"Set KEY to one of the keys in {_KEYS}."
    yield "Try:"
    for each in demo.commands:
        yield ""
        yield f"  # {each['title']}"
        yield f"  {_curl(url + each['path'], each.get('body'), has_keys)}"
    yield ""


def _curl(url: str, body: str | None, has_keys: bool) -> str:
    key = ' -H "Authorization: Bearer $KEY"' if has_keys else ""
    data = "" if body is None else f" -H 'Content-Type: application/json' -d '{body}'"
    return f"curl -sN{key} {url}{data}"
