"""docs/reference.md is the output of `make docs`, and no key, function or option is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from cli.main import COMMANDS
from docs.generate import PAGE, examples_of, reference
from engine import FUNCTIONS, Findings, schema_text
from engine.language.codegen import Atom
from engine.language.expressions import Scope
from engine.language.templates import TemplateCompiler
from engine.locations import Document, SourceFile
from tests.support.commands import command


def sections(text: str) -> dict[str, list[str]]:
    """The lines of a page under each of its headings."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in text.splitlines():
        heading = line if re.match(r"#+ ", line) else heading
        found.setdefault(heading, []).append(line)
    return found


def differences(old: str, new: str) -> list[str]:
    """The missing, superfluous and different parts of a page: headings, and first cells of table rows."""
    before, after = sections(old), sections(new)
    found = [f"{heading}: missing" for heading in after if heading not in before]
    found += [f"{heading}: no longer there" for heading in before if heading not in after]
    for heading, lines in after.items():
        for line in lines:
            if heading in before and line not in before[heading]:
                found.append(f"{heading}: {line.split(' | ')[0]}")
    return found


def test_the_page_is_up_to_date() -> None:
    committed, now = PAGE.read_text("utf-8"), reference()
    found = differences(committed, now)
    assert committed == now, "\n".join(["docs/reference.md is stale; run `make docs`:", *found])


def test_stale_parts_are_named() -> None:
    old = reference().replace("#### concat\n", "#### concatenate\n").replace("| `retry` |", "| `retries` |")
    found = differences(old, reference())
    assert found == [
        "#### concat: missing",
        "#### concatenate: no longer there",
        "### mapping: upstream: | `retry`",
    ]


@pytest.mark.parametrize("name", ["mapping", "suite"])
def test_every_key_of_a_schema_is_documented(name: str) -> None:
    page = sections(reference())
    schema = json.loads(schema_text(name))
    title = {"mapping": "## Mapping files", "suite": "## Test suites"}[name]
    parts = {title: schema} | {f"### {name}: {key}": value for key, value in schema["definitions"].items()}
    for heading, part in parts.items():
        for path in keys(part):
            rows = [line for line in page[heading] if line.startswith(f"| `{path}`")]
            assert len(rows) == 1, f"{heading} has no row for {path}"
            assert rows[0].split(" | ")[2].strip(" |"), f"{heading} does not describe {path}"


def keys(part: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, own in part.get("properties", {}).items():
        yield before + key
        yield from keys(own, f"{before}{key}.")


def test_every_key_of_a_mapping_is_in_the_description_of_the_language() -> None:
    text = (PAGE.parent / "language.md").read_text("utf-8")
    schema = json.loads(schema_text("mapping"))
    found = {key for part in (schema, *schema["definitions"].values()) for key in part.get("properties", {})}
    assert [
        key for key in sorted(found) if not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text)
    ] == []


def test_every_function_is_documented_with_its_examples() -> None:
    page = sections(reference())
    for function in FUNCTIONS.values():
        lines = page[f"#### {function.name}"]
        assert f"`{function.signature}`" in lines
        for example in function.examples:
            assert any(line.startswith(f"{example.expression} => ") for line in lines)


def test_every_option_is_documented() -> None:
    page = sections(reference())
    for name in COMMANDS:
        text = "\n".join(page[f"### dragoman {name}"])
        for parameter in command(name).params:
            for option in parameter.opts if parameter.opts[0].startswith("-") else ():
                assert f"`{option}" in text
            assert not parameter.envvar or f"`{parameter.envvar}`" in text


def test_links_inside_the_page_have_a_target() -> None:
    text = reference()
    anchors = {
        re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-") for heading in sections(text)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_examples_of_expressions_are_valid() -> None:
    """Except for variables, which differ from key to key."""
    findings = Findings()
    templates = TemplateCompiler(findings)
    texts = [text for name in ("mapping", "suite") for text in expressions(json.loads(schema_text(name)))]
    for text in texts:
        document = Document(SourceFile(text, text), text)
        templates.compile(document.root, Scope(Atom("p"), {}), "example")
    assert len(texts) > 50
    found = [(d.span.file.name, d.code) for d in findings if d.code != "unknown-variable"]
    assert found == []


def expressions(value: Any, is_example: bool = False) -> Iterator[str]:
    """The texts with `${ … }` among the examples of a schema."""
    if isinstance(value, dict):
        for example in () if is_example else examples_of(value):
            yield from expressions(example, True)
        for key, item in value.items():
            if key not in ("examples", "defaultSnippets"):
                yield from expressions(item, is_example)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item, is_example)
    elif is_example and isinstance(value, str) and "${" in value:
        yield value
