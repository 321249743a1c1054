"""All commands: help, environment variables, usage errors and the version."""

from __future__ import annotations

import click
import pytest

from cli.main import COMMANDS
from tests.support.commands import command as command_of
from tests.support.commands import run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = command_of(name)
    shown = run(name, "--help")
    assert shown.exit_code == 0
    assert command.help
    assert len(command.help) > 80, "help describes what the command does"
    for parameter in command.params:
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            assert parameter.help, f"--{parameter.name} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_an_environment_variable(name: str) -> None:
    for parameter in command_of(name).params:
        if isinstance(parameter, click.Option):
            assert str(parameter.envvar).startswith("DRAGOMAN_"), f"{name} --{parameter.name}"


def test_a_usage_error_exits_with_2() -> None:
    for arguments in (
        ["validate"],
        ["serve"],
        ["nothing"],
        ["serve", "x", "--port", "70000"],
        ["schema", "x"],
    ):
        assert run(*arguments).exit_code == 2, arguments


def test_version() -> None:
    assert run("--version").output.startswith("dragoman, version ")
