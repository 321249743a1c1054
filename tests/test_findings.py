"""Findings: every mistake in a mapping is reported at load, with its location.

The cases are the files of `suites/broken/`. For each NAME.yaml, NAME.expect has one line per finding,
`line:column severity code`, prefixed by `file:` if it is in another file. A folder NAME/ has the files that
the case includes or reads, and NAME/served_with/ the mappings that are served together with it. Locations are
written by hand: they are where an author would look first.
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
MISTAKES = Path(__file__).parent / "suites" / "mistakes"
GOOD = Path(__file__).parent / "suites" / "good"
CASES = sorted(path.stem for path in BROKEN.glob("*.yaml"))

#: The modules that create findings about mappings, and the functions and classes they use for it.
SOURCES = [
    file
    for module in (
        "language/yaml",
        "language/schema",
        "language/spec",
        "language/expressions",
        "language/templates",
        "compiler",
    )
    for file in sorted([*ROOT.glob(f"engine/{module}.py"), *ROOT.glob(f"engine/{module}/*.py")])
]
CREATORS = {
    "error",
    "warning",
    "note",
    "report",
    "add",
    "_fail",
    "warn_of_unreachable",
    "Withheld",
    "Diagnostic",
}
CODE = re.compile(r"[a-z]+(-[a-z]+)+\Z")
#: Codes with their own tests below: they need a large file, no file, or a missing package.
TESTED_BELOW = {"file-too-large", "no-files", "missing-package"}


@cache
def found(name: str) -> tuple[Diagnostic, ...]:
    """The findings of a case, served with the mappings in its folder, in an empty environment."""
    findings = Findings()
    files = [BROKEN / f"{name}.yaml", *sorted((BROKEN / name / "served_with").glob("*.yaml"))]
    compile_set(load(files, findings), {}, findings, served_together=True)
    return tuple(findings)


def expectation_line(name: str, diagnostic: Diagnostic) -> str:
    """A finding in the format of NAME.expect."""
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
def test_each_mistake_is_found_once_at_its_location(name: str) -> None:
    expected = (BROKEN / f"{name}.expect").read_text("utf-8").splitlines()
    got = [expectation_line(name, diagnostic) for diagnostic in found(name)]
    assert sorted(got) == sorted(expected), printed(found(name))


@pytest.mark.parametrize("name", CASES)
def test_each_finding_is_inside_its_file(name: str) -> None:
    for diagnostic in found(name):
        span = diagnostic.span
        lines = Path(span.file.name).read_bytes().decode("utf-8-sig", "replace").split("\n")
        assert 1 <= span.line <= len(lines), expectation_line(name, diagnostic)
        rest = len(lines[span.line - 1]) - span.column + 1
        assert span.column >= 1, expectation_line(name, diagnostic)
        assert span.length <= max(rest, 1), (
            f"{expectation_line(name, diagnostic)}: {span.length} of {rest} characters"
        )


@pytest.mark.parametrize("name", CASES)
def test_findings_have_the_order_of_the_file(name: str) -> None:
    locations = [(d.span.file.name, d.span.line, d.span.column) for d in found(name)]
    assert locations == sorted(locations)
    distinct = {(*location, d.code, d.message) for location, d in zip(locations, found(name), strict=True)}
    assert len(distinct) == len(locations)


def test_cases_and_expectations_match() -> None:
    assert sorted(path.stem for path in BROKEN.glob("*.expect")) == CASES
    assert len(CASES) >= 70
    kinds = [{diagnostic.code for diagnostic in found(name)} for name in CASES]
    assert sum(len(codes) > 1 for codes in kinds) >= 20
    assert all(kinds), "every case must have a finding"


def codes_of(source: Path) -> Iterator[str]:
    """The codes of a module's findings: the first argument of each call that creates one."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Call) and node.args and CREATORS & set(_names(node.func)):
            code = node.args[0]
            if isinstance(code, ast.Constant) and isinstance(code.value, str) and CODE.match(code.value):
                yield code.value


