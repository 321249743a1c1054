"""Arguments and options that several commands share, and files of environment variables.

Contract: a command with --env-file reads `.env` of the working directory, then the given files. The
environment of the process takes precedence. The options of `serve` use all of these, those of `healthcheck`
the environment: both run in containers. The other commands take options from the command line only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: Read from the working directory by default.
DOTENV: Final = ".env"


def setting(flag: str, *names: str, **more: Any) -> Callable[[F], F]:
    """A `click.option` of `serve` or `healthcheck`, with an environment variable named after its flag:
    DRAGOMAN_MAX_IN_FLIGHT for `--max-in-flight`."""
    variable = "DRAGOMAN_" + flag.strip("-").replace("-", "_").upper()
    return click.option(flag, *names, envvar=variable, show_envvar=True, **more)


def paths(variable: str | None = None) -> Callable[[F], F]:
    """PATH…: files, directories, globs or names of shipped mappings.

    Args:
        variable: the environment variable with the paths, if there is one.
    """
    return click.argument("paths", metavar="PATH...", nargs=-1, required=True, envvar=variable)


_ENV_FILE_HELP: Final = (
    "Read environment variables from FILE (NAME=value lines), in addition to .env in the working directory. "
    "{}The environment takes precedence. Can be repeated; later files take precedence over earlier ones."
)


def env_file(command: F) -> F:
    """--env-file: variables for mappings."""
    return click.option(
        "--env-file",
        "env_files",
        type=click.Path(exists=True, dir_okay=False),
        multiple=True,
        help=_ENV_FILE_HELP.format(""),
    )(command)


def env_file_with_options(command: F) -> F:
    """--env-file of `serve`: variables for mappings and for the command's own options."""
    return setting(
        "--env-file",
        "env_files",
        type=click.Path(exists=True, dir_okay=False),
        multiple=True,
        is_eager=True,
        callback=_read_options,
        help=_ENV_FILE_HELP.format("HOST, PORT and LOG_LEVEL in a file set options of the command. "),
    )(command)


def environment_files(env_files: tuple[str, ...]) -> tuple[str, ...]:
    """The files of environment variables, in ascending precedence."""
    return (DOTENV, *env_files) if os.path.isfile(DOTENV) else env_files


def environment(env_files: tuple[str, ...]) -> Mapping[str, str]:
    """The environment, merged with the variables of files."""
    return {**_of_files(env_files), **os.environ}


def _of_files(env_files: tuple[str, ...]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for file in environment_files(env_files):
        merged |= {name: value for name, value in _read(file).items() if value is not None}
    return merged


def _read(file: str) -> Mapping[str, str | None]:
    from dotenv import dotenv_values

    try:
        return dotenv_values(file)
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"cannot read '{file}' as UTF-8") from None


def _read_options(context: click.Context, option: click.Parameter, files: tuple[str, ...]) -> tuple[str, ...]:
    """Set defaults of options from the variables in files."""
    values = {**_prefixed(_of_files(files)), **environment(files)}
    defaults: dict[str, Any] = {}
    for param in context.command.params:
        name = param.envvar if isinstance(param.envvar, str) else ""
        if param is not option and param.name and values.get(name):
            is_list = param.nargs != 1 or param.multiple
            defaults[param.name] = param.type.split_envvar_value(values[name]) if is_list else values[name]
    context.default_map = {**(context.default_map or {}), **defaults}
    return files


def _prefixed(values: Mapping[str, str]) -> dict[str, str]:
    """HOST, PORT and LOG_LEVEL of a file, prefixed with DRAGOMAN_.

    The files of other servers use these names. In the environment of a process they may belong to other
    programs, so they are ignored there.
    """
    found = {f"DRAGOMAN_{name}": values[name] for name in ("HOST", "PORT", "LOG_LEVEL") if values.get(name)}
    if "DRAGOMAN_LOG_LEVEL" in found:
        found["DRAGOMAN_LOG_LEVEL"] = found["DRAGOMAN_LOG_LEVEL"].lower()
    return found


FORMATS = ("text", "json", "github")


def output_format(command: F) -> F:
    """--format: the output format of findings."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(FORMATS),
        default="text",
        show_default=True,
        help="Format of findings: text, JSON, or annotations for GitHub Actions.",
    )(command)
