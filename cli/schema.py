"""`dragoman schema`: the JSON Schemas that editors use."""

from __future__ import annotations

import click

from engine import schema_text


@click.command("schema", short_help="Print the JSON Schema of mapping files.")
@click.argument("name", type=click.Choice(("mapping", "suite")), default="mapping")
def command(name: str) -> None:
    """Print the JSON Schema (draft-07) of mapping files, or of the *.test.yaml files beside them.

    \b
    An editor with a YAML language server uses it by a first line such as
        # yaml-language-server: $schema=./mapping.schema.json
    """
    click.echo(schema_text(name).rstrip("\n"))
