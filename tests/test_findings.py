"""An author is told at once what is wrong with a mapping, and where.

The cases are the files of `suites/broken/`: beside each NAME.yaml its NAME.expect has one line a finding,
`line:column severity code`, with `file:` before it where it is in another file. A folder NAME/ holds what
the case includes or reads, and NAME/beside/ the mappings that are served with it. Places are written by
hand: they are where an author would look first.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import render
from cli.main import main
from engine import Diagnostic, Findings, compile_set, load, shipped_mappings
from engine.language.yaml import MAX_BYTES, MAX_NODES
from engine.locations import SourceFile, Span
from tests.support.times import START
from tests.support.upstream import eventually

ROOT = Path(__file__).parent.parent
BROKEN = Path(__file__).parent / "suites" / "broken"
GOOD = Path(__file__).parent / "suites" / "good"
CASES = sorted(path.stem for path in BROKEN.glob("*.yaml"))

#: Where findings about mappings are made, and by what.
SOURCES = [
    file
    for room in (
        "language/yaml",
        "language/schema",
        "language/spec",
        "language/expressions",
        "language/templates",
        "compiler",
    )
    for file in sorted([*ROOT.glob(f"engine/{room}.py"), *ROOT.glob(f"engine/{room}/*.py")])
]
MAKERS = {"error", "warning", "report", "add", "_fail", "Withheld", "Diagnostic"}
CODE = re.compile(r"[a-z]+(-[a-z]+)+\Z")
#: Found by tests of their own, below: they need a large file, no file at all, a package that is not there.
REACHED_HERE = {"file-too-large", "no-files", "missing-package"}


@cache
def found(name: str) -> tuple[Diagnostic, ...]:
    """The findings of a case, served as its folder says, in an empty environment."""
    findings = Findings()
    files = [BROKEN / f"{name}.yaml", *sorted((BROKEN / name / "beside").glob("*.yaml"))]
    compile_set(load(files, findings), {}, findings, served_together=True)
    return tuple(findings)


def told(name: str, diagnostic: Diagnostic) -> str:
    """A finding as NAME.expect has it."""
    span = diagnostic.span
    file = Path(span.file.name).relative_to(BROKEN).as_posix()
    before = "" if file == f"{name}.yaml" else f"{file}:"
    return f"{before}{span.line}:{span.column} {diagnostic.severity} {diagnostic.code}"


def printed(diagnostics: tuple[Diagnostic, ...], output_format: str = "text") -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        render.findings(diagnostics, output_format)
    return out.getvalue()


# --- The cases -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_is_found_once_and_in_its_place(name: str) -> None:
    expected = (BROKEN / f"{name}.expect").read_text("utf-8").splitlines()
    got = [told(name, diagnostic) for diagnostic in found(name)]
    assert sorted(got) == sorted(expected), printed(found(name))


@pytest.mark.parametrize("name", CASES)
def test_each_finding_lies_inside_its_file(name: str) -> None:
    for diagnostic in found(name):
        span = diagnostic.span
        lines = Path(span.file.name).read_bytes().decode("utf-8-sig", "replace").split("\n")
        assert 1 <= span.line <= len(lines), told(name, diagnostic)
        rest = len(lines[span.line - 1]) - span.column + 1
        assert span.column >= 1, told(name, diagnostic)
        assert span.length <= max(rest, 1), f"{told(name, diagnostic)}: {span.length} of {rest} characters"


@pytest.mark.parametrize("name", CASES)
def test_findings_come_in_the_order_of_the_file(name: str) -> None:
    places = [(d.span.file.name, d.span.line, d.span.column) for d in found(name)]
    assert places == sorted(places)
    assert len({(*place, d.code, d.message) for place, d in zip(places, found(name), strict=True)}) == len(
        places
    )


def test_there_is_a_case_for_each_expectation_and_the_other_way_round() -> None:
    assert sorted(path.stem for path in BROKEN.glob("*.expect")) == CASES
    assert len(CASES) >= 70
    kinds = [{diagnostic.code for diagnostic in found(name)} for name in CASES]
    assert sum(len(codes) > 1 for codes in kinds) >= 20
    assert all(kinds), "a case has no finding at all"


def codes_of(source: Path) -> Iterator[str]:
    """The codes that a module gives to findings: the first argument of whatever makes one."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Call) and node.args and MAKERS & set(_names(node.func)):
            code = node.args[0]
            if isinstance(code, ast.Constant) and isinstance(code.value, str) and CODE.match(code.value):
                yield code.value


