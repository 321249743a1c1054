"""The `dragoman` command: the group that all commands belong to."""

from __future__ import annotations

import click

from cli import functions, healthcheck, routes, schema, serve, suite, validate
from engine import distribution_version


class _Commands(click.Group):
    """A group that knows `check` as another name of `validate`."""

    _ALIASES = {"check": "validate"}  # noqa: RUF012 - click's groups are not frozen

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return super().get_command(context, self._ALIASES.get(name, name))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Mappings are documented in the README. 'dragoman COMMAND --help' tells of one command.",
)
@click.version_option(distribution_version(), prog_name="dragoman")
def main() -> None:
    """A declarative routing proxy: one YAML file puts one HTTP API's shape before another.

    \b
    dragoman validate mappings/            what is wrong, with file, line and column
    dragoman serve mappings/               serve the mappings of a directory
    dragoman test mappings/                run the *.test.yaml files beside them
    """


for command in (
    validate.command,
    serve.command,
    suite.command,
    routes.command,
    schema.command,
    functions.command,
    healthcheck.command,
):
    main.add_command(command)
