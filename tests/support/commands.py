"""The commands of `dragoman` by name, and the environment variables that each reads."""

from __future__ import annotations

import click

from cli.main import main


def command(name: str) -> click.Command:
    """Returns a command.

    Raises:
        AssertionError: no command has this name.
    """
    found = main.get_command(click.Context(main), name)
    assert found is not None, f"there is no command '{name}'"
    return found


def variables(name: str) -> set[str]:
    """The environment variables of a command's options and arguments."""
    return {str(parameter.envvar) for parameter in command(name).params if parameter.envvar}