def _names(function: ast.expr) -> Iterator[str]:
    """What a call calls; either of two where a condition chooses."""
    if isinstance(function, ast.IfExp):
        yield from (*_names(function.body), *_names(function.orelse))
    elif isinstance(function, ast.Attribute):
        yield function.attr
    elif isinstance(function, ast.Name):
        yield function.id


def test_each_code_is_reached_by_a_case() -> None:
    codes = {code for source in SOURCES for code in codes_of(source)} | {"encoding"}
    assert len(codes) > 35, "the codes are made in another way now: see codes_of"
    reached = {diagnostic.code for name in CASES for diagnostic in found(name)}
    assert codes - reached - REACHED_HERE == set(), "codes without a case"
    assert reached <= codes, "codes that codes_of does not see"


def test_no_finding_tells_a_secret() -> None:
    """Keys that stand in files, and values of secret variables, are named by their place alone."""
    for name in CASES:
        for output_format in ("text", "json", "github"):
            assert "abcdefghijklmnop" not in printed(found(name), output_format), name


SUGGESTIONS = {
    ("unknown-top", "6:1"): "routes",
    ("unknown-keys", "4:11"): "default",
    ("misspelt-required", "4:10"): "url",
    ("calls", "9:23"): "ollama",
    ("url-expression", "7:13"): "OLLAMA_HOST",
    ("expression-names", "13:23"): "query",
    ("expression-arguments", "21:23"): "not_found",
    ("directives", "11:9"): "$each",
    ("templates", "16:47"): "model",
    ("mapping-unknown", "4:16"): "mapping-unknown",
    ("types-upstream", "16:50"): "length",
}


# --- Findings that need a file of their own making ------------------------------------------------------


def findings_of(*files: Path, served_together: bool = True) -> list[Diagnostic]:
    findings = Findings()
    compile_set(load(files, findings), {}, findings, served_together=served_together)
    return list(findings)


@pytest.mark.parametrize(
    "content",
    [b"# " + b"x" * MAX_BYTES, b"dragoman: 1\nvars: {a: [" + b"1," * (MAX_NODES + 1) + b"]}\n"],
    ids=["bytes", "values"],
)
def test_a_file_that_is_too_large_is_not_read(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(content)
    assert [diagnostic.code for diagnostic in findings_of(file)] == ["file-too-large"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    assert [diagnostic.code for diagnostic in findings_of(pipe)] == ["file-unreadable"]


def test_http2_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        "dragoman: 1\nupstreams:\n  up: { url: https://localhost, http2: true }\n"
        "routes: { GET /x: { call: GET up /x, respond: {} } }\n"
    )
    assert findings_of(file) == []
    monkeypatch.setattr("engine.compiler.upstreams.find_spec", lambda name: None)
    (diagnostic,) = findings_of(file)
    assert (diagnostic.code, diagnostic.span.line, diagnostic.span.column) == ("missing-package", 3, 40)
    assert diagnostic.hint == "install dragoman[http2]"


REFERENCES = {
    "request": "request: {{ schema: {{ $ref: '{url}' }} }}\n    respond: {{}}",
    "response": "call: {{ upstream: api, path: /x, response_schema: {{ items: {{ $ref: '{url}#/a' }} }} }}\n"
    "    respond: {{}}",
    "dynamic": "request: {{ schema: {{ $dynamicRef: '{url}' }} }}\n    respond: {{}}",
    "based": "request: {{ schema: {{ $id: '{url}', properties: {{ a: {{ $ref: other.json }} }} }} }}\n"
    "    respond: {{}}",
}


@pytest.mark.parametrize("route", REFERENCES.values(), ids=REFERENCES)
def test_a_schema_elsewhere_is_never_fetched(route: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/schema.json"
        hits: list[object] = []
        threading.Thread(target=_count, args=(trap, hits), daemon=True).start()
        file = tmp_path / "remote.yaml"
        upstreams = f"upstreams: {{ api: {{ url: '{url}' }} }}\n"
        file.write_text(
            f"dragoman: 1\n{upstreams}routes:\n  POST /x:\n    {route.format(url=url)}\n", "utf-8"
        )
        assert [diagnostic.code for diagnostic in findings_of(file)] == ["bad-schema"]
        socket.create_connection(trap.getsockname()).close()
        assert eventually(lambda: hits)
        threading.Event().wait(0.05)
        assert len(hits) == 1, "only the trap's own trial came"


def _count(trap: socket.socket, hits: list[object]) -> None:
    while True:
        try:
            hits.append(trap.accept())
        except OSError:
            return


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("env", "missing-env"),
        ("route-conflicts-between", "route-conflict"),
        ("duplicate-names", "duplicate-name"),
        ("mapping-unknown", "unknown-mapping"),
    ],
)
def test_what_only_serving_needs_is_a_warning_for_validate(name: str, code: str) -> None:
    files = [BROKEN / f"{name}.yaml", *sorted((BROKEN / name / "beside").glob("*.yaml"))]
    severities = {d.severity for d in findings_of(*files, served_together=False) if d.code == code}
    assert severities == {"warning"}
    assert {d.severity for d in found(name) if d.code == code} == {"error"}


