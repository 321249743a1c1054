"""Each function, codec, directive, command and shipped mapping has all its parts: code, documentation, cases.

The names are those of the engine's own tables. A check returns a line for each missing part, `NAME: what to
add`, and is itself tested with a new entry in the table that has none of its parts. The cases are run where
they are defined: examples of functions in `language/functions/test_examples.py`, streams and encoders in
`codecs/`, templates in `language/templates/`, commands in `cli/`.

Authentication schemes have the same checks in `http/test_auth.py`.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.main import COMMANDS
from engine import FUNCTIONS, run_suites, schema_text, shipped_mappings
from engine.codecs import FRAMINGS, Framing
from engine.codecs.ndjson import NdjsonDecoder, NdjsonEncoder
from engine.language.expressions.calls import _LAZY
from engine.language.functions import Function
from engine.language.functions.registry import function
from engine.language.templates.contents import _WRITERS
from engine.language.templates.directives import DIRECTIVES, Directive
from tests.support.commands import command

ROOT = Path(__file__).parent.parent
SUITES = ROOT / "tests" / "suites"

#: What is missing of the entries of a table.
Check = Callable[[Mapping[str, Any]], list[str]]


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def section(name: str, heading: str) -> str:
    """The text below a heading of a page, up to the next heading of any level."""
    _, _, below = page(name).partition(f"\n{heading}\n")
    return re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]


def table(name: str, first_line: str) -> list[str]:
    """The rows of the table of a page that begins with this line."""
    _, _, below = page(name).partition(f"\n{first_line}\n")
    return below.partition("\n\n")[0].splitlines()[1:]


def missing(names: Iterable[str], has: Callable[[str], Any], what: str) -> list[str]:
    """A line for each name that does not have its part; `what` may contain `{name}`."""
    return [f"{name}: {what.format(name=name)}" for name in names if not has(name)]


@cache
def suites(folder: str) -> list[dict[str, Any]]:
    return [
        yaml.load(file.read_text("utf-8"), yaml.CSafeLoader)
        for file in sorted((SUITES / folder).glob("*.yaml"))
    ]


# --- Functions -------------------------------------------------------------------------------------------


def function_documentation(functions: Mapping[str, Function]) -> list[str]:
    return missing(
        functions,
        lambda name: re.fullmatch(r".+\.", functions[name].summary),
        "begin its docstring with a sentence that fits in one line",
    )


def function_example(functions: Mapping[str, Function]) -> list[str]:
    return missing(
        functions,
        lambda name: [e for e in functions[name].examples if re.search(rf"\b{name}\(", e.expression)],
        "add `Examples:` that call it to its docstring",
    )


def function_code(functions: Mapping[str, Function]) -> list[str]:
    """A lazy function is written in place; another one is called."""
    file = "engine/language/expressions/calls.py"
    return [
        *missing(
            functions,
            lambda name: functions[name].lazy == (name in _LAZY),
            f"add its code to `_LAZY` in {file}, or remove `lazy=True`",
        ),
        *missing(_LAZY, functions.__contains__, f"define the function, or remove it from `_LAZY` in {file}"),
    ]


def function_reference(functions: Mapping[str, Function]) -> list[str]:
    return missing(
        functions,
        lambda name: f"`{functions[name].signature}`" in section("docs/reference.md", f"#### {name}"),
        "add it to docs/reference.md with `make docs`",
    )


# --- Codecs ----------------------------------------------------------------------------------------------


def codec_module(framings: Mapping[str, Framing]) -> list[str]:
    def has(name: str) -> bool:
        created = (framings[name].decoder(), framings[name].encoder())
        return all(type(part).__module__ == f"engine.codecs.{name}" for part in created)

    return missing(framings, has, "define its decoder and encoder in engine/codecs/{name}.py")


def codec_schema(framings: Mapping[str, Framing]) -> list[str]:
    """The name of a framing is a text, or the key of a mapping with its options."""
    definitions = json.loads(schema_text("mapping"))["definitions"]
    found = (definitions["from"], definitions["to"])

    def has(name: str) -> bool:
        texts = [part[key] for part in found for key in ("pattern", "x-expects", "description")]
        is_listed = all(name in part["properties"] and re.match(part["pattern"], name) for part in found)
        return is_listed and all(re.search(rf"\b{name}\b", text) for text in texts)

    unknown = {name for part in found for name in part["properties"]} - framings.keys()
    what = "name it in `from` and in `to` in schema/mapping.schema.json: properties, pattern, texts"
    return [
        *missing(framings, has, what),
        *missing(unknown, framings.__contains__, "add its row to `FRAMINGS` in engine/codecs/__init__.py"),
    ]


def codec_language(framings: Mapping[str, Framing]) -> list[str]:
    rows = [row for row in page("docs/language.md").splitlines() if re.match(r"\| `(from|to)` \| `", row)]
    assert len(rows) == 2
    return missing(
        framings,
        lambda name: all(f"`{name}`" in row for row in rows),
        "name it in the rows `from` and `to` of the table of streams in docs/language.md",
    )


def codec_reference(framings: Mapping[str, Framing]) -> list[str]:
    written = section("docs/reference.md", "### mapping: to")
    read = section("docs/reference.md", "### mapping: from")
    return missing(
        framings,
        lambda name: f"\n| `{name}` |" in written and f"\n| `{name}` |" in read,
        "add it to docs/reference.md with `make docs`",
    )


def codec_cases(framings: Mapping[str, Framing]) -> list[str]:
    """Cases that decode events, that exceed a limit, and that do not end."""

    def has(name: str) -> bool:
        own = [suite for suite in suites("streams") if suite["framing"] == name]
        cases = [case for suite in own for case in suite["cases"]]
        is_decoded = any(case["expect"] and "bound" not in case for case in cases)
        is_bounded = any("bound" in case and case.get("fails") for case in cases)
        return is_decoded and is_bounded and any(suite.get("endless") for suite in own)

    return missing(
        framings,
        has,
        "add files of cases to tests/suites/streams: events, an event beyond its `bound`, `endless` events",
    )


def codec_encoder_cases(framings: Mapping[str, Framing]) -> list[str]:
    found = {suite["framing"] for suite in suites("encoders") if suite["cases"]}
    return missing(framings, found.__contains__, "add cases to tests/suites/encoders/{name}.yaml")


STREAMED = """
dragoman: 1
upstreams: { up: { url: "http://up.example" } }
routes:
  GET /stream:
    call: GET up /
    respond:
      stream_when: true
      pipeline: [{ from: FRAMING }, { to: FRAMING, rules: [{ emit: { seen: "${ n }" } }] }]
  GET /merged:
    call: GET up /
    respond: { pipeline: [{ from: FRAMING, merge: { all: append }, rules: [{ emit: { all: ["${ n }"] } }] }] }
