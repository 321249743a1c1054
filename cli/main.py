"""The `dragoman` command: the group that all commands belong to.

The module of a command is imported when the command runs, so that `serve` starts fast.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

from cli import output
from engine import distribution_version

#: Each command and its module.
COMMANDS: Final = {
    "validate": "cli.validate",
    "serve": "cli.serve",
    "test": "cli.test",
    "routes": "cli.routes",
    "explain": "cli.explain",
    "schema": "cli.schema",
    "functions": "cli.functions",
    "healthcheck": "cli.healthcheck",
}
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
        module = COMMANDS.get(_ALIASES.get(name, name))
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'dragoman COMMAND --help' describes a command, and 'dragoman functions' lists functions.",
)
@click.version_option(distribution_version(), prog_name="dragoman")
def main() -> None:
    """A declarative routing proxy: one YAML file puts one HTTP API in front of another.

    \b
    dragoman validate mappings/            report errors with file, line and column
    dragoman serve mappings/               serve the mappings of a directory
    dragoman test mappings/                run their *.test.yaml files
    """
