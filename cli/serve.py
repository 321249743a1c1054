"""`dragoman serve`: serves mappings over HTTP."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import click

from cli import options, output, render
from engine import Findings
from engine.observability import logs
from engine.server.serve import (
    Limits,
    PlanSource,
    Service,
    check_client_options,
    describe_no_routes,
    describe_open_access,
    parse_address,
    warn_about_unset_keys,
)
from engine.server.serve import run as serve
from engine.server.workers import run as serve_by_workers

_LIMITS = Limits()


def _seconds(flag: str, text: str, name: str | None = None) -> Callable[[options.F], options.F]:
    """An option for a limit in seconds; `name` is the field of `Limits`, by default the name of the flag."""
    name = name or flag.strip("-").replace("-", "_")
    return options.setting(
        flag,
        name,
        type=click.FloatRange(0),
        default=getattr(_LIMITS, name),
        show_default=True,
        metavar="SECONDS",
        help=text,
    )


def _address(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, int] | None:
    try:
        return parse_address(text) if text else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


# Options that `demo` has too, where they have no environment variables.
_Decorator: TypeAlias = Callable[[Any], Any]
_Option: TypeAlias = Callable[..., _Decorator]


def host_option(option: _Option) -> _Decorator:
    """--host, by `options.setting` or `click.option`."""
    return option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        help="The address to listen on. An address that is not loopback requires keys, or 'auth: none'.",
    )


def port_option(option: _Option) -> _Decorator:
    """--port."""
    return option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8080,
        show_default=True,
        help="The port to listen on; 0 selects a free port.",
    )


def log_level_option(option: _Option) -> _Decorator:
    """--log-level."""
    return option(
        "--log-level",
        type=click.Choice(logs.LEVELS),
        default="info",
        show_default=True,
        help="The minimum level of log lines.",
    )


def log_format_option(option: _Option) -> _Decorator:
    """--log-format."""
    return option(
        "--log-format",
        type=click.Choice(("json", "console")),
        default=None,
        help="The format of log lines on standard error. Default: console on a terminal, otherwise json.",
    )


class _ServeCommand(click.Command):
    """Logs usage errors, if the log is in JSON: then each line of output is JSON."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        given = tuple(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            _log_usage_error(error, _format_of(given))
            raise

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except click.UsageError as error:
            _log_usage_error(error, _default_format(context.params["log_format"]))
            raise


def _log_usage_error(error: click.UsageError, log_format: logs.Format) -> None:
    """Log a usage error and exit, if the log is in JSON."""
    if log_format == "json":
        configure_log("info", "json")
        logs.error("usage_error", message=error.format_message())
        raise click.exceptions.Exit(error.exit_code) from None


def _format_of(args: Sequence[str]) -> logs.Format:
    """The log format of arguments that are not valid as a whole."""
    given = os.environ.get("DRAGOMAN_LOG_FORMAT")
    for argument, value in zip(args, (*args[1:], ""), strict=False):
        flag, equals, attached = argument.partition("=")
        if flag == "--log-format":
            given = attached if equals else value
    return _default_format("json" if given == "json" else "console" if given == "console" else None)


def _default_format(log_format: logs.Format | None) -> logs.Format:
    return log_format or ("console" if sys.stderr.isatty() else "json")


