"""The commands of `dragoman` by name, the environment variables that each reads, and a runner."""

from __future__ import annotations

import click
from click.testing import CliRunner, Result

from cli.main import main

#: A small mapping with an upstream, keys, and a route without keys.
SHOP = """
dragoman: 1
upstreams: { shop: { url: "${ $env.SHOP_URL }" } }
env: { SHOP_URL: { default: "http://localhost:9000" }, KEYS: { secret: true } }
auth: { bearer: "${ $env.KEYS }" }
routes:
  GET /items: { summary: All items., call: GET shop /items, respond: { body: "${ items }" } }
  GET /health: { auth: none, respond: { body: ok } }
"""


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Runs the command line in this process."""
    return CliRunner().invoke(main, arguments, env=env)


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