"""


@pytest.mark.parametrize("name", FRAMINGS)
def test_a_codec_translates_streams(name: str, tmp_path: Path) -> None:
    """Streams whose media type does not name the framing, so that `from` does."""
    framing = FRAMINGS[name]
    stub = {
        "headers": {"content-type": "text/plain"},
        "events": {name: [{"name": "e", "data": {"n": 1}}, {"name": "e", "data": {"n": 2}}]},
    }
    cases = [
        {
            "name": "stream",
            "request": "GET /stream",
            "upstream": [{"response": stub}],
            "expect": {
                "headers": {"content-type": framing.media_type},
                "events": [{"seen": 1}, {"seen": 2}],
            },
        },
        {
            "name": "merged",
            "request": "GET /merged",
            "upstream": [{"response": stub}],
            "expect": {"body": {"all": [1, 2]}},
        },
    ]
    (tmp_path / "m.yaml").write_text(STREAMED.replace("FRAMING", name))
    file = tmp_path / "m.test.yaml"
    file.write_text(json.dumps({"dragoman": 1, "cases": cases}))
    (suite,) = run_suites([file]).suites
    assert [str(finding) for finding in suite.findings] == []
    assert [(case.name, [str(wrong) for wrong in case.mismatches]) for case in suite.cases] == [
        ("stream", []),
        ("merged", []),
    ]


# --- Directives ------------------------------------------------------------------------------------------


def uses(template: Any, name: str) -> bool:
    """Whether a template uses a directive at any depth."""
    if isinstance(template, dict):
        return name in template or any(uses(item, name) for item in template.values())
    return isinstance(template, list) and any(uses(item, name) for item in template)


def template_cases(name: str) -> list[dict[str, Any]]:
    found = [case for suite in suites("templates") for case in suite["cases"]]
    return [case for case in found if uses([case.get("template"), case.get("templates")], name)]


def directive_code(directives: Mapping[str, Directive]) -> list[str]:
    """Content that belongs to no other directive has code of its own."""

    def has(name: str) -> bool:
        directive = directives[name]
        return (directive.is_content and directive.needs is None) == (name in _WRITERS)

    folder = "engine/language/templates"
    return [
        *missing(directives, has, f"add its code to `_WRITERS` in {folder}/contents.py"),
        *missing(_WRITERS, directives.__contains__, f"add its row to `DIRECTIVES` in {folder}/directives.py"),
    ]


def directive_language(directives: Mapping[str, Directive]) -> list[str]:
    rows = "\n".join(table("docs/language.md", "| directive | meaning |"))
    return missing(
        directives,
        lambda name: re.search(rf"`{re.escape(name)}\b", rows),
        "add it to the table of directives in docs/language.md",
    )


def directive_case(directives: Mapping[str, Directive]) -> list[str]:
    return missing(
        directives,
        lambda name: [case for case in template_cases(name) if "expect" in case],
        "add a case that uses it and has `expect` to a file of tests/suites/templates",
    )


def directive_misuse(directives: Mapping[str, Directive]) -> list[str]:
    return missing(
        directives,
        lambda name: [case for case in template_cases(name) if {"findings", "fails"} & case.keys()],
        "add a case of a mistake (`findings` or `fails`) to a file of tests/suites/templates",
    )


def directive_in_a_mapping(directives: Mapping[str, Directive]) -> list[str]:
    """The mapping that tests of changed and odd values start from uses everything."""
    everything = yaml.load((SUITES / "good" / "everything.yaml").read_text("utf-8"), yaml.CSafeLoader)
    return missing(
        directives, lambda name: uses(everything, name), "use it in tests/suites/good/everything.yaml"
    )


# --- Commands --------------------------------------------------------------------------------------------


def command_module(commands: Mapping[str, None]) -> list[str]:
    def has(name: str) -> bool:
        return importlib.util.find_spec(f"cli.{name}") is not None and command(name).name == name

    files = (ROOT / "cli").glob("*.py")
    defined = [file.stem for file in files if "\n@click.command(" in file.read_text("utf-8")]
    return [
        *missing(commands, has, "define `command` in cli/{name}.py"),
        *missing(defined, commands.__contains__, "add its name to `COMMANDS` in cli/main.py"),
    ]


def command_help(commands: Mapping[str, None]) -> list[str]:
    def has(name: str) -> bool:
        if not importlib.util.find_spec(f"cli.{name}"):
            return False
        found = command(name)
        options = [option for option in found.params if isinstance(option, click.Option)]
        return bool(found.short_help and found.help) and all(option.help for option in options)

    what = "give the command in cli/{name}.py a docstring and `short_help`, and each option `help`"
    return missing(commands, has, what)


def command_reference(commands: Mapping[str, None]) -> list[str]:
    return missing(
        commands,
        lambda name: section("docs/reference.md", f"### dragoman {name}").strip(),
        "add it to docs/reference.md with `make docs`",
    )


def command_readme(commands: Mapping[str, None]) -> list[str]:
    rows = table("README.md", "| command | description |")
    return missing(
        commands,
        lambda name: [row for row in rows if re.match(rf"\| `dragoman {name}\b", row)],
        "add it to the table of commands in README.md",
    )


def command_tests(commands: Mapping[str, None]) -> list[str]:
    """The module of a command's tests passes its name to the command line."""

    def has(name: str) -> bool:
        file = ROOT / "tests" / "cli" / f"test_{name}.py"
        return file.exists() and any(
            is_run(name, node) for node in ast.walk(ast.parse(file.read_text("utf-8")))
        )

    return missing(commands, has, "add tests that run it to tests/cli/test_{name}.py")


