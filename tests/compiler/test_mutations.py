"""Loading a randomly changed mapping ends with plans or findings, never with an exception.

The mappings are those of `suites/good/`; the changes are seeded, so failures are reproducible.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Findings, compile_set, load
from tests.support.times import time_limit

GOOD = Path(__file__).parent.parent / "suites" / "good"
FILES = sorted(GOOD.glob("*.yaml"))
ROUNDS = 25
MUTATIONS = 500


def findings_of(file: Path) -> Findings:
    findings = Findings()
    compile_set(load([file], findings), {"CLIENT_KEYS": "key"}, findings)
    return findings


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_good_mapping_has_no_finding(file: Path) -> None:
    assert [f"{d.span}: {d.message}" for d in findings_of(file)] == []


def delete_line(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    return b"".join(lines)


def duplicate_line(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    number = chance.randrange(len(lines))
    return b"".join([*lines[: number + 1], *lines[number:]])


def swap_lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def flip_bit(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


def change_indent(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    number = chance.randrange(len(lines))
    rest = lines[number].lstrip(b" ")
    lines[number] = chance.choice([b" " * chance.randrange(12), b"\t"]) + rest
    return b"".join(lines)


def drop_character(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + content[at + 1 :]


def insert_token(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    tokens = [
        b"${",
        b"}",
        b"'",
        b'"',
        b"`",
        b": ",
        b"- ",
        b"*",
        b"&a ",
        b"[",
        b"{",
        b"!!str ",
        b"$",
        b"#",
        b"\n",
    ]
    return content[:at] + chance.choice(tokens) + content[at:]


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [
    delete_line,
    duplicate_line,
    swap_lines,
    flip_bit,
    change_indent,
    drop_character,
    insert_token,
]


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_a_changed_mapping_loads_or_lists_findings(round_number: int, tmp_path: Path) -> None:
    shutil.copytree(GOOD, tmp_path / "good")
    each = MUTATIONS // ROUNDS
    for number in range(each):
        seed = round_number * each + number
        chance = random.Random(seed)
        file = tmp_path / "good" / chance.choice(FILES).name
        good = file.read_bytes()
        file.write_bytes(mutated(good, chance))
        try:
            with time_limit():
                findings = findings_of(file)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {file.name}:\n{file.read_bytes()!r}") from error
        check_locations(findings, seed)
        file.write_bytes(good)


def mutated(content: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        content = chance.choice(CHANGES)(content, chance)
    return content


def check_locations(findings: Findings, seed: int) -> None:
    for diagnostic in findings:
        span = diagnostic.span
        lines = span.file.text.split("\n")
        assert 1 <= span.line <= len(lines), f"seed {seed}: {span}"
        assert 1 <= span.column <= len(lines[span.line - 1]) + 1, f"seed {seed}: {span}"
        assert diagnostic.message, f"seed {seed}"