def test_two_routes_of_one_file_are_an_error_for_validate_too() -> None:
    alone = findings_of(BROKEN / "route-conflicts.yaml", served_together=False)
    assert {d.severity for d in alone if d.code == "route-conflict"} == {"error"}


# --- How they are printed --------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "place"), SUGGESTIONS, ids=lambda value: str(value))
def test_a_misspelt_name_comes_with_the_one_that_was_meant(case: str, place: str) -> None:
    hints = [d.hint for d in found(case) if told(case, d).startswith(f"{place} ")]
    assert hints == [f"did you mean '{SUGGESTIONS[case, place]}'?"], printed(found(case))


#: The line, the text the caret is under, and what is printed: tabs and control characters take one column,
#: wide characters two, combining ones none.
EXCERPTS = {
    "plain": ("name: ${ nope() }", "nope", "  7 | name: ${ nope() }\n    |          ^^^^\n"),
    "tab": ("\tname:\tnope", "nope", "  7 |  name: nope\n    |        ^^^^\n"),
    "wide": ('"宽宽": nope', "nope", '  7 | "宽宽": nope\n    |         ^^^^\n'),
    "wide-marked": ("a: 宽宽 b", "宽宽", "  7 | a: 宽宽 b\n    |    ^^^^\n"),
    "combining": ("cafe\u0301: nope", "nope", "  7 | cafe\u0301: nope\n    |       ^^^^\n"),
    "control": ("a\x1b\x07: nope", "nope", "  7 | a  : nope\n    |      ^^^^\n"),
    "end": ("a: [", "", "  7 | a: [\n    |     ^\n"),
    "carriage": ("a: b\r", "b", "  7 | a: b\n    |    ^\n"),
}


@pytest.mark.parametrize(("line", "text", "expected"), EXCERPTS.values(), ids=EXCERPTS)
def test_the_caret_is_under_what_is_meant(line: str, text: str, expected: str) -> None:
    file = SourceFile("x.yaml", "#\n" * 6 + line + "\n")
    column = line.index(text) + 1 if text else len(line) + 1
    diagnostic = Diagnostic("unknown-key", "?", Span(file, 7, column, len(text)))
    heading, _, excerpt = printed((diagnostic,)).partition("\n")
    assert heading == f"x.yaml:7:{column}: error[unknown-key]: ?"
    assert excerpt == expected


def test_no_message_holds_a_secret() -> None:
    told = str([diagnostic.message for diagnostic in found("secrets-told")])
    assert "mapping" in told
    assert "abc" not in told


@pytest.mark.parametrize("name", CASES)
def test_every_caret_stands_below_its_own_line(name: str) -> None:
    """The text above the first caret begins at the finding's column, however wide what is before it."""
    for diagnostic in found(name):
        lines = printed((diagnostic,)).splitlines()
        carets = [number for number, line in enumerate(lines) if re.fullmatch(r" +\| +\^+", line)]
        if not carets:
            assert not diagnostic.span.file.line(diagnostic.span.line).strip(), told(name, diagnostic)
            continue
        above, caret = lines[carets[0] - 1], lines[carets[0]]
        text = above[len(_cut(above, caret.index("^"))) :]
        source = diagnostic.span.file.line(diagnostic.span.line)[diagnostic.span.column - 1 :]
        if diagnostic.code == "secret-literal":
            source = "*" * diagnostic.span.length + source[diagnostic.span.length :]
        source = re.sub(r"(?<=://)[\w%]+:\w+(?=@)", lambda found: "*" * len(found[0]), source)
        assert text == "".join(c if c.isprintable() else " " for c in source), told(name, diagnostic)


def _cut(text: str, columns: int) -> str:
    """The beginning of a text that takes so many columns on a terminal."""
    end = 0
    while end < len(text) and (columns > 0 or unicodedata.category(text[end]) in ("Mn", "Me")):
        wide = 2 if unicodedata.east_asian_width(text[end]) in "WF" else 1
        columns -= 0 if unicodedata.category(text[end]) in ("Mn", "Me") else wide
        end += 1
    return text[:end]


