"""`dragoman healthcheck`: checks that a server is healthy, for containers and scripts.

Contract: the default is /livez at the address of `--admin`, an option that `serve` shares.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import Final

import click

from cli import options, render

#: Wildcard addresses of listeners → the loopback address to connect to.
_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


@click.command("healthcheck", short_help="Check that a server is healthy.")
@click.argument("url", required=False)
@options.setting(
    "--admin",
    metavar="HOST:PORT",
    help="The address of the server's --admin, for a request to /livez if URL is not given.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 300),
    default=5.0,
    show_default=True,
    envvar="DRAGOMAN_HEALTHCHECK_TIMEOUT",
    show_envvar=True,
    help="Seconds to wait for the response.",
)
def command(url: str | None, admin: str | None, timeout: float) -> None:
    """Send GET to URL. Exit status 0 for a response from 200 to 399, otherwise 1 with a one-line reason."""
    if url is None and admin is None:
        raise click.UsageError("URL or --admin is required")
    url = url or _livez(admin or "")
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("URL must start with http:// or https://")
    sys.exit(run(url, timeout))


def _livez(admin: str) -> str:
    host, _, port = admin.rpartition(":")
    return f"http://{_ANY.get(host, host)}:{port}/livez"


def run(url: str, timeout: float) -> int:
    """Send the request, and return the exit status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as response:
            render.line(f"healthy: status {response.status}")
            return 0
    except urllib.error.HTTPError as error:
        with error:  # it is the response, and holds the connection
            render.line(f"unhealthy: status {error.code}")
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        render.line(f"unhealthy: {reason}")
    return 1
