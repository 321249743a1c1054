"""Output on a terminal: it fits the width, has colors only where they are wanted, and shows progress."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from engine import FUNCTIONS, GROUPS
from tests.support.terminal import COMMAND, ROOT, plain, run_on_terminal, shown
from tests.support.times import START

SHIPPED = "mappings/ollama-over-openai.yaml"
WIDE = """
dragoman: 1
name: w
routes:
  GET /宽宽宽宽宽宽宽宽/items: { summary: 宽宽 宽宽 宽宽 宽宽 宽宽 宽宽 宽宽 宽宽 宽宽 words, respond: {} }
  GET /a-path-of-one-word-that-is-longer-than-forty-columns-are: { respond: {} }
"""
SMALL = "dragoman: 1\nroutes: {{ GET /x{0}: {{ respond: {{ body: x }} }} }}\n"
SUITE = "dragoman: 1\ncases: [{{ name: one, request: GET /x{0}, expect: {{ text: x }} }}]\n"
#: Runs the command line without the delay of progress bars.
AT_ONCE = (
    sys.executable,
    "-c",
    "from cli import progress; progress.DELAY = 0.0; from cli.main import main; main()",
)


def columns_of(line: str) -> int:
    from rich.cells import cell_len

    return cell_len(line)


def piped(*arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=START
    )
    return done.stdout


# --- Tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [200, 120, 80, 40, 20])
@pytest.mark.parametrize("arguments", [("functions",), ("routes", SHIPPED), ("routes", "wide")], ids=" ".join)
def test_a_table_fits_the_terminal_and_is_complete(
    arguments: tuple[str, ...], columns: int, tmp_path: Path
) -> None:
    if arguments[-1] == "wide":
        (tmp_path / "w.yaml").write_text(WIDE)
        arguments = (arguments[0], str(tmp_path / "w.yaml"))
    status, text, _ = run_on_terminal(*arguments, columns=columns)
    lines = plain(text).splitlines()
    assert status == 0
    assert max(map(columns_of, lines)) <= columns
    # Every character of each cell is shown, whatever is wrapped.
    there = sorted("".join("".join(lines).split()))
    expected = sorted("".join(piped(*arguments).split("\n", 1)[1].split()))
    missing = [character for character in set(expected) if there.count(character) < expected.count(character)]
    assert not missing


@pytest.mark.parametrize("columns", [120, 80, 40])
def test_no_word_of_a_signature_is_broken(columns: int) -> None:
    words = set(plain(run_on_terminal("functions", columns=columns)[1]).split())
    for function in FUNCTIONS.values():
        assert words.issuperset(function.signature.split()), function.signature


def test_a_narrow_terminal_shows_a_list() -> None:
    lines = [line.rstrip() for line in plain(run_on_terminal("routes", SHIPPED, columns=40)[1]).splitlines()]
    at = lines.index("POST /api/chat")
    assert lines[at + 1 : at + 4] == ["  calls: openai", "  mapping: ollama-over-openai", "  summary: Chat."]
    assert not [line for line in lines if "METHOD" in line]
    lines = [line.rstrip() for line in plain(run_on_terminal("functions", columns=40)[1]).splitlines()]
    at = lines.index("add(a: number|null, b: number|null) ->")
    assert lines[at + 1] == "number|null"
    assert lines[at + 2].startswith("  The sum")


def test_piped_output_has_a_line_for_each_item() -> None:
    lines = piped("functions").splitlines()
    assert len(lines) == 1 + len(FUNCTIONS)
    for line, function in zip(lines[1:], FUNCTIONS.values(), strict=True):
        assert line.startswith(function.signature)
        assert line.endswith(function.summary)
    status, text, out = run_on_terminal("functions", columns=40, streams=("stderr",))
    assert (status, text, out.splitlines()) == (0, "", lines)


# --- Colors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "has_colors"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
@pytest.mark.parametrize("arguments", [("functions",), ("validate", SHIPPED), ("functions", "nope")])
def test_colors_on_a_terminal(arguments: tuple[str, ...], env: dict[str, str], has_colors: bool) -> None:
    text = run_on_terminal(*arguments, env=env)[1]
    assert ("\x1b[" in text) is has_colors


@pytest.mark.parametrize("arguments", [("functions",), ("validate", SHIPPED)])
def test_no_colors_elsewhere(arguments: tuple[str, ...]) -> None:
    assert "\x1b" not in piped(*arguments)


# --- Progress --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label"), [("validate", "Reading"), ("validate", "Checking"), ("test", "Testing")]
)
def test_long_work_shows_progress_and_removes_it(name: str, label: str, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"m{number}.yaml").write_text(SMALL.format(number))
        (tmp_path / f"m{number}.test.yaml").write_text(SUITE.format(number))
    status, text, out = run_on_terminal(name, str(tmp_path), streams=("stderr",), command=AT_ONCE)
    assert status == 0
    assert label in text
    assert re.search(r"\b\d/\d\b", plain(text))
    assert shown(text) == ""
    plainly = run_on_terminal(name, str(tmp_path), streams=(), command=AT_ONCE)[2]
    assert out == plainly, "output has no trace of it"


def test_short_work_and_other_streams_show_no_progress() -> None:
    assert run_on_terminal("validate", "demo", streams=("stderr",))[1] == ""
    assert (
        "Checking"
        not in run_on_terminal("validate", "mappings/demo.yaml", streams=("stdout",), command=AT_ONCE)[1]
    )
    dumb = run_on_terminal("validate", "demo", streams=("stderr",), command=AT_ONCE, env={"TERM": "dumb"})
    assert dumb[1] == ""


def test_progress_ends_if_the_work_fails() -> None:
    code = (
        "from cli import progress; progress.DELAY = 0.0\n"
        "for number in progress.tracked([1, 2], 'Failing'): print('x', flush=True); 1 / (2 - number)\n"
    )
    status, text, out = run_on_terminal(streams=("stderr",), command=(sys.executable, "-c", code))
    assert status == 1
    assert "Failing" in text
    assert shown(text).startswith("Traceback")
    assert out == "x\nx\n", "output is not redirected to the bar's stream"


# --- Functions -------------------------------------------------------------------------------------------


def search(text: str) -> tuple[int, list[str], str]:
    """Returns the status, the names of the functions that are listed, and the text of standard error."""
    result = CliRunner().invoke(main, ["functions", "--search", text])
    return result.exit_code, [line.split("(")[0] for line in result.stdout.splitlines()[1:]], result.stderr


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SPLIT", "split"),
        ("media type of base64", "sniff_mime"),
        ("-> object|null", "parse_data_uri"),
        ("identifiers", "uuid"),
    ],
)
def test_functions_are_found_by_name_signature_summary_and_category(text: str, found: str) -> None:
    status, names, _ = search(text)
    assert status == 0
    assert found in names
    assert len(names) < len(FUNCTIONS)


@pytest.mark.parametrize("group", GROUPS)
def test_a_category_lists_its_functions(group: str) -> None:
    assert {name for name, f in FUNCTIONS.items() if f.group == group} <= set(search(GROUPS[group])[1])


def test_a_search_without_a_result_suggests_words() -> None:
    status, names, message = search("bsae64")
    assert (status, names) == (1, [])
    assert message == "no function matches 'bsae64' (did you mean 'base64'?)\n"
    status, names, message = search("qqq")
    assert (status, names) == (1, [])
    assert message.startswith("no function matches 'qqq'\nsearch by a word or a category: Text, ")
    assert CliRunner().invoke(main, ["functions", "split", "--search", "x"]).exit_code == 2


# --- Unknown names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("vaildate",), 2, "Error: unknown command 'vaildate' (did you mean 'validate'?)"),
        (("validate", "--strikt", "x"), 2, "Error: No such option '--strikt'"),
        (("functions", "lenght"), 1, "unknown function 'lenght' (did you mean 'length'?)"),
        (("functions", "qqq"), 1, "unknown function 'qqq' (list them with 'dragoman functions')"),
        (
            ("explain", SHIPPED, "--route", "GET /api/tgs"),
            1,
            "no route serves 'GET /api/tgs' (did you mean 'GET /api/tags'?)",
        ),
        (
            ("test", SHIPPED, "--case", "chat complation"),
            1,
            "error[no-case]: no case has 'chat complation' in its name",
        ),
        (("test", "mapings/"), 1, "error[no-files]: no such file: 'mapings/' (did you mean 'mappings/'?)"),
        (("routes", "mapings"), 1, "error[no-files]: no such file or directory: 'mapings' (did you mean"),
        (("serve", "olama-over-openai", "--log-format", "console"), 1, "error[no-files]: unknown mapping"),
    ],
)
def test_an_unknown_name_is_one_sentence_with_a_suggestion(
    arguments: tuple[str, ...], status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == status
    assert message in result.output
    assert ":1:1" not in result.output
    assert "Traceback" not in result.output
