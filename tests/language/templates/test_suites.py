"""The cases of `tests/suites/templates`: one file per feature, each case a template and its result.

A case has `template`, optionally `given` (the payload), `vars` and `templates`, and what is expected:

- `expect`: the value, with its types and the order of its keys; `nothing: true` if there is none;
- `fails`: a part of the EvaluationError's message, or `kind: message` of an ExchangeError;
- `findings`: each finding's code and the text at its location: `code @ text`.

A case with `files` is a complete mapping: `main.yaml`, the files that it names, and optionally `environ`. Its
template is the response body of the first route, rendered with `given`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.compiler import compile_set, load
from engine.diagnostics import Diagnostic, Findings
from engine.errors import EvaluationError, ExchangeError
from engine.language import yaml
from engine.locations import Node

from .rendered import NOTHING, Template, compiled, shown

FOLDER = Path(__file__).parents[2] / "suites" / "templates"
KEYS = {
    "case",
    "template",
    "given",
    "vars",
    "templates",
    "files",
    "environ",
    "expect",
    "nothing",
    "fails",
    "findings",
}


def cases() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        findings = Findings()
        document = yaml.read(path, findings, path.name)
        assert document is not None, list(findings)
        assert not len(findings), list(findings)
        found += [
            pytest.param(n, id=f"{path.stem}-{n.value['case']}") for n in document.root["cases"].elements()
        ]
    return found


@pytest.mark.parametrize("case", cases())
def test_case(case: Node, tmp_path: Path) -> None:
    assert set(case.value) <= KEYS, f"{case.span}: unknown key"
    template = from_files(case, tmp_path) if "files" in case.value else from_case(case)
    codes = [code_and_text(finding) for finding in template.findings]
    assert codes == case.value.get("findings", []), template.shown(f"{case.span}: {list(template.findings)}")
    if "fails" in case.value:
        check_failure(case, template)
    elif "expect" in case.value or "nothing" in case.value:
        value = template.value(case.value.get("given"))
        wanted = NOTHING if "nothing" in case.value else shown(case.value["expect"])
        assert shown(value).strip('"' if value is NOTHING else "") == wanted, template.shown(str(case.span))
    else:
        assert codes, f"{case.span}: nothing is expected"


def check_failure(case: Node, template: Template) -> None:
    with pytest.raises((EvaluationError, ExchangeError)) as failed:
        template.value(case.value.get("given"))
    error = failed.value
    message = f"{error.kind}: {error.message}" if isinstance(error, ExchangeError) else error.message
    assert case.value["fails"] in message, template.shown(str(case.span))


def code_and_text(finding: Diagnostic) -> str:
    """A finding as its code and the text at its location, up to the end of the line."""
    at = finding.span.file.line(finding.span.line)[finding.span.column - 1 :]
    return f"{finding.code} @ {at[: finding.span.length].strip() or at[:1]}"


def from_case(case: Node) -> Template:
    templates = dict(case["templates"].items()) if "templates" in case.value else {}
    return compiled(case["template"], case.value.get("vars"), templates)


def from_files(case: Node, folder: Path) -> Template:
    for name, text in case.value["files"].items():
        (folder / name).write_text(text, "utf-8")
    findings = Findings()
    sources = load([folder / "main.yaml"], findings)
    plans = compile_set(sources, case.value.get("environ", {}), findings)
    route = next(iter(plans.mappings.values())).routes[0]
    body = route.cases[0].body
    assert body is not None
    return Template(body, findings, {})
