"""The loader reads YAML scalars as JSON values and records the location of each character of a value."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.diagnostics import Findings
from engine.language.yaml import MAX_DEPTH, parse
from engine.locations import Document, Path
from tests.support.properties import property_settings
from tests.support.times import PATIENCE, SOON, time_limit


def document(text: str | bytes) -> Document:
    findings = Findings()
    content = text if isinstance(text, bytes) else text.encode()
    read = parse("x.yaml", content, findings)
    assert [f"{d.span}: {d.message}" for d in findings] == []
    assert read is not None
    return read


def data(text: str | bytes) -> Any:
    return document(text).data


def found(text: str | bytes) -> list[tuple[str, int, int]]:
    findings = Findings()
    parse("x.yaml", text if isinstance(text, bytes) else text.encode(), findings)
    return [(d.code, d.span.line, d.span.column) for d in findings]


def test_a_key_in_flow_style_may_end_in_a_question_mark() -> None:
    assert data("{ a?: 1, b?: [], c??: { d?: x } }") == {"a?": 1, "b?": [], "c??": {"d?": "x"}}


def test_without_libyaml_the_import_fails_with_the_reason() -> None:
    code = "import yaml; del yaml.CSafeLoader; import engine"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 1
    assert "ImportError: PyYAML is installed without libyaml" in result.stderr


# --- Values ----------------------------------------------------------------------------------------------

SCALARS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "~": None,
    "": None,
    "0": 0,
    "-0": 0,
    "7": 7,
    "-12": -12,
    "1.5": 1.5,
    "-0.25": -0.25,
    "1e3": 1000.0,
    "1E+2": 100.0,
    "2.5e-1": 0.25,
    "9007199254740993": 9007199254740993,
    "True": "True",
    "TRUE": "TRUE",
    "yes": "yes",
    "no": "no",
    "on": "on",
    "off": "off",
    "y": "y",
    "Null": "Null",
    "0777": "0777",
    "0o17": "0o17",
    "0x1F": "0x1F",
    "0b1": "0b1",
    "1_000": "1_000",
    "12:30": "12:30",
    "12:30:45": "12:30:45",
    "2026-01-01": "2026-01-01",
    "2026-01-01T10:00:00Z": "2026-01-01T10:00:00Z",
    "+1": "+1",
    ".5": ".5",
    "5.": "5.",
    ".inf": ".inf",
    ".nan": ".nan",
    "1e999": "1e999",
    "=": "=",
    "1.2.3": "1.2.3",
    "'true'": "true",
    '"1"': "1",
    "!!str 1": "1",
    "!!str": "",
    "!!int '7'": 7,
    "!!float 1.5": 1.5,
    "!!float 1": 1,
    '!!bool "true"': True,
    "!!null ''": None,
    "!!seq [1]": [1],
    "!!map {a: 1}": {"a": 1},
    "&a 1": 1,
}


@pytest.mark.parametrize("written", SCALARS)
def test_scalars_are_json_values(written: str) -> None:
    value = data(f"a: {written}\n")["a"]
    assert value == SCALARS[written]
    assert type(value) is type(SCALARS[written])


def test_keys_are_text() -> None:
    assert data("1: a\ntrue: b\nnull: c\n~: d\n1.5: e\n") == {
        "1": "a",
        "true": "b",
        "null": "c",
        "~": "d",
        "1.5": "e",
    }


@pytest.mark.parametrize(
    "tag", ["!!python/name:os.system", "!!timestamp", "!!binary", "!!set", "!!omap", "!x", "!<x:y>"]
)
def test_other_tags_are_refused(tag: str) -> None:
    assert found(f"a: {tag} x\n") == [("yaml-tag", 1, 4)]


def test_a_byte_order_mark_is_ignored() -> None:
    read = document(b"\xef\xbb\xbfa: b\n")
    assert read.data == {"a": "b"}
    assert (read.span(("a",)).line, read.span(("a",)).column) == (1, 4)


def test_windows_line_ends_change_nothing() -> None:
    text = 'a: one\n  two\nb: |\n  x\n\n  y\nc: >\n  x\n  y\n\n  z\nd: "p\n  q\\\n  r"\n'
    assert data(text.replace("\n", "\r\n")) == data(text)
    read = document(text.replace("\n", "\r\n"))
    assert [read.span((key,)).line for key in "abcd"] == [1, 3, 7, 12]
    assert at(read, ("d",), "r") == "r"


def test_lines_are_counted_as_in_an_editor() -> None:
    """YAML 1.1 ends lines at U+0085, U+2028 and a lone CR too; editors and `SourceFile` do not."""
    read = document('a: "x\u2028y"\nb: "x\u0085y"\nc: "x\ry"\nd: 1\n')
    assert [read.span((key,)).line for key in "abcd"] == [1, 2, 3, 4]
    assert found('a: "x\u2028y"\nb: [\n') == [("yaml-syntax", 2, 4)]


# --- Anchors and merges ----------------------------------------------------------------------------------


def test_an_alias_has_the_value_and_location_of_its_anchor() -> None:
    read = document("a: &x { k: [1, two] }\nb: *x\nc: [*x, *x]\n")
    assert read.data == {"a": {"k": [1, "two"]}, "b": {"k": [1, "two"]}, "c": [{"k": [1, "two"]}] * 2}
    assert read.span(("c", 1, "k", 1)) == read.span(("a", "k", 1))
    assert read.data["a"] is not read.data["b"], "the values are separate objects"


def test_an_anchor_can_be_redefined() -> None:
    assert data("a: &x 1\nb: *x\nc: &x 2\nd: *x\n") == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_own_keys_override_merged_ones_and_earlier_merges_later_ones() -> None:
    text = """