def is_run(name: str, node: ast.AST) -> bool:
    """Whether a call or a list has the name of a command as an argument."""
    arguments = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.List) else []
    return any(isinstance(argument, ast.Constant) and argument.value == name for argument in arguments)


# --- Shipped mappings ------------------------------------------------------------------------------------


def mapping_tests(mappings: Mapping[str, Path]) -> list[str]:
    """`make test` runs them, and fails if they do not cover the mapping."""
    return missing(
        mappings,
        lambda name: (ROOT / "mappings" / f"{name}.test.yaml").exists(),
        "add cases to mappings/{name}.test.yaml",
    )


def mapping_readme(mappings: Mapping[str, Path]) -> list[str]:
    return missing(
        mappings,
        lambda name: re.search(rf"^\| \[?`{name}`[] ]", page("README.md"), re.MULTILINE),
        "add it to the table of shipped mappings in README.md",
    )


# --- The checks, and tests of them -----------------------------------------------------------------------


def _undocumented() -> Function:
    @function("new_function(text: string) -> string", lazy=True)
    def new_function(text: str) -> str:
        return text.upper()

    return new_function


#: Each extension point: its table, a new entry without any other part, and its checks.
POINTS: dict[str, tuple[Mapping[str, Any], dict[str, Any], list[Check]]] = {
    "function": (
        FUNCTIONS,
        {"new_function": _undocumented()},
        [function_documentation, function_example, function_code, function_reference],
    ),
    "codec": (
        FRAMINGS,
        {"new_codec": Framing("application/x-new", NdjsonDecoder, NdjsonEncoder)},
        [
            *(codec_module, codec_schema, codec_language),
            *(codec_reference, codec_cases, codec_encoder_cases),
        ],
    ),
    "directive": (
        DIRECTIVES,
        {"$new_directive": Directive(is_content=True)},
        [
            *(directive_code, directive_language, directive_case),
            *(directive_misuse, directive_in_a_mapping),
        ],
    ),
    "command": (
        dict.fromkeys(COMMANDS),
        {"new_command": None},
        [command_module, command_help, command_reference, command_readme, command_tests],
    ),
    "mapping": (
        shipped_mappings(),
        {"new-mapping": ROOT / "mappings" / "new-mapping.yaml"},
        [mapping_tests, mapping_readme],
    ),
}
CHECKS = [
    pytest.param(entries, new, check, id=check.__name__)
    for entries, new, checks in POINTS.values()
    for check in checks
]


