"""`dragoman serve`: mappings on an address."""

from __future__ import annotations

import sys

import click

from cli import options, render
from cli.loading import plans_of, report
from engine import Findings, PlanSet
from engine.runtime import logs
from engine.runtime.serve import check_exposure
from engine.runtime.serve import run as serve


@click.command("serve", short_help="Serve mappings.")
@options.paths()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    envvar="DRAGOMAN_HOST",
    show_envvar=True,
    help="The address to listen on. One that other machines can reach needs keys, or 'auth: none'.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    envvar="DRAGOMAN_PORT",
    show_envvar=True,
    help="The port to listen on; 0 takes a free one.",
)
@options.env_file
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS),
    default="info",
    show_default=True,
    envvar="DRAGOMAN_LOG_LEVEL",
    show_envvar=True,
    help="The least important lines to log.",
)
@click.option(
    "--log-format",
    type=click.Choice(("json", "console")),
    default=None,
    envvar="DRAGOMAN_LOG_FORMAT",
    show_envvar=True,
    help="How lines are written to standard error. Default: console on a terminal, else json.",
)
def command(
    paths: tuple[str, ...],
    host: str,
    port: int,
    env_files: tuple[str, ...],
    log_level: str,
    log_format: logs.Format | None,
) -> None:
    """Serve the mappings of files, directories, globs, or names of shipped mappings, together.

    Nothing is served while there is an error in any of them: all findings are printed, and the command
    ends with status 1.
    """
    if log_format is None:
        log_format = "console" if sys.stderr.isatty() else "json"
    logs.configure(log_level, log_format)
    sys.exit(run(paths, host, port, env_files))


def run(paths: tuple[str, ...], host: str, port: int, env_files: tuple[str, ...]) -> int:
    """Serve until a signal; the exit status."""
    findings = Findings()
    plans, _ = plans_of(paths, options.environment(env_files), findings, served_together=True)
    check_exposure(plans, host, findings)
    if report(findings, "text"):
        return 1
    if not plans.mappings:
        render.line("there is no route to serve in these files", stderr=True)
        return 1
    served = serve(plans, host, port, lambda url: _announce(plans, url))
    return 0 if served else 1


def _announce(plans: PlanSet, url: str) -> None:
    routes = sum(len(mapping.routes) for mapping in plans.mappings.values())
    render.line(
        f"Dragoman serves {render.count(routes, 'route')} of {', '.join(plans.mappings)} at {url}",
        stderr=True,
        style="green",
    )
