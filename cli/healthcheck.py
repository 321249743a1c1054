"""`dragoman healthcheck`: whether a URL answers, for containers and scripts."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

import click

from cli import render


@click.command("healthcheck", short_help="Ask a URL whether it answers.")
@click.argument("url")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 300),
    default=5.0,
    show_default=True,
    envvar="DRAGOMAN_HEALTHCHECK_TIMEOUT",
    show_envvar=True,
    help="Seconds to wait for the answer.",
)
def command(url: str, timeout: float) -> None:
    """Send GET to URL. Exit status 0 for an answer from 200 to 399, else 1, with the reason in one line."""
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("URL begins with http:// or https://")
    sys.exit(run(url, timeout))


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
