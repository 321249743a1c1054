"""All commands: help, environment variables, usage errors and the version."""

from __future__ import annotations

from pathlib import Path

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
def test_only_options_of_servers_in_containers_have_environment_variables(name: str) -> None:
    has_variables = name in ("serve", "healthcheck")
    for parameter in command_of(name).params:
        if isinstance(parameter, click.Option):
            is_named = str(parameter.envvar).startswith("DRAGOMAN_")
            assert is_named is has_variables, f"{name} --{parameter.name}"
        elif name != "serve":
            assert parameter.envvar is None, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"serve", "healthcheck", "demo"}))
def test_other_commands_ignore_variables_of_options(name: str, shop: Path, tmp_path: Path) -> None:
    """A variable that is set for a server must not change what a check means."""
    names = [parameter.name or "" for other in COMMANDS for parameter in command_of(other).params]
    stray = {f"DRAGOMAN_{name.upper()}": "1" for name in (*names, "header", "query", "response")}
    stray |= {"DRAGOMAN_MAPPINGS": str(tmp_path / "none"), "DRAGOMAN_FORMAT": "json", "DRAGOMAN_CASE": "none"}
    arguments = () if name in ("functions", "schema") else (str(shop),)
    quiet = run(name, *arguments)
    changed = run(name, *arguments, env=stray)
    assert (changed.exit_code, changed.output) == (quiet.exit_code, quiet.output)
    if arguments:
        assert run(name, env=stray).exit_code == 2


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
