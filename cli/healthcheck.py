"""`dragoman healthcheck`: whether a server answers, for containers and scripts.

Contract: without a URL the server of this environment is asked, at the address that `serve --admin` has too.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import Final

import click

from cli import options, render

#: Addresses to listen on that are none to connect to, and what stands for them on this machine.
_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


@click.command("healthcheck", short_help="Ask a server whether it answers.")
@click.argument("url", required=False)
@options.setting(
    "--admin",
    metavar="HOST:PORT",
    help="The address of a server's --admin; its /livez is asked where there is no URL.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 300),
    default=5.0,
    show_default=True,
    envvar="DRAGOMAN_HEALTHCHECK_TIMEOUT",
    show_envvar=True,
    help="Seconds to wait for the answer.",
)
def command(url: str | None, admin: str | None, timeout: float) -> None:
    """Send GET to URL. Exit status 0 for an answer from 200 to 399, else 1, with the reason in one line."""
    if url is None and admin is None:
        raise click.UsageError("give a URL, or --admin")
    url = url or _livez(admin or "")
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("URL begins with http:// or https://")
    sys.exit(run(url, timeout))


def _livez(admin: str) -> str:
    host, _, port = admin.rpartition(":")
    return f"http://{_ANY.get(host, host)}:{port}/livez"


def run(url: str, timeout: float) -> int:
    """Ask; the exit status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            render.line(f"healthy: status {answer.status}")
            return 0
    except urllib.error.HTTPError as error:
        render.line(f"unhealthy: status {error.code}")
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        render.line(f"unhealthy: {reason}")
    return 1
