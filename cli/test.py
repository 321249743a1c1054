"""`dragoman test`: runs the *.test.yaml files of mappings, without a network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping

import click

from cli import options, render
from cli.progress import tracked
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
    suggestion,
)


@click.command("test", short_help="Run the tests of mappings.")
@options.paths()
@options.output_format
@click.option(
    "--case",
    "name_part",
    metavar="TEXT",
    default="",
    help="Run only the cases with TEXT in their names, and do not report coverage.",
)
@click.option(
    "--require-coverage",
    is_flag=True,
    help="Fail if no case covers a route, a response, or a branch of a template.",
)
def command(paths: tuple[str, ...], output_format: str, name_part: str, require_coverage: bool) -> None:
    """Run the tests of mappings: each case sends a request through its mapping, with stubs for the upstreams.

    PATH is a *.test.yaml file, a mapping with a test file, a directory (all *.test.yaml below it), a glob, or
    the name of a shipped mapping. No network is used, and mappings read only the environment of their suite.

    For a failed case, all mismatches are printed with the location of the expectation. Then the routes,
    responses, and branches of $if and $switch that no case covers are listed.

    \b
    dragoman test mappings/                         everything below a directory
    dragoman test mappings/ollama.yaml              the test of one mapping
    dragoman test mappings/ --case stream           the cases with "stream" in their names
    dragoman test mappings/ --require-coverage      for CI: fail on missing coverage

    \b
    Exit status: 0 all cases passed, 1 failures or errors, 2 usage error.
    """
    if name_part and require_coverage:
        raise click.UsageError("--require-coverage needs all cases and cannot be combined with --case")
    sys.exit(run(paths, output_format, name_part, require_coverage))


def run(paths: tuple[str, ...], output_format: str, name_part: str, require_coverage: bool) -> int:
    """Run the suites of `paths`, and return the exit status."""
    findings = Findings()
    files = source_files(paths, findings, tests=True)
    tests = run_suites(tracked(files, "Testing"), name_part)
    _check_filter(tests, name_part, findings)
    _FORMATS[output_format](tests, findings, require_coverage)
    failed = tests.failed or tests.not_run or findings.has_errors
    return 1 if failed or (require_coverage and tests.uncovered) else 0


def _check_filter(tests: SuiteRun, name_part: str, findings: Findings) -> None:
    """Report a filter that matches no case."""
    if name_part and tests.suites and not (tests.passed or tests.failed or tests.not_run):
        names = [name for suite in tests.suites for name in suite.names]
        message = f"no case has '{name_part}' in its name"
        findings.error("no-case", message, tests.suites[0].location, suggestion(name_part, names))


# --- As text ---------------------------------------------------------------------------------------------


def _as_text(tests: SuiteRun, findings: Findings, require_coverage: bool) -> None:
    render.findings(findings, "text")
    for suite in tests.suites:
        _suite(suite)
    if tests.uncovered:
        render.line("not covered by any case:", style="yellow")
    for uncovered in tests.uncovered:
        render.line(f"  {uncovered.span}: {uncovered.what}")
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
        parts.append(f"{len(tests.uncovered)} not covered")
    return "; ".join(parts)


# --- As JSON ---------------------------------------------------------------------------------------------


def _as_json(tests: SuiteRun, findings: Findings, require_coverage: bool) -> None:
    report = {
        "findings": [render.as_data(diagnostic) for diagnostic in findings],
        "suites": [_suite_data(suite) for suite in tests.suites],
        "unreached": [{"what": uncovered.what, **_location(uncovered)} for uncovered in tests.uncovered],
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
        **_location(case),
        "mismatches": [{"path": m.path, "message": m.message, **_location(m)} for m in case.mismatches],
        "failure": case.failure,
    }


def _location(what: CaseResult | Mismatch | Uncovered) -> dict[str, object]:
    return {"file": what.span.file.name, "line": what.span.line, "column": what.span.column}


# --- As annotations --------------------------------------------------------------------------------------


def _as_github(tests: SuiteRun, findings: Findings, require_coverage: bool) -> None:
    render.findings(findings, "github")
    for suite in tests.suites:
        render.findings(suite.findings, "github")
        render.findings(_annotations(suite), "github")
    render.findings((_diagnostic(uncovered, require_coverage) for uncovered in tests.uncovered), "github")
    render.line(_summary(tests))


def _annotations(suite: SuiteResult) -> Iterator[Diagnostic]:
    for case in suite.cases:
        for mismatch in case.mismatches:
            yield Diagnostic("case-failed", f"{case.name}: {mismatch}", mismatch.span)


def _diagnostic(uncovered: Uncovered, is_error: bool) -> Diagnostic:
    message = f"no case covers {uncovered.what}"
    return Diagnostic("not-reached", message, uncovered.span, "error" if is_error else "warning")


_FORMATS: Mapping[str, Callable[[SuiteRun, Findings, bool], None]] = {
    "text": _as_text,
    "json": _as_json,
    "github": _as_github,
}