@pytest.mark.parametrize(("entries", "new", "check"), CHECKS)
def test_every_part_exists(entries: Mapping[str, Any], new: dict[str, Any], check: Check) -> None:
    found = check(entries)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("entries", "new", "check"), CHECKS)
def test_a_missing_part_is_found(entries: Mapping[str, Any], new: dict[str, Any], check: Check) -> None:
    known = check(entries)
    (line,) = [line for line in check({**entries, **new}) if line not in known]
    name, _, what = line.partition(": ")
    assert name in new
    assert re.match(r"[a-z]", what)


def test_every_check_is_used() -> None:
    used = {check.__name__ for _, _, checks in POINTS.values() for check in checks}
    points = "|".join(POINTS)
    assert used == {name for name in globals() if re.match(rf"({points})_", name)}


def test_the_paths_of_contributing_exist() -> None:
    rows = table("CONTRIBUTING.md", "| change | files |")
    paths = {path for row in rows for path in re.findall(r"`([\w./]+/[\w./]+|\w+\.md)`", row)}
    assert len(paths) > 20
    assert [path for path in sorted(paths) if "NAME" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("point", POINTS)
def test_contributing_has_a_row_for_each_extension_point(point: str) -> None:
    what = {"mapping": "new API"}.get(point, point)
    assert [row for row in table("CONTRIBUTING.md", "| change | files |") if row.startswith(f"| a {what}")]