@click.command("serve", cls=_ServeCommand, short_help="Serve mappings.")
@options.paths("DRAGOMAN_MAPPINGS")
@host_option(options.setting)
@port_option(options.setting)
@options.setting(
    "--admin",
    default=None,
    metavar="HOST:PORT",
    callback=_address,
    help="The address of /metrics, /livez and /readyz. HOST defaults to loopback. Default: no listener.",
)
@options.env_file_with_options
@options.setting(
    "--watch",
    is_flag=True,
    help="Reload without a restart when mappings, the files that they read, or --env-file change.",
)
@log_level_option(options.setting)
@log_format_option(options.setting)
@options.setting(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="The number of worker processes. Above 1, a supervisor process is added.",
)
@options.setting(
    "--max-in-flight",
    type=click.IntRange(1),
    default=_LIMITS.in_flight,
    show_default=True,
    help="The maximum number of concurrent requests per process; more are rejected with 503.",
)
@options.setting(
    "--limits-storage",
    "storage",
    default=_LIMITS.storage,
    metavar="URL",
    help="The storage of rate limit counters: redis://HOST:PORT for several processes. Default: in memory.",
)
@options.setting(
    "--trusted-proxies",
    default=_LIMITS.trusted_proxies,
    metavar="CIDR,…",
    help="Networks of trusted reverse proxies, whose X-Forwarded-For contains the client's address.",
)
@options.setting(
    "--allowed-hosts",
    default=_LIMITS.allowed_hosts,
    metavar="NAME,…",
    help="Allowed values of Host, such as api.example.com or *.example.com, if the server listens on a "
    "loopback address and requires no key; '*' for any. Default: names and addresses of this machine.",
)
@_seconds("--grace", "Seconds from the shutdown signal until the process exits.")
@_seconds("--head-timeout", "Seconds to receive a request head, from its first byte.", "head")
@_seconds("--body-timeout", "Seconds to receive a request body, plus one for every 4 KiB received.", "body")
@_seconds("--send-timeout", "Seconds without progress in sending a response.", "send")
@_seconds("--keep-alive", "Seconds until an idle connection is closed.")
def command(
    paths: tuple[str, ...],
    host: str,
    port: int,
    env_files: tuple[str, ...],
    admin: tuple[str, int] | None,
    watch: bool,
    log_level: str,
    log_format: logs.Format | None,
    workers: int,
    max_in_flight: int,
    storage: str,
    trusted_proxies: str,
    allowed_hosts: str,
    **seconds: float,
) -> None:
    """Serve the mappings of files, directories, globs, or names of shipped mappings, together.

    If any of them has an error, all findings are printed, and the command exits with status 1. SIGHUP, or a
    change with --watch, reloads them; if the new mappings have errors, these are logged and the old mappings
    stay in use.
    """
    configure_log(log_level, log_format)
    if workers > 1 and not hasattr(os, "fork"):
        raise click.UsageError("--workers above 1 needs fork(), which this operating system does not have")
    try:
        check_client_options(storage, trusted_proxies, allowed_hosts)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    limits = replace(
        _LIMITS,
        in_flight=max_in_flight,
        storage=storage,
        trusted_proxies=trusted_proxies,
        allowed_hosts=allowed_hosts,
        **seconds,  # type: ignore[arg-type]
    )
    source = PlanSource(
        paths,
        partial(options.environment_files, env_files),
        partial(_environment, env_files),
        host,
        (options.DOTENV,),
    )
    sys.exit(run(source, port, limits, watch, admin, workers))


def configure_log(level: str, log_format: logs.Format | None) -> None:
    """Write log lines to standard error, by default in the format for a terminal if it is one."""
    logs.configure(
        level,
        _default_format(log_format),
        # The log drops lines that cannot be written.
        output.unguarded(sys.stderr),
        has_colors=render.has_colors(sys.stderr),
        show_findings=render.findings_to_stderr,
    )


def run(
    source: PlanSource,
    port: int,
    limits: Limits = _LIMITS,
    watch: bool = False,
    admin: tuple[str, int] | None = None,
    workers: int = 1,
    announce: Callable[[str], None] | None = None,
    shows_warnings: bool = True,
) -> int:
    """Serve until a signal, and return the exit status; a failed start is logged.

    Args:
        announce: called with the URL after startup.
        shows_warnings: whether to show findings if none of them is an error.
    """
    try:
        return _run(source, port, limits, watch, admin, workers, announce, shows_warnings)
    except OSError as error:
        logs.error("start_failed", message=str(error))
    except click.ClickException:
        raise
    except Exception as error:
        logs.unhandled(error, "start")
    return 1


def _run(
    source: PlanSource,
    port: int,
    limits: Limits,
    watch: bool,
    admin: tuple[str, int] | None,
    workers: int,
    announce: Callable[[str], None] | None,
    shows_warnings: bool,
) -> int:
    files = source.env_files()
    if files:
        logs.info("environment_files", files=list(files))
    output.outlive_standard_output()
    findings = Findings()
    loaded = source.load(findings)
    if shows_warnings or findings.has_errors:
        logs.findings(findings)
    if findings.has_errors:
        return 1
    if loaded.plans is None or not loaded.plans.public:
        logs.error("no_routes", message=describe_no_routes(loaded.plans))
        return 1
    if shows_warnings and logs.is_json():
        # On the console the findings are enough.
        warn_about_unset_keys(loaded.plans)
    # Not the plans, which would stay in memory after a reload.
    names = tuple(mapping.name for mapping in loaded.plans.public)
    routes = sum(len(mapping.routes) for mapping in loaded.plans.public)
    ready = partial(_announce, names, routes, describe_open_access(loaded.plans, source.host), announce)
    service = Service(source, loaded, source.host, port, limits, ready, watch, admin)
    logs.capture_unhandled()
    served = serve(service) if workers == 1 else serve_by_workers(service, workers)
    return 0 if served else 1


def _environment(env_files: tuple[str, ...]) -> Mapping[str, str]:
    try:
        return options.environment(env_files)
    except click.UsageError as error:
        raise OSError(error.message) from None


def _announce(
    names: Sequence[str], routes: int, open_to: str, announce: Callable[[str], None] | None, url: str
) -> None:
    """Report that the server accepts requests."""
    note = f" ({open_to})" if open_to else ""
    message = f"Dragoman serves {render.count(routes, 'route')} of {', '.join(names)} at {url}{note}"
    if logs.is_json():
        logs.announce("serving", message=message, url=url, mappings=list(names), routes=routes)
    else:
        render.line(message, stderr=True, style="green")
    if announce is not None:
        announce(url)