@pytest.mark.parametrize("output_format", ["text", "json", "github"])
@pytest.mark.parametrize("name", ["misspelt-required", "unicode"])
def test_printed_findings_are_as_ever(name: str, output_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files in `printed/` were checked by hand."""
    monkeypatch.chdir(BROKEN)
    result = CliRunner().invoke(main, ["validate", "--format", output_format, f"{name}.yaml"])
    assert result.output == (BROKEN / "printed" / f"{name}.{output_format}").read_text("utf-8")
    assert result.exit_code == 1


def test_json_is_json_and_annotations_are_one_line_each() -> None:
    for name in CASES:
        data = json.loads(printed(found(name), "json"))
        assert [item["code"] for item in data] == [diagnostic.code for diagnostic in found(name)]
        lines = printed(found(name), "github").split("\n")
        assert len(lines) == len(found(name)) + 1
        assert all(re.match(r"::(error|warning) file=[^,:]+,line=\d+,col=\d+,", line) for line in lines[:-1])


# --- The command -----------------------------------------------------------------------------------------


def dragoman(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    return subprocess.run(program, cwd=directory, env=environ, capture_output=True, text=True, timeout=START)


def write(directory: Path, name: str, text: str) -> None:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


FINE = "dragoman: 1\nroutes:\n  GET {path}: {{ respond: {{}} }}\n"
WARNED = (
    "dragoman: 1\nenv: {{ NOWHERE_SET: {{ required: true }} }}\nroutes:\n  GET {path}: {{ respond: {{}} }}\n"
)
WRONG = "dragoman: 1\nrouts: {}\n"


def test_the_exit_status_tells_errors_from_wrong_usage(tmp_path: Path) -> None:
    write(tmp_path, "fine.yaml", FINE.format(path="/fine"))
    write(tmp_path, "warned.yaml", WARNED.format(path="/warned"))
    write(tmp_path, "wrong.yaml", WRONG)
    expected = {
        ("fine.yaml",): 0,
        ("warned.yaml",): 0,
        ("--strict", "fine.yaml"): 0,
        ("--strict", "warned.yaml"): 1,
        ("fine.yaml", "wrong.yaml"): 1,
        ("nowhere.yaml",): 1,
        (): 2,
        ("--format", "xml", "fine.yaml"): 2,
    }
    results = {case: dragoman("validate", *case, directory=tmp_path) for case in expected}
    assert {case: result.returncode for case, result in results.items()} == expected
    assert all("Traceback" not in result.stderr for result in results.values())
    assert results["fine.yaml",].stdout == "1 file: no findings\n"
    assert results["fine.yaml", "wrong.yaml"].stdout.endswith("1 error, 0 warnings in 2 files\n")


def validate(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["validate", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_directories_globs_and_shipped_names_stand_for_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a.yaml", FINE.format(path="/a"))
    write(tmp_path, "below/b.yml", FINE.format(path="/b"))
    write(tmp_path, "below/b.test.yml", WRONG)
    write(tmp_path, ".hidden/c.yaml", WRONG)
    write(tmp_path, "below/.d.yaml", WRONG)
    write(tmp_path, "below/e.yaml~", WRONG)
    write(tmp_path, "f.json", WRONG)
    assert validate(".") == (0, "2 files: no findings\n")
    assert validate("*.yaml", "below/*.yml") == (0, "2 files: no findings\n")
    assert validate("**/*.y*ml", ".", "a.yaml") == (0, "2 files: no findings\n"), "each file once"
    name = next(iter(shipped_mappings()))
    assert validate(name) == (0, "1 file: no findings\n")
    write(tmp_path, "g.yaml", WRONG)
    status, output = validate(".")
    assert (status, output.splitlines()[0]) == (1, "g.yaml:2:1: error[unknown-key]: unknown key 'routs'")


@pytest.mark.parametrize("path", ["nowhere.yaml", "*.nothing", "empty", "no-such-name"])
def test_a_path_that_leads_to_no_file_is_a_finding(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    status, output = validate(path)
    assert status == 1
    assert output.splitlines()[0] == f"{path}:1:1: error[no-files]: no mapping file found"


@pytest.mark.parametrize(
    "file", [*sorted(GOOD.glob("*.yaml")), *shipped_mappings().values()], ids=lambda file: file.stem
)
def test_good_mappings_have_no_finding(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"^  (\w+): \{.*required: true", file.read_text("utf-8"), re.MULTILINE):
        monkeypatch.setenv(name, "set")
    for name in ("CLIENT_KEYS", "DRAGOMAN_API_KEYS"):
        monkeypatch.setenv(name, "key")
    assert validate("--strict", str(file)) == (0, "1 file: no findings\n")