one: &one { a: 1, b: 1 }
two: &two { b: 2, c: 2 }
single: { b: own, <<: *one }
list: { <<: [*one, *two], d: own }
inline: { <<: { a: 9 }, a: own }
nested: &nested { <<: *one, c: 3 }
chain: { <<: *nested, a: own }
deep: { <<: [{ <<: *nested, e: 5 }, *two] }
quoted: { "<<": *one }
empty: { <<: [], a: 1 }
"""
    read = data(text)
    assert read["single"] == {"a": 1, "b": "own"}
    assert read["list"] == {"a": 1, "b": 1, "c": 2, "d": "own"}
    assert read["inline"] == {"a": "own"}
    assert read["nested"] == {"a": 1, "b": 1, "c": 3}
    assert read["chain"] == {"a": "own", "b": 1, "c": 3}
    assert read["deep"] == {"a": 1, "b": 1, "c": 3, "e": 5}
    assert read["quoted"] == {"<<": {"a": 1, "b": 1}}
    assert read["empty"] == {"a": 1}


def test_a_merged_key_has_its_original_location() -> None:
    read = document("base: &base\n  a: 1\nmore:\n  <<: *base\n")
    assert read.key_spans[("more", "a")].line == 2
    assert read.span(("more", "a")).line == 2


def test_a_duplicate_key_is_a_finding_and_the_first_value_is_used() -> None:
    findings = Findings()
    read = parse("x.yaml", b"a: 1\nb: { c: 1, c: 2 }\na: 3\n", findings)
    assert read is not None
    assert read.data == {"a": 1, "b": {"c": 1}}
    assert [(d.message, d.span.line, d.span.column) for d in findings] == [
        ("duplicate key 'c'; first defined at line 2", 2, 12),
        ("duplicate key 'a'; first defined at line 1", 3, 1),
    ]


def test_growth_by_aliases_is_bounded_and_found_quickly() -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    merges = [f"m{n}: &m{n} {{ <<: [{', '.join([f'*m{n - 1}'] * 9)}] }}" for n in range(1, 10)]
    with time_limit(SOON):
        assert [code for code, *_ in found("\n".join(["a0: &a0 [x]", *levels]))] == ["yaml-alias"]
        assert [code for code, *_ in found("\n".join(["m0: &m0 { a: 1 }", *merges]))] == ["yaml-alias"]


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{a: " * 3000, "- " * 3000 + "a"])
def test_depth_is_bounded_and_found_quickly(text: str) -> None:
    with time_limit(SOON):
        assert [code for code, *_ in found(text)] == ["yaml-depth"]


def test_the_maximum_depth_is_read() -> None:
    assert found("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    assert found("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == [("yaml-depth", 1, MAX_DEPTH + 1)]


def test_a_large_file_is_read_quickly() -> None:
    text = "a:\n" + "".join(f"  key{n}: [value {n}, 'quoted {n}', {n}]\n" for n in range(15_000))
    with time_limit(2 * PATIENCE):
        assert len(data(text)["a"]) == 15_000


# --- Locations -------------------------------------------------------------------------------------------


def at(read: Document, path: Path, character: str) -> str:
    """The character of the file at the recorded location of a value's only `character`."""
    value = read.data
    for step in path:
        value = value[step]
    return read.file.text[read.scalars[path].offsets[value.index(character)]]


