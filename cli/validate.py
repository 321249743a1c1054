"""`dragoman validate`: compiles mappings like `serve`, and reports the findings."""

from __future__ import annotations

import sys

import click

from cli import options, render
from cli.loading import plans_of, report, tally
from engine import Findings


@click.command("validate", short_help="Check mapping files (also: check).")
@options.paths()
@options.output_format
@options.env_file
@options.setting(
    "--strict",
    is_flag=True,
    help="Treat warnings as errors.",
)
def command(paths: tuple[str, ...], output_format: str, env_files: tuple[str, ...], strict: bool) -> None:
    """Check mapping files: YAML, keys, expressions, and conflicts between files.

    PATH is a file, a directory (all *.yaml below it, except tests), a glob, or the name of a shipped mapping.
    All findings are printed at once, each with file, line and column.

    \b
    Exit status: 0 no errors, 1 errors found, 2 usage error.
    """
    sys.exit(run(paths, output_format, env_files, strict))


def run(paths: tuple[str, ...], output_format: str, env_files: tuple[str, ...], strict: bool) -> int:
    """Check the files of `paths`, and return the exit status."""
    findings = Findings()
    _, files = plans_of(paths, options.environment(env_files), findings, served_together=False)
    status = report(findings, output_format)
    errors, warnings = tally(findings)
    if output_format == "text":
        render.summary(errors, warnings, render.count(files, "file"))
    return 1 if strict and warnings else status
