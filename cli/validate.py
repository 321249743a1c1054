"""`dragoman validate`: compiles mappings like `serve`, and reports the findings."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Final

import click

from cli import options, render
from cli.loading import plans_of, report, tally
from engine import Findings

#: Codes of findings about environment variables that are not set.
_ENV_CODES: Final = ("missing-env", "no-key")


@click.command("validate", short_help="Check mapping files (also: check).")
@options.paths()
@options.output_format
@options.env_file
@click.option(
    "--strict",
    is_flag=True,
    help="Treat warnings as errors.",
)
@click.option(
    "--require-env",
    is_flag=True,
    help="Treat required environment variables without a value, and mappings without a key, as errors.",
)
def command(
    paths: tuple[str, ...], output_format: str, env_files: tuple[str, ...], strict: bool, require_env: bool
) -> None:
    """Check mapping files: YAML, keys, expressions, and conflicts between files.

    PATH is a file, a directory (all *.yaml below it, except tests), a glob, or the name of a shipped mapping.
    All findings are printed at once, each with file, line and column. A note is not an error, even with
    --strict: it names what depends on how the files are served, such as a required environment variable that
    is not set here, or a route that two files have.

    \b
    Exit status: 0 no errors, 1 errors found, 2 usage error.
    """
    sys.exit(run(paths, output_format, env_files, strict, require_env))


def run(
    paths: tuple[str, ...],
    output_format: str,
    env_files: tuple[str, ...],
    strict: bool = False,
    require_env: bool = False,
) -> int:
    """Check the files of `paths`, and return the exit status."""
    findings = Findings()
    _, files = plans_of(paths, options.environment(env_files), findings, served_together=False)
    if require_env:
        findings = _with_errors_of_env(findings)
    status = report(findings, output_format)
    errors, warnings, notes = tally(findings)
    if output_format == "text":
        render.summary(errors, warnings, notes, render.count(files, "file"))
    return 1 if strict and warnings else status


def _with_errors_of_env(findings: Findings) -> Findings:
    """The findings, in which unset variables are errors."""
    result = Findings()
    for finding in findings:
        is_env = finding.code in _ENV_CODES
        result.add(replace(finding, severity="error") if is_env else finding)
    return result
