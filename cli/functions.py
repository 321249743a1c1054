"""`dragoman functions`: the documentation of the function library."""

from __future__ import annotations

import difflib
import json
import sys

import click

from cli import render
from engine import FUNCTIONS, Example


@click.command("functions", short_help="List the functions of expressions.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
def command(names: tuple[str, ...]) -> None:
    """List the functions of expressions. With NAMEs, show their documentation and examples."""
    sys.exit(run(names))


def run(names: tuple[str, ...]) -> int:
    """Print the functions, and return the exit status."""
    if not names:
        render.table(("FUNCTION", "RESULT"), ((f.signature, f.summary) for f in FUNCTIONS.values()))
        return 0
    unknown = [name for name in names if name not in FUNCTIONS]
    for name in names:
        if name in FUNCTIONS:
            _show(name)
    for name in unknown:
        near = difflib.get_close_matches(name, FUNCTIONS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        render.line(f"unknown function '{name}'{hint}", stderr=True, style="red")
    return 1 if unknown else 0


def _show(name: str) -> None:
    function = FUNCTIONS[name]
    render.line(function.signature, style="bold")
    render.line(f"  {function.summary}")
    for line in function.description.splitlines():
        render.line(f"  {line}" if line else "")
    for example in function.examples:
        render.line(f"  {example.expression} => {_outcome(example)}", style="cyan")
    render.line("")


def _outcome(example: Example) -> str:
    """The result of an example as JSON, or its error."""
    if example.failure is None:
        return json.dumps(example.value, ensure_ascii=False)
    return f"a failure of kind {example.failure}" if example.failure else "an error"
