"""The `dragoman` command: the group that all commands belong to.

The module of a command is imported when the command runs, so that `serve` starts fast.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

from cli import output
from engine import distribution_version, suggestion

#: The commands, in the order of the help. Each is `command` in the module of its name.
COMMANDS: Final = (
    "validate",
    "serve",
    "demo",
    "test",
    "routes",
    "explain",
    "schema",
    "functions",
    "healthcheck",
)
_ALIASES: Final = {"check": "validate"}


class _Commands(click.Group):
    """The commands; `check` is an alias of `validate`."""

    def main(self, *args: Any, **more: Any) -> Any:
        """Run a command with guarded output streams."""
        with output.guarded():
            return super().main(*args, **more)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        name = _ALIASES.get(name, name)
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"cli.{name}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name; the error for an unknown one suggests a name."""
        name = args[0]
        if not name.startswith("-") and self.get_command(context, name) is None:
            hint = suggestion(name, (*COMMANDS, *_ALIASES))
            raise click.UsageError(f"unknown command '{name}'" + (f" ({hint})" if hint else ""), context)
        return super().resolve_command(context, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'dragoman COMMAND --help' describes a command, and 'dragoman functions' lists functions.",
)
@click.version_option(distribution_version(), prog_name="dragoman")
def main() -> None:
    """A declarative routing proxy: one YAML file puts one HTTP API in front of another.

    \b
    dragoman demo                          serve the shipped mappings on a mock of a model server
    dragoman validate mappings/            report errors with file, line and column
    dragoman serve mappings/               serve the mappings of a directory
    dragoman test mappings/                run their *.test.yaml files
    """