STYLES = {
    "plain": "a: one Xtwo\n",
    "plain over lines": "a: one\n    two\n\n    three X\n",
    "plain in a list": "a: [one, two X]\n",
    "single": "a: 'it''s ''X'''\n",
    "single over lines": "a: 'one\n\n  it''s\n  X'\n",
    "double": 'a: "one X"\n',
    "escapes": 'a: "\\t\\n\\x41\\u00e9\\U0001F600\\" \\\\ X"\n',
    "escaped space": 'a: "one\\  X"\n',
    "escaped slash": 'a: "\\/ X"\n',
    "double over lines": 'a: "one\n  two  \n\n  \t three X"\n',
    "continued": 'a: "one\\\n  two\\\n\n  \\ three X"\n',
    "continued after space": 'a: "one \\\n     two \\\n     X"\n',
    "literal": "a: |\n  one\n    two\n\n  X\n",
    "literal, strip": "a: |-\n\n  one X\n\n",
    "literal, keep": "a: |+\n  one X\n\n\n",
    "literal, indented": "a: |2\n    one\n  X\n",
    "literal, with a comment": "a: | # comment | X\n  one X\n",
    "folded": "a: >\n  one\n  two\n\n\n  three X\n",
    "folded, more indented": "a: >\n  one\n    two\n   \n    three\n  X\n",
    "folded, trailing space": "a: >-\n  one  \n  two X\n",
    "anchored": "a: &anchor one X\n",
    "anchored, quoted": "a: &X 'one X'\n",
    "anchored, below": "a: &anchor # comment\n  one X\n",
    "tagged": "a: !!str one X\n",
    "tagged in full": 'a: !<tag:yaml.org,2002:str> "one X"\n',
    "both": "a: &anchor !!str\n  'one X'\n",
    "both, other order": "a: !!str &anchor |\n  one X\n",
    "wide": "a: 宽é👩‍👩‍👧 X\n",
    "non-breaking space": "a: 'one\u00a0 X'\n",
}


@pytest.mark.parametrize("text", STYLES.values(), ids=STYLES)
def test_each_character_of_a_value_has_its_location(text: str) -> None:
    read = document(text)
    path: Path = ("a", 1) if isinstance(read.data["a"], list) else ("a",)
    assert at(read, path, "X") == "X"
    offsets = read.scalars[path].offsets
    assert list(offsets) == sorted(offsets)
    line = read.root["a"] if len(path) == 1 else read.root["a"][1]
    span = line.span_at(str(line.value).index("X"))
    assert read.file.line(span.line)[span.column - 1] == "X"


def test_an_absent_value_has_the_location_of_its_key() -> None:
    read = document("a:\nbee:\n  c:\n")
    assert read.data == {"a": None, "bee": {"c": None}}
    spans = [read.span(("a",)), read.span(("bee", "c"))]
    assert [(span.line, span.column) for span in spans] == [(1, 1), (3, 3)]


