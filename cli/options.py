"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from dotenv import dotenv_values

F = TypeVar("F", bound=Callable[..., Any])


def paths(required: bool = True) -> Callable[[F], F]:
    """PATH…: files, directories, globs or names of shipped mappings."""
    return click.argument("paths", metavar="PATH...", nargs=-1, required=required, envvar="DRAGOMAN_MAPPINGS")


def env_file(command: F) -> F:
    """--env-file: variables for mappings; those of the environment win."""
    return click.option(
        "--env-file",
        "env_files",
        type=click.Path(exists=True, dir_okay=False),
        multiple=True,
        envvar="DRAGOMAN_ENV_FILE",
        show_envvar=True,
        help="Read environment variables from FILE (NAME=value lines). Those of the environment win. "
        "Can be given several times; later files win over earlier ones.",
    )(command)


def environment(env_files: tuple[str, ...]) -> Mapping[str, str]:
    """The environment, with what files add to it."""
    merged: dict[str, str] = {}
    for file in env_files:
        merged |= {name: value for name, value in dotenv_values(file).items() if value is not None}
    return {**merged, **os.environ}


FORMATS = ("text", "json", "github")


def output_format(command: F) -> F:
    """--format: how findings are printed."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(FORMATS),
        default="text",
        show_default=True,
        envvar="DRAGOMAN_FORMAT",
        show_envvar=True,
        help="How findings are printed: for people, as JSON, or as annotations for GitHub Actions.",
    )(command)
