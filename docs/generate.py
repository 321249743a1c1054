"""Writes docs/reference.md: the keys of mappings and suites, the functions, the command line.

Contract: the only sources are what the engine itself reads: schema/*.json, the function library, the
options of the commands. To change a text, change it there. `make docs` runs this module, and a test checks
that the page is up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from cli.main import main as commands
from engine import FUNCTIONS, Example, schema_text
from engine.language.functions import GROUPS
from engine.language.functions.registry import Function

PAGE: Final = Path(__file__).parent / "reference.md"

_OPENING: Final = """\
# Reference

Every key, function and option. `make docs` writes this page from the schemas, the function library and the
commands; [the language](language.md) explains how they work together.

[Mapping files](#mapping-files) · [Test suites](#test-suites) · [Functions](#functions) ·
[The command line](#the-command-line)
"""
_FILES: Final = {"mapping": "Mapping files", "suite": "Test suites"}
_COMMAND_LINE: Final = """\
Precedence of values: the command line, the environment variable, the default. Only `serve` and `healthcheck`
read environment variables of options.

| exit status | meaning |
| --- | --- |
| 0 | success |
| 1 | errors in files, failures, an unknown file, mapping, route, case or function, or an address in use |
| 2 | usage error: an unknown command or option, an invalid value of an option, or a missing argument |
"""
_MIB: Final = 1 << 20
#: Words for the types of JSON, the same as in findings.
_TYPES: Final = {"object": "mapping", "array": "list", "integer": "whole number", "string": "text"}


def reference() -> str:
    """The whole page."""
    parts = [_OPENING]
    for name, title in _FILES.items():
        parts += _schema(json.loads(schema_text(name)), name, title)
    parts += _functions()
    parts += _commands()
    return "\n".join(parts)


# Keys


def _schema(schema: Mapping[str, Any], name: str, title: str) -> Iterator[str]:
    yield f"## {title}\n\n{schema['description']}\n"
    yield _keys(schema, schema, name)
    for definition, found in schema["definitions"].items():
        if "properties" in found:
            description = found.get("description") or found["$comment"]
            yield f"### {name}: {definition}\n\n{description} {_examples(found)}".rstrip() + "\n"
            yield _keys(found, schema, name)


def examples_of(part: Mapping[str, Any]) -> list[Any]:
    """The examples of a part of a schema: scalars, and the objects that editors insert as snippets."""
    return [*part.get("examples", ()), *(_inserted(each["body"]) for each in part.get("defaultSnippets", ()))]


def _inserted(body: Any) -> Any:
    r"""The value that the body of a snippet inserts: its texts are YAML, with escapes of `$`, `}` and `\`."""
    if isinstance(body, dict):
        return {key: _inserted(value) for key, value in body.items()}
    if isinstance(body, list):
        return [_inserted(value) for value in body]
    text = re.sub(r"\\([\\$}])", r"\1", body) if isinstance(body, str) else body
    return json.loads(text) if text in ("null", "[]", "{}") or str(text).startswith('"') else text


def _examples(found: Mapping[str, Any]) -> str:
    shown = [f"`{_shown(example)}`" for example in examples_of(found)]
    return f"Such as {', '.join(shown)}." if shown else ""


def _keys(found: Mapping[str, Any], schema: Mapping[str, Any], name: str) -> str:
    lines = ["| key | value | description |", "| --- | --- | --- |"]
    required = found.get("required", ())
    for key, row in _rows(found, schema, name):
        mark = " (required)" if key in required else ""
        lines.append(f"| `{key}`{mark} | {row}")
    return "\n".join(lines) + "\n"


def _rows(
    found: Mapping[str, Any], schema: Mapping[str, Any], name: str, before: str = ""
) -> Iterator[tuple[str, str]]:
    """The keys of a definition and of nested mappings, such as `to.sse.done`."""
    for key, own in found["properties"].items():
        target = _target(own)
        described = {**(schema["definitions"][target] if target else {}), **own}
        description = described.get("description", "")
        is_shown_there = target and "properties" in described and "x-any-value" not in described
        examples = "" if is_shown_there else _examples(own)
        value = _value(described, target, schema, name)
        yield (
            before + key,
            f"{value} | {_cell(' '.join(filter(None, (description, examples, _default(own)))))} |",
        )
        if target is None and "properties" in own:
            yield from _rows(own, schema, name, f"{before}{key}.")


def _default(own: Mapping[str, Any]) -> str:
    """The default of a key, a number of bytes with its size in MiB."""
    if "default" not in own:
        return ""
    value = own["default"]
    shown = ", ".join(map(str, value)) if isinstance(value, list) else _shown(value)
    is_size = isinstance(value, int) and value and value % _MIB == 0
    return f"Default: `{shown}`" + (f" ({value // _MIB} MiB)." if is_size else ".")


def _target(own: Mapping[str, Any]) -> str | None:
    """The definition that a key refers to."""
    for part in (own, *own.get("allOf", ())):
        if "$ref" in part:
            return str(part["$ref"]).rpartition("/")[2]
    return None


def _value(described: Mapping[str, Any], target: str | None, schema: Mapping[str, Any], name: str) -> str:
    """The type of a value, in words."""
    items = _linked(described.get("items"), schema, name) or _linked(described.get("then"), schema, name)
    each = _linked(described.get("additionalProperties"), schema, name)
    if target and "properties" in schema["definitions"][target]:
        return f"[{target}](#{name}-{target})"
    if "const" in described or "enum" in described:
        return " or ".join(f"`{_shown(value)}`" for value in described.get("enum", [described.get("const")]))
    if target in ("duration", "name", "identifier"):
        return str(target)
    types = described.get("type", "any")
    words = " or ".join(_TYPES.get(t, t) for t in ([types] if isinstance(types, str) else types))
    return words + (f" of {items}" if items else f" of {each} by name" if each else "")


def _linked(part: Any, schema: Mapping[str, Any], name: str) -> str | None:
    """A link to the definition of the parts of a value."""
    if not isinstance(part, Mapping):
        return None
    target = _target(part) or _target(part.get("items", {}))
    if target is None or "properties" not in schema["definitions"][target]:
        return None
    return f"[{target}](#{name}-{target})"


def _shown(value: Any) -> str:
    """A value in one line, as JSON; a text unchanged."""
    return _cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _cell(text: str) -> str:
    """A text, escaped for the cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


# Functions


def _functions() -> Iterator[str]:
    yield "## Functions\n"
    yield "The functions of expressions. `dragoman functions NAME` prints the same text.\n"
    for group, title in GROUPS.items():
        yield f"### {title}\n"
        for function in FUNCTIONS.values():
            if function.group == group:
                yield from _function(function)


def _function(function: Function) -> Iterator[str]:
    yield f"#### {function.name}\n\n`{function.signature}`\n\n{function.summary}\n"
    if function.description:
        yield f"{function.description}\n"
    yield "```text\n" + "\n".join(map(_outcome, function.examples)) + "\n```\n"


def _outcome(example: Example) -> str:
    if example.failure is None:
        return f"{example.expression} => {json.dumps(example.value, ensure_ascii=False)}"
    return f"{example.expression} => " + (f"failure: {example.failure}" if example.failure else "an error")


# Commands


def _commands() -> Iterator[str]:
    yield "## The command line\n"
    yield f"{_COMMAND_LINE}\n"
    context = click.Context(commands)
    for name in commands.list_commands(context):
        command = commands.get_command(context, name)
        assert command is not None
        yield f"### dragoman {name}\n\n{_help(command)}\n"
        yield _options(command, click.Context(command, context, name))


def _help(command: click.Command) -> str:
    """The help text of a command, without its blocks of examples (which begin with a backspace)."""
    paragraphs = [part.strip() for part in (command.help or "").split("\n\n")]
    texts = [part.lstrip("\b\n ") for part in paragraphs if part.count("\n") < 2 or "\b" not in part]
    return "\n\n".join(" ".join(part.split()) for part in texts)


def _options(command: click.Command, context: click.Context) -> str:
    lines = ["| argument, option | environment | default | description |", "| --- | --- | --- | --- |"]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            lines.append(_option(parameter, context))
        else:
            lines.append(f"| `{_cell(parameter.make_metavar(context))}` | {_variable(parameter)} | | |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _option(option: click.Option, context: click.Context) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    default = option.get_default(context, call=False)
    shown = f"`{default}`" if isinstance(default, int | float | str) and not option.is_flag else ""
    names = ", ".join(f"`{_cell(name + value)}`" for name in option.opts)
    return f"| {names} | {_variable(option)} | {shown} | {_cell(option.help or '')} |"


def _variable(parameter: click.Parameter) -> str:
    return f"`{parameter.envvar}`" if parameter.envvar else ""


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
    sys.stdout.write(f"{PAGE.name} is written\n")
