"""Arguments and options that several commands share, and the files that hold environment variables.

Contract: `.env` of the working directory is read where a command takes --env-file, then the files that are
given; the process's own environment wins. Options read from all of these.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: Read from the working directory without being asked for.
DOTENV: Final = ".env"


def setting(flag: str, *names: str, **more: Any) -> Callable[[F], F]:
    """An option that can be set by a variable too, which is named after its flag: `--max-in-flight` by
    DRAGOMAN_MAX_IN_FLIGHT. All else is as for `click.option`."""
    variable = "DRAGOMAN_" + flag.strip("-").replace("-", "_").upper()
    return click.option(flag, *names, envvar=variable, show_envvar=True, **more)


def paths(required: bool = True) -> Callable[[F], F]:
    """PATH…: files, directories, globs or names of shipped mappings."""
    return click.argument("paths", metavar="PATH...", nargs=-1, required=required, envvar="DRAGOMAN_MAPPINGS")


def env_file(command: F) -> F:
    """--env-file: variables for mappings and for the command's own options."""
    return setting(
        "--env-file",
        "env_files",
        type=click.Path(exists=True, dir_okay=False),
        multiple=True,
        is_eager=True,
        callback=_read_options,
        help="Read environment variables from FILE (NAME=value lines), beside those of .env in the working "
        "directory; HOST, PORT and LOG_LEVEL in one are those of the command. Those of the environment win. "
        "Can be given several times; later files win over earlier ones.",
    )(command)


def environment_files(env_files: tuple[str, ...]) -> tuple[str, ...]:
    """The files that environment variables are read from, from the weakest to the strongest."""
    return (DOTENV, *env_files) if os.path.isfile(DOTENV) else env_files


def environment(env_files: tuple[str, ...]) -> Mapping[str, str]:
    """The environment, with what files add to it."""
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
        raise click.UsageError(f"'{file}' cannot be read, or is not UTF-8") from None


def _read_options(context: click.Context, option: click.Parameter, files: tuple[str, ...]) -> tuple[str, ...]:
    """Let the files give defaults to the options that have an environment variable."""
    values = {**_plainly_named(_of_files(files)), **environment(files)}
    defaults: dict[str, Any] = {}
    for param in context.command.params:
        name = param.envvar if isinstance(param.envvar, str) else ""
        if param is not option and param.name and values.get(name):
            is_list = param.nargs != 1 or param.multiple
            defaults[param.name] = param.type.split_envvar_value(values[name]) if is_list else values[name]
    context.default_map = {**(context.default_map or {}), **defaults}
    return files


def _plainly_named(values: Mapping[str, str]) -> dict[str, str]:
    """What a file calls HOST, PORT and LOG_LEVEL, as other servers' files do. In the environment of a process
    such names may be anybody's, so there they mean nothing."""
    found = {f"DRAGOMAN_{name}": values[name] for name in ("HOST", "PORT", "LOG_LEVEL") if values.get(name)}
    if "DRAGOMAN_LOG_LEVEL" in found:
        found["DRAGOMAN_LOG_LEVEL"] = found["DRAGOMAN_LOG_LEVEL"].lower()
    return found


FORMATS = ("text", "json", "github")


def output_format(command: F) -> F:
    """--format: how findings are printed."""
    return setting(
        "--format",
        "output_format",
        type=click.Choice(FORMATS),
        default="text",
        show_default=True,
        help="How findings are printed: for people, as JSON, or as annotations for GitHub Actions.",
    )(command)
