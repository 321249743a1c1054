"""`dragoman test`: the *.test.yaml files beside mappings, run with no network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping

import click

from cli import options, render
from engine import (
    CaseResult,
    Diagnostic,
    Findings,
    Mismatch,
    SuiteResult,
    SuiteRun,
    Uncovered,
    run_suites,
    source_files,
)


@click.command("test", short_help="Run the tests of mappings.")
@options.paths()
@options.output_format
@options.setting(
    "--case",
    "name_part",
    metavar="TEXT",
    default="",
    help="Run only the cases with TEXT in their names; nothing is then said of what was not reached.",
)
@options.setting(
    "--require-coverage",
    is_flag=True,
    help="Fail where a route, an answer or a branch of a template was reached by no case.",
)
def command(paths: tuple[str, ...], output_format: str, name_part: str, require_coverage: bool) -> None:
    """Run the tests of mappings: each case sends a request through its mapping, with the upstreams faked.

    PATH is a *.test.yaml file, a mapping whose test lies beside it, a directory (all *.test.yaml below it), a
    glob, or the name of a shipped mapping. Nothing is sent over a network, and mappings see no environment
    but that of their suite.

    Of a case that fails, every mismatch is printed with the place of what was expected. Then follows what no
    case has reached: routes, answers, and branches of $if and $switch.

    \b
    dragoman test mappings/                         everything below a directory
    dragoman test mappings/ollama.yaml              the test beside one mapping
    dragoman test mappings/ --case stream           the cases with "stream" in their names
    dragoman test mappings/ --require-coverage      for CI: what is not reached fails too

    \b
    Exit status: 0 all cases passed, 1 some did not or could not be run, 2 wrong usage.
    """
    if name_part and require_coverage:
        raise click.UsageError("--require-coverage needs all cases, so --case cannot stand beside it")
    sys.exit(run(paths, output_format, name_part, require_coverage))


def run(paths: tuple[str, ...], output_format: str, name_part: str, require_coverage: bool) -> int:
    """Run the suites of `paths`; the exit status."""
    findings = Findings()
    files = source_files(paths, findings, tests=True)
    tests = run_suites(files, name_part)
    _no_such_case(tests, name_part, findings)
    _FORMATS[output_format](tests, findings, require_coverage)
    failed = tests.failed or tests.not_run or findings.has_errors
    return 1 if failed or (require_coverage and tests.uncovered) else 0


def _no_such_case(tests: SuiteRun, name_part: str, findings: Findings) -> None:
    """A filter that leaves nothing to run is a mistake, not a success."""
    if name_part and tests.suites and not (tests.passed or tests.failed or tests.not_run):
        message = f"no case has '{name_part}' in its name"
        findings.error("no-case", message, tests.suites[0].location)


# --- As text ---------------------------------------------------------------------------------------------


def _as_text(tests: SuiteRun, findings: Findings, require_coverage: bool) -> None:
    render.findings(findings, "text")
    for suite in tests.suites:
        _suite(suite)
    if tests.uncovered:
        render.line("not reached by any case:", style="yellow")
    for place in tests.uncovered:
        render.line(f"  {place.span}: {place.what}")
    is_bad = tests.failed or tests.not_run or findings.has_errors or (require_coverage and tests.uncovered)
    render.line(_summary(tests), style="red" if is_bad else "green")


def _suite(suite: SuiteResult) -> None:
    render.findings(suite.findings, "text")
    if suite.findings.has_errors:
        render.line(f"{suite.file}: not run", style="red")
    elif suite.failed:
        passed = len(suite.cases) - suite.failed
        render.line(f"{suite.file}: {passed} passed, {suite.failed} failed", style="red")
    elif suite.cases:
        render.line(f"{suite.file}: {len(suite.cases)} passed")
    for case in suite.cases:
        if not case.passed:
            _failed_case(case)


def _failed_case(case: CaseResult) -> None:
    render.line(f"  {case.span}: {case.name}", style="bold")
    for mismatch in case.mismatches:
        render.line(f"    {mismatch.span}: {mismatch}")
    if case.failure:
        render.line(f"    the exchange failed: {case.failure}", style="cyan")


def _summary(tests: SuiteRun) -> str:
    parts = [f"{render.count(tests.passed, 'case')} passed, {tests.failed} failed"]
    if tests.not_run:
        parts.append(f"{render.count(tests.not_run, 'suite')} not run")
    if tests.uncovered:
        parts.append(f"{render.count(len(tests.uncovered), 'place')} not reached")
    return "; ".join(parts)


# --- As JSON ---------------------------------------------------------------------------------------------


def _as_json(tests: SuiteRun, findings: Findings, require_coverage: bool) -> None:
    report = {
        "findings": [render.as_data(diagnostic) for diagnostic in findings],
        "suites": [_suite_data(suite) for suite in tests.suites],
        "unreached": [{"what": place.what, **_place(place)} for place in tests.uncovered],
        "passed": tests.passed,
        "failed": tests.failed,
        "not_run": tests.not_run,
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))


def _suite_data(suite: SuiteResult) -> dict[str, object]:
    return {
        "file": suite.file,
        "findings": [render.as_data(diagnostic) for diagnostic in suite.findings],
        "cases": [_case_data(case) for case in suite.cases],
    }


def _case_data(case: CaseResult) -> dict[str, object]:
    return {
        "name": case.name,
        "passed": case.passed,
        **_place(case),
        "mismatches": [{"path": m.path, "message": m.message, **_place(m)} for m in case.mismatches],
        "failure": case.failure,
    }


def _place(what: CaseResult | Mismatch | Uncovered) -> dict[str, object]:
    return {"file": what.span.file.name, "line": what.span.line, "column": what.span.column}


# --- As annotations --------------------------------------------------------------------------------------


def _as_github(tests: SuiteRun, findings: Findings, require_coverage: bool) -> None:
    render.findings(findings, "github")
    for suite in tests.suites:
        render.findings(suite.findings, "github")
        render.findings(_annotations(suite), "github")
    render.findings((_missed(place, require_coverage) for place in tests.uncovered), "github")
    render.line(_summary(tests))


def _annotations(suite: SuiteResult) -> Iterator[Diagnostic]:
    for case in suite.cases:
        for mismatch in case.mismatches:
            yield Diagnostic("case-failed", f"{case.name}: {mismatch}", mismatch.span)


def _missed(place: Uncovered, is_error: bool) -> Diagnostic:
    message = f"no case has reached {place.what}"
    return Diagnostic("not-reached", message, place.span, "error" if is_error else "warning")


_FORMATS: Mapping[str, Callable[[SuiteRun, Findings, bool], None]] = {
    "text": _as_text,
    "json": _as_json,
    "github": _as_github,
}
