"""`dragoman functions`: the list, the documentation of one, and the hint for an unknown one."""

from __future__ import annotations

from engine import FUNCTIONS
from tests.support.commands import run


def test_functions_are_listed() -> None:
    lines = run("functions").output.splitlines()
    assert len(lines) == len(FUNCTIONS) + 1
    assert [line.partition("(")[0] for line in lines[1:]] == sorted(FUNCTIONS)


def test_a_function_is_explained_with_examples() -> None:
    shown = run("functions", "epoch")
    assert shown.exit_code == 0
    assert shown.output.startswith(FUNCTIONS["epoch"].signature)
    assert "epoch('2024-01-02T10:20:30Z') => 1704190830" in shown.output


def test_an_unknown_function_has_a_suggestion() -> None:
    shown = run("functions", "lenght")
    assert shown.exit_code == 1
    assert "did you mean 'length'" in shown.stderr
