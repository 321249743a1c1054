"""`dragoman routes`: the routes of mappings as a table."""

from __future__ import annotations

import json
import sys

import click

from cli import options, render
from cli.loading import plans_of
from engine import Findings, MappingPlan, RoutePlan


@click.command("routes", short_help="List the routes of mappings.")
@options.paths()
@options.env_file
@click.option(
    "--format",
    "output_format",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="Output format: a table or JSON.",
)
def command(paths: tuple[str, ...], env_files: tuple[str, ...], output_format: str) -> None:
    """List all routes of the mappings, with their methods, paths, upstreams, keys and summaries."""
    sys.exit(run(paths, env_files, output_format))


def run(paths: tuple[str, ...], env_files: tuple[str, ...], output_format: str) -> int:
    """Print the routes, and return the exit status."""
    findings = Findings()
    plans, _ = plans_of(paths, options.environment(env_files), findings, served_together=False)
    rows = [_row(mapping, route) for mapping in plans.mappings.values() for route in mapping.routes]
    if output_format == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        columns = ("METHOD", "PATH", "CALLS", "KEY", "MAPPING", "SUMMARY")
        render.table(columns, map(_cells, rows), heading=2)
    render.findings_to_stderr(finding for finding in findings if finding.code == "no-files")
    if any(finding.severity == "error" and finding.code != "no-files" for finding in findings):
        render.line("some files have errors; run 'dragoman validate'", stderr=True, style="red")
    return 1 if findings.has_errors else 0


def _row(mapping: MappingPlan, route: RoutePlan) -> dict[str, str | bool]:
    return {
        "method": route.method,
        "path": route.pattern,
        "calls": ", ".join(route.upstreams),
        "key": "bearer" if route.requires_key else "",
        "mapping": mapping.name,
        "summary": route.spec.summary or "",
        "public": mapping.is_public,
    }


def _cells(row: dict[str, str | bool]) -> tuple[str, ...]:
    """A row of the table. A route that only other mappings can call has the path by which they do."""
    *cells, is_public = row.values()
    method, path, *others = map(str, cells)
    return (method, path if is_public else f"mapping:{row['mapping']}{path}", *others)
