"""`dragoman schema`: the JSON Schemas that editors use."""

from __future__ import annotations

import click

from engine import schema_text


@click.command("schema", short_help="Print the JSON Schema of mapping files.")
@click.argument("name", type=click.Choice(("mapping", "suite")), default="mapping")
def command(name: str) -> None:
    """Print the JSON Schema (draft-07) of mapping files, or of *.test.yaml files.

    \b
    Editors with a YAML language server use it if the first line is
        # yaml-language-server: $schema=./mapping.schema.json
    """
    click.echo(schema_text(name).rstrip("\n"))
