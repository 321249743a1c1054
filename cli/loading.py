"""Loads and compiles mappings, for several commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cli import render
from cli.progress import tracked
from engine import Findings, PlanSet, compile_set, load, source_files


def plans_of(
    paths: Sequence[str],
    environ: Mapping[str, str],
    findings: Findings,
    served_together: bool,
) -> tuple[PlanSet, int]:
    """The plans of mapping files, and the number of files. Errors are added to `findings`."""
    files = source_files(paths, findings)
    sources = load(tracked(files, "Reading"), findings)
    plans = compile_set(tracked(sources, "Checking"), environ, findings, served_together=served_together)
    return plans, len(files)


def report(findings: Findings, output_format: str) -> int:
    """Print findings, and return the exit status."""
    render.findings(findings, output_format)
    return 1 if findings.has_errors else 0


def tally(findings: Findings) -> tuple[int, int, int]:
    """The numbers of errors, warnings and notes."""
    severities = [diagnostic.severity for diagnostic in findings]
    return severities.count("error"), severities.count("warning"), severities.count("note")