SPANS = {
    "a: value": (1, 4, 5),
    "a: 'it''s'": (1, 4, 7),
    "a: |\n  x\n": (1, 4, 1),
    "a: &x value": (1, 4, 8),
    "a: [1, 2]": (1, 4, 1),
    "a:\n  b: 1": (2, 3, 1),
    "a: one\n  two": (1, 4, 1),
}


@pytest.mark.parametrize("text", SPANS)
def test_a_span_covers_the_value_on_its_line(text: str) -> None:
    span = document(text).span(("a",))
    assert (span.line, span.column, span.length) == SPANS[text]


# --- Any data, in any style ------------------------------------------------------------------------------

#: Numbers in JSON that are text in YAML 1.1, so PyYAML writes such text without quotes.
EXPONENT = re.compile(r"-?[0-9]+[eE][-+]?[0-9]+\Z")
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=30)
TEXT = ANY_TEXT.filter(lambda text: not EXPONENT.match(text)) | st.sampled_from(
    [
        "${ a.b }",
        "yes",
        "null",
        "<<",
        "=",
        "1.5",
        " lead",
        "trail ",
        "a: b",
        "a #b",
        "one\n\ntwo\n",
        "\t",
        "-",
        "é\n宽",
    ]
)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
MAPPINGS = st.dictionaries(TEXT, VALUES, min_size=1, max_size=4)


class AnyStyle(yaml.SafeDumper):
    """Writes each scalar, list and mapping in a random style."""

    chance = random.Random(0)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_scalar(self, tag: str, value: str, style: str | None = None) -> yaml.ScalarNode:
        return super().represent_scalar(tag, value, self.chance.choice([None, "'", '"', "|", ">"]))


def dumped(value: Any, seed: int) -> str:
    AnyStyle.chance = chance = random.Random(seed)
    text = yaml.dump(
        value,
        Dumper=AnyStyle,
        default_flow_style=chance.choice([None, True, False]),
        width=chance.choice([5, 20, 80, 1000]),
        indent=chance.choice([2, 3, 6]),
        allow_unicode=chance.choice([True, False]),
        sort_keys=False,
    )
    assert isinstance(text, str)
    return text


@property_settings(100, 300)
@given(MAPPINGS, st.integers(0, 2**32))
def test_dumped_yaml_is_read_with_every_location(value: dict[str, Any], seed: int) -> None:
    text = dumped(value, seed)
    assume(_is_sound(text, value))
    read = document(text)
    assert read.data == value
    for path, inner in leaves(read.data, ()):
        if isinstance(inner, dict | list):
            continue
        check_location(read, path, inner)


def _is_sound(text: str, value: Any) -> bool:
    """Whether PyYAML can read its own output: it writes some texts with a wrong indent."""
    try:
        return bool(yaml.safe_load(text) == value)
    except (yaml.YAMLError, ValueError):
        return False


def leaves(value: Any, path: Path) -> list[tuple[Path, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(path, value), *(leaf for key, child in inner for leaf in leaves(child, (*path, key)))]


def check_location(read: Document, path: Path, value: Any) -> None:
    """Check that a scalar's span is its beginning, and that each offset is its character or an escape."""
    span = read.span(path)
    written = read.file.line(span.line)[span.column - 1 :]
    while written.startswith("!"):
        written = written.partition(" ")[2]
    plain = str(value)[:1] if isinstance(value, str) else "-0123456789tfn"
    assert written[:1], path
    assert written[0] in f"'\"|>?{plain}", (path, written)
    if isinstance(value, str):
        offsets = read.scalars[path].offsets
        for character, offset in zip(value, offsets, strict=False):
            assert represents(read.file.text, offset, character), (path, character, read.file.text[offset:])


def represents(text: str, offset: int, character: str) -> bool:
    there = text[offset : offset + 1]
    return there in (character, "\\") or (character.isspace() and there.isspace())
