"""Mistakes of new authors: none is silent, and each finding contains the fix.

The cases are the files of `suites/mistakes/`. Each NAME.yaml has one mistake; NAME.expect has the location,
the severity and the code of its finding in the first line, and in the second a part of the text: what to
write instead. No shipped mapping and no example has a warning: a false alarm is worse than a missing finding.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from engine import Findings, compile_set, load, shipped_mappings, source_files

ROOT = Path(__file__).parent.parent
MISTAKES = Path(__file__).parent / "suites" / "mistakes"
CASES = sorted(path.stem for path in MISTAKES.glob("*.yaml"))

#: Mappings that are right: shipped ones, examples, and those of the tests. `test_documents` checks those of
#: the documents.
FOLDERS = ("examples", "tests/suites/good")
SOUND = [
    *shipped_mappings().values(),
    *source_files([str(ROOT / folder) for folder in FOLDERS], Findings()),
]


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_has_a_finding_with_the_fix(name: str) -> None:
    location, fix = (MISTAKES / f"{name}.expect").read_text("utf-8").splitlines()
    result = CliRunner().invoke(
        main, ["validate", "--strict", "--format", "json", str(MISTAKES / f"{name}.yaml")]
    )
    assert result.exit_code == 1
    texts = {
        f"{found['line']}:{found['column']} {found['severity']} {found['code']}": (
            f"{found['message']} ({found['hint']})"
        )
        for found in json.loads(result.output)
    }
    assert location in texts, texts
    assert fix in texts[location]


def test_there_are_cases_of_all_kinds() -> None:
    assert sorted(path.stem for path in MISTAKES.glob("*.expect")) == CASES
    assert len(CASES) >= 76


@pytest.mark.parametrize("file", SOUND, ids=lambda file: "/".join(file.parts[-2:]))
def test_a_sound_mapping_has_no_warning(file: Path) -> None:
    findings = Findings()
    compile_set(load([file], findings), {}, findings, served_together=False)
    assert [str(found) for found in findings if found.severity != "note"] == []


# --- Definitions that others use -------------------------------------------------------------------------


def warnings(*files: Path) -> list[str]:
    findings = Findings()
    compile_set(load(files, findings), {}, findings, served_together=False)
    return [f"{Path(d.span.file.name).name}: {d.message}" for d in findings if d.severity != "note"]


def write(directory: Path, **texts: str) -> list[Path]:
    files = [directory / f"{name}.yaml" for name in texts]
    for file, text in zip(files, texts.values(), strict=True):
        file.write_text(f"dragoman: 1\n{text}", "utf-8")
    return files


DEFINITIONS = (
    "env: { SITE: { default: near } }\nvars: { size: 5 }\nupstreams: { up: { url: http://localhost } }\n"
    "templates: { person: { id: 1 } }\nstreams: { events: { from: sse } }\n"
)
ROUTE = "routes: { GET /own: { respond: {} } }\n"
USER = (
    "include: [base.yaml]\nroutes:\n  GET /x:\n    call:\n      upstream: up\n      path: /x\n"
    '      query: { size: "${ $vars.size }", site: "${ $env.SITE }" }\n'
    "    respond:\n      - { when: '${ $request.query.all }', body: { $use: person } }\n"
    "      - pipeline: [events]\n"
)


def test_definitions_for_other_files_are_not_reported(tmp_path: Path) -> None:
    base, user = write(tmp_path, base=DEFINITIONS, user=USER)
    assert warnings(base) == []
    assert warnings(user) == []
    assert warnings(base, user) == []


def test_definitions_of_a_file_with_routes_that_an_including_file_uses_are_not_reported(
    tmp_path: Path,
) -> None:
    base, user = write(tmp_path, base=DEFINITIONS + ROUTE, user=USER)
    assert warnings(base, user) == []
    assert warnings(user) == []
    unused = {message.partition(" '")[0] for message in warnings(base)}
    kinds = ("environment variable", "variable", "upstream", "template", "stream")
    assert unused == {f"base.yaml: {kind}" for kind in kinds}


def test_an_upstream_whose_name_is_computed_is_not_reported(tmp_path: Path) -> None:
    upstreams = "upstreams: { a: { url: http://a.test }, b: { url: http://b.test } }\n"
    call = '{ upstream: "${ $request.query.name }", path: /x }'
    routes = f"routes: {{ GET /x: {{ call: {call}, respond: {{}} }} }}\n"
    assert warnings(*write(tmp_path, m=upstreams + routes)) == []


#: Mappings that resemble a mistake but are right.
RIGHT = {
    "a field that needs quotes": "routes: { POST /x: { respond: { body: '${ \"a-b\" == c }' } } }\n",
    "a quoted field and a literal": (
        'routes: { POST /x: { respond: { body: "${ \\"type\\" == `1` }" } } }\n'
    ),
    "a field called null": "routes: { POST /x: { respond: { body: '${ if(a, null, b) }' } } }\n",
    "an event name": "routes: { POST /x: { respond: { body: { type: response.created } } } }\n",
    "a template of Go": 'routes: { POST /x: { respond: { body: { text: "{{ .Prompt }} {{ Name }}" } } } }\n',
    "text that is meant": (
        "routes: { POST /x: { respond: { body: [\"${ '{{ name }}' }\", \"${ 'request.body' }\"] } } }\n"
    ),
    "a description": (
        "description: about {{ x }} and $request.query.a\nroutes: { POST /x: { respond: {} } }\n"
    ),
    "a path with a colon": (
        "upstreams: { up: { url: http://localhost } }\nroutes:\n  POST /x:\n"
        "    call: POST up /v1/models/m:generate\n    respond: {}\n"
    ),
    "a case for a failed call after one without a condition": (
        "upstreams: { up: { url: http://localhost } }\nroutes:\n  POST /x:\n    call: GET up /x\n"
        "    respond: [{ body: 1 }, { when: '${ $upstream.status == `404` }', body: 2 }]\n"
    ),
    "a condition on what $let fails about": (
        "routes:\n  POST /x:\n    respond:\n      body:\n"
        "        $let: { n: \"${ name || fail('invalid_request', 'no name') }\" }\n"
        "        $if: ${ $n }\n        name: ${ $n }\n"
    ),
    "a GET with a schema of its body": (
        "routes: { GET /x: { request: { schema: { type: object } }, respond: { body: '${ a }' } } }\n"
    ),
    "a variable that differs in type": (
        "vars: { mode: 1 }\nroutes: { POST /x: { respond: { body: \"${ $vars.mode == 'a' }\" } } }\n"
    ),
    "definitions that are only used by aliases": (
        "vars: { a: &a { b: 1 }, c: { d: 1 } }\n"
        "routes: { POST /x: { respond: { body: { <<: *a, c: '${ $vars.c }' } } } }\n"
    ),
    "a list in an expression with a payload": "routes: { POST /x: { respond: { body: '${ [a, b] }' } } }\n",
    "no upstream status": (
        "upstreams: { up: { url: http://localhost } }\nroutes:\n  POST /x:\n    call: GET up /x\n"
        "    respond: [{ when: '${ $upstream.status == `null` }', body: 1 }, { body: 2 }]\n"
    ),
    "an unused template in a stream": (
        "templates: { t: { a: '${ $state.a }', b: '${ $calls.c.body }', c: '${ $request.params.d }' } }\n"
    ),
}


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_what_is_right_has_no_finding(text: str, tmp_path: Path) -> None:
    assert warnings(*write(tmp_path, m=text)) == []


# --- Suites among the files ------------------------------------------------------------------------------


def test_suites_that_a_shell_expands_are_not_read_as_mappings(tmp_path: Path) -> None:
    (mapping,) = write(tmp_path, shop=ROUTE)
    suite = tmp_path / "shop.test.yaml"
    suite.write_text("cases: []\n")
    both = CliRunner().invoke(main, ["validate", "--strict", str(mapping), str(suite)])
    assert (both.exit_code, both.output) == (0, "1 file: no findings\n")
    alone = CliRunner().invoke(main, ["validate", str(suite)])
    assert alone.exit_code == 1
    assert alone.output.startswith(
        f"error[no-files]: '{suite}' is a suite of tests, not a mapping (run it with 'dragoman test')\n"
    )