def _names(function: ast.expr) -> Iterator[str]:
    """The names of the function that is called; both if a condition selects one."""
    if isinstance(function, ast.IfExp):
        yield from (*_names(function.body), *_names(function.orelse))
    elif isinstance(function, ast.Attribute):
        yield function.attr
    elif isinstance(function, ast.Name):
        yield function.id


def test_each_code_has_a_case() -> None:
    codes = {code for source in SOURCES for code in codes_of(source)} | {"encoding"}
    assert len(codes) > 35, "findings are created in another way: adapt codes_of"
    reached = {diagnostic.code for name in CASES for diagnostic in found(name)}
    reached |= {
        line.split()[2] for file in MISTAKES.glob("*.expect") for line in file.read_text().splitlines()[:1]
    }
    assert codes - reached - TESTED_BELOW == set(), "codes without a case"
    assert reached <= codes, "codes that codes_of does not find"


def test_no_finding_contains_a_secret() -> None:
    """Findings name only the location of keys in files and of values of secret variables."""
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


# --- Findings that need a generated file ----------------------------------------------------------------


def findings_of(*files: Path, served_together: bool = True) -> list[Diagnostic]:
    findings = Findings()
    compile_set(load(files, findings), {}, findings, served_together=served_together)
    return list(findings)


@pytest.mark.parametrize(
    "content",
    [b"# " + b"x" * MAX_BYTES, b"dragoman: 1\nvars: {a: [" + b"1," * (MAX_NODES + 1) + b"]}\n"],
    ids=["bytes", "values"],
)
def test_a_file_above_the_size_limit_is_not_read(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(content)
    assert [diagnostic.code for diagnostic in findings_of(file)] == ["file-too-large"]


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
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
def test_a_remote_schema_is_never_fetched(route: str, tmp_path: Path) -> None:
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
        assert len(hits) == 1, "only the test's own connection may arrive"


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
def test_findings_that_matter_only_for_serving_are_notes_in_validate(name: str, code: str) -> None:
    files = [BROKEN / f"{name}.yaml", *sorted((BROKEN / name / "served_with").glob("*.yaml"))]
    severities = {d.severity for d in findings_of(*files, served_together=False) if d.code == code}
    assert severities == {"note"}
    assert {d.severity for d in found(name) if d.code == code} == {"error"}


def test_conflicting_routes_of_one_file_are_an_error_in_validate_too() -> None:
    alone = findings_of(BROKEN / "route-conflicts.yaml", served_together=False)
    assert {d.severity for d in alone if d.code == "route-conflict"} == {"error"}


# --- Output ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "location"), SUGGESTIONS, ids=lambda value: str(value))
def test_a_misspelt_name_has_a_suggestion(case: str, location: str) -> None:
    hints = [d.hint for d in found(case) if expectation_line(case, d).startswith(f"{location} ")]
    assert hints == [f"did you mean '{SUGGESTIONS[case, location]}'?"], printed(found(case))


#: The line, the text above the caret, and the output: tabs and control characters take one column, wide
#: characters two, combining characters none.
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
def test_the_caret_is_under_the_mistake(line: str, text: str, expected: str) -> None:
    file = SourceFile("x.yaml", "#\n" * 6 + line + "\n")
    column = line.index(text) + 1 if text else len(line) + 1
    diagnostic = Diagnostic("unknown-key", "?", Span(file, 7, column, len(text)))
    heading, _, excerpt = printed((diagnostic,)).partition("\n")
    assert heading == f"x.yaml:7:{column}: error[unknown-key]: ?"
    assert excerpt == expected


def test_no_message_contains_a_secret() -> None:
    messages = str([diagnostic.message for diagnostic in found("secrets-in-messages")])
    assert "mapping" in messages
    assert "abc" not in messages


@pytest.mark.parametrize("name", CASES)
def test_every_caret_is_below_its_own_line(name: str) -> None:
    """The text above the first caret begins at the finding's column, however wide the text before it is."""
    for diagnostic in found(name):
        lines = printed((diagnostic,)).splitlines()
        carets = [number for number, line in enumerate(lines) if re.fullmatch(r" +\| +\^+", line)]
        if not carets:
            assert not diagnostic.span.file.line(diagnostic.span.line).strip(), expectation_line(
                name, diagnostic
            )
            continue
        above, caret = lines[carets[0] - 1], lines[carets[0]]
        text = above[len(_first_columns(above, caret.index("^"))) :]
        source = diagnostic.span.file.line(diagnostic.span.line)[diagnostic.span.column - 1 :]
        if diagnostic.code == "secret-literal":
            source = "*" * diagnostic.span.length + source[diagnostic.span.length :]
        source = re.sub(r"(?<=://)[\w%]+:\w+(?=@)", lambda found: "*" * len(found[0]), source)
        assert text == "".join(c if c.isprintable() else " " for c in source), expectation_line(
            name, diagnostic
        )


def _first_columns(text: str, columns: int) -> str:
    """The beginning of a text that takes `columns` columns on a terminal."""
    end = 0
    while end < len(text) and (columns > 0 or unicodedata.category(text[end]) in ("Mn", "Me")):
        wide = 2 if unicodedata.east_asian_width(text[end]) in "WF" else 1
        columns -= 0 if unicodedata.category(text[end]) in ("Mn", "Me") else wide
        end += 1
    return text[:end]


@pytest.mark.parametrize("output_format", ["text", "json", "github"])
@pytest.mark.parametrize("name", ["misspelt-required", "unicode"])
def test_printed_findings_are_stable(name: str, output_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected files in `printed/` are checked by hand."""
    monkeypatch.chdir(BROKEN)
    result = CliRunner().invoke(main, ["validate", "--format", output_format, f"{name}.yaml"])
    assert result.output == (BROKEN / "printed" / f"{name}.{output_format}").read_text("utf-8")
    assert result.exit_code == 1


def test_json_output_is_valid_and_annotations_have_one_line_each() -> None:
    for name in CASES:
        data = json.loads(printed(found(name), "json"))
        assert [item["code"] for item in data] == [diagnostic.code for diagnostic in found(name)]
        lines = printed(found(name), "github").split("\n")
        assert len(lines) == len(found(name)) + 1
        assert all(re.match(r"::(error|warning) file=[^,:]+,line=\d+,col=\d+,", line) for line in lines[:-1])


# --- The command -----------------------------------------------------------------------------------------


def dragoman(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    unset = ("OPENROUTER_API_KEY", "DRAGOMAN_API_KEYS")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    environ = {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    return subprocess.run(program, cwd=directory, env=environ, capture_output=True, text=True, timeout=START)


def write(directory: Path, name: str, text: str) -> None:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


FINE = "dragoman: 1\nroutes:\n  GET {path}: {{ respond: {{}} }}\n"
WARNED = (
    "dragoman: 1\nvars: {{ key: sk-live-0123456789abcdef }}\nroutes:\n  GET {path}: {{ respond: {{}} }}\n"
)
UNSET = (
    "dragoman: 1\nenv: {{ NOWHERE_SET: {{ required: true }} }}\nroutes:\n"
    '  GET {path}: {{ respond: {{ body: "${{ $env.NOWHERE_SET }}" }} }}\n'
)
WRONG = "dragoman: 1\nrouts: {}\n"


def test_the_exit_status_distinguishes_errors_from_wrong_usage(tmp_path: Path) -> None:
    write(tmp_path, "fine.yaml", FINE.format(path="/fine"))
    write(tmp_path, "warned.yaml", WARNED.format(path="/warned"))
    write(tmp_path, "unset.yaml", UNSET.format(path="/unset"))
    write(tmp_path, "wrong.yaml", WRONG)
    expected = {
        ("fine.yaml",): 0,
        ("warned.yaml",): 0,
        ("--strict", "fine.yaml"): 0,
        ("--strict", "warned.yaml"): 1,
        ("--strict", "unset.yaml"): 0,
        ("--require-env", "unset.yaml"): 1,
        ("--require-env", "fine.yaml"): 0,
        ("fine.yaml", "wrong.yaml"): 1,
        ("nowhere.yaml",): 1,
        (): 2,
        ("--env-file", "nowhere.env", "fine.yaml"): 2,
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


def test_directories_globs_and_shipped_names_are_expanded(
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
    assert validate("**/*.y*ml", ".", "a.yaml") == (0, "2 files: no findings\n"), "each file counts once"
    assert validate("demo") == (0, "1 file: no findings\n")
    write(tmp_path, "g.yaml", WRONG)
    status, output = validate(".")
    assert (status, output.splitlines()[0]) == (1, "g.yaml:2:1: error[unknown-key]: unknown key 'routs'")


#: Paths, with the first line of the output.
MISSING = {
    "nowhere.yaml": "no such file: 'nowhere.yaml'",
    "*.nothing": "no file matches '*.nothing'",
    "empty": "no mapping in the directory 'empty' (a mapping is a *.yaml file with the key 'routes' or "
    "'upstreams')",
    "no-such-name": "unknown mapping 'no-such-name' (expected a file, a directory, a glob, or the name of a "
    "shipped mapping)",
    "mapings/": "no such file: 'mapings/' (did you mean 'mappings/'?)",
    "mapings": "no such file or directory: 'mapings' (did you mean 'mappings'?)",
    "mappings/shp.yaml": "no such file: 'mappings/shp.yaml' (did you mean 'mappings/shop.yaml'?)",
    "mapings/shop.yaml": "no such file: 'mapings/shop.yaml' (did you mean 'mappings/shop.yaml'?)",
    "mapings/x/y.yaml": "no such file: 'mapings/x/y.yaml'",
    "olama-over-openai": "unknown mapping 'olama-over-openai' (did you mean 'ollama-over-openai'?)",
}


@pytest.mark.parametrize("path", MISSING)
def test_a_path_without_a_file_is_a_finding(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path, "mappings/shop.yaml", FINE.format(path="/x"))
    status, output = validate(path)
    assert status == 1
    assert output == f"error[no-files]: {MISSING[path]}\n1 error, 0 warnings in 0 files\n"
    (found,) = json.loads(validate(path, "--format", "json")[1])
    assert (found["file"], found["line"], found["column"]) == (path, None, None)
    annotation = validate(path, "--format", "github")[1]
    assert annotation.startswith("::error file=")
    assert ",title=no-files::" in annotation
    assert "line=" not in annotation


def test_an_unset_variable_is_named_but_no_error() -> None:
    """The shipped mappings pass the strict check without secrets."""
    done = dragoman("validate", "--strict", "mappings/", directory=ROOT)
    assert done.returncode == 0, done.stdout
    assert "note[missing-env]: needs the environment variable OPENROUTER_API_KEY: " in done.stdout
    assert re.fullmatch(r"\d+ files: no errors or warnings, \d+ notes", done.stdout.splitlines()[-1])
    required = dragoman("validate", "--require-env", "mappings/", directory=ROOT)
    assert required.returncode == 1
    assert "error[missing-env]: needs the environment variable OPENROUTER_API_KEY" in required.stdout
    assert "error[no-key]: " in required.stdout


def test_a_note_is_a_notice_in_github_and_has_its_severity_in_json(tmp_path: Path) -> None:
    write(tmp_path, "unset.yaml", UNSET.format(path="/unset"))
    path = str(tmp_path / "unset.yaml")
    assert validate("--format", "github", path)[1].startswith(f"::notice file={path},line=2,col=8,")
    (found,) = json.loads(validate("--format", "json", path)[1])
    assert (found["severity"], found["code"], found["line"]) == ("note", "missing-env", 2)


@pytest.mark.parametrize(
    "file", [*sorted(GOOD.glob("*.yaml")), *shipped_mappings().values()], ids=lambda file: file.stem
)
def test_good_mappings_have_no_finding(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = file.read_text("utf-8")
    for name in re.findall(r"^  (\w+): \{.*required: true", text, re.MULTILINE):
        monkeypatch.setenv(name, "https://set.example")
    for name in ("CLIENT_KEYS", "DRAGOMAN_API_KEYS"):
        monkeypatch.setenv(name, "key")
    # A mapping is served together with those that are its upstreams.
    called = {name for name in re.findall(r"\bmapping:([\w-]+)", text) if name in shipped_mappings()}
    status, output = validate("--strict", str(file), *sorted(called))
    assert (status, output.partition(":")[2]) == (0, " no findings\n"), output
