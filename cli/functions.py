"""`dragoman functions`: the documentation of the function library."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterable

import click

from cli import render
from engine import FUNCTIONS, GROUPS, Example, suggestion


@click.command("functions", short_help="List the functions of expressions.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--search",
    metavar="TEXT",
    default=None,
    help="List only the functions with TEXT in their name, signature, summary or category, in any case.",
)
def command(names: tuple[str, ...], search: str | None) -> None:
    """List the functions of expressions. With NAMEs, show their documentation and examples.

    \b
    dragoman functions                    all functions
    dragoman functions --search base64    those about Base64
    dragoman functions --search time      those of the category 'Time', and others that mention it
    dragoman functions split              one function with its examples

    \b
    Exit status: 0 success, 1 no such function, 2 usage error.
    """
    if names and search is not None:
        raise click.UsageError("--search cannot be combined with NAME")
    sys.exit(run(names) if search is None else run_search(search))


def run(names: tuple[str, ...]) -> int:
    """Print the functions, and return the exit status."""
    if not names:
        _list(FUNCTIONS)
        return 0
    unknown = [name for name in names if name not in FUNCTIONS]
    for name in names:
        if name in FUNCTIONS:
            _show(name)
    for name in unknown:
        hint = suggestion(name, FUNCTIONS) or "list them with 'dragoman functions'"
        render.line(f"unknown function '{name}' ({hint})", stderr=True, style="red")
    return 1 if unknown else 0


def run_search(text: str) -> int:
    """Print the functions that match a text, and return the exit status."""
    found = [name for name in FUNCTIONS if text.casefold() in _searched(name)]
    if found:
        _list(found)
        return 0
    near = _similar(text)
    hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
    render.line(f"no function matches '{text}'{hint}", stderr=True, style="red")
    if not near:
        titles = ", ".join(GROUPS.values())
        render.line(f"search by a word or a category: {titles}", stderr=True)
    return 1


def _list(names: Iterable[str]) -> None:
    rows = ((FUNCTIONS[name].signature, FUNCTIONS[name].summary) for name in names)
    render.table(("FUNCTION", "RESULT"), rows)


def _searched(name: str) -> str:
    """The text of a function that is searched."""
    function = FUNCTIONS[name]
    return f"{function.signature}\n{function.summary}\n{GROUPS[function.group]}".casefold()


def _similar(text: str) -> list[str]:
    """Names, categories and words of summaries that are similar to a text, the most similar first."""
    words = {word.casefold() for name in FUNCTIONS for word in re.findall(r"[\w-]{4,}", _searched(name))}
    return difflib.get_close_matches(text.casefold(), sorted({*FUNCTIONS, *words}), n=3, cutoff=0.7)


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
