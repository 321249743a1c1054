"""`dragoman explain`: describes mappings and routes, traces a request, and shows the generated Python."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import click

from cli import options, render
from engine import Entry, Explainer, Findings, Request, StubResponse, compile_set, load, source_files

_NAME: Final = re.compile(r"[A-Z]+ /\S*\Z")
_STATUS: Final = re.compile(r"([2-5][0-9][0-9])(?::(.+))?\Z", re.DOTALL)


class _Lines(click.ParamType):  # type: ignore[type-arg]
    """A parsed option."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        try:
            return self._read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, context)


def _name(text: str) -> str:
    method, _, path = text.strip().partition(" ")
    name = f"{method.upper()} {path.strip()}"
    if not _NAME.match(name):
        raise ValueError("expected a method and a path, such as 'GET /api/tags'")
    return name


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError("expected 'NAME: VALUE'")
    return name.strip(), value.strip()


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("expected NAME=VALUE")
    return name, value


def _bytes(text: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if text == "-" else Path(text).read_bytes()
    except OSError as error:
        raise ValueError(f"'{text}' cannot be read: {error.strerror}") from None


def _stub_response(text: str) -> StubResponse:
    """The stub response of `FILE`, `STATUS:FILE`, `STATUS`, or the name of a failure."""
    if text in StubResponse.FAILURES:
        return StubResponse(failure=text)
    status = _STATUS.match(text)
    if status is None:
        return StubResponse(body=_bytes(text))
    return StubResponse(int(status[1]), _bytes(status[2]) if status[2] else b"")


@dataclass(frozen=True, slots=True)
class _Subject:
    """What to explain: a request with stub responses for its calls, a route, or all (an empty `route`)."""

    route: str
    request: Request | None
    responses: Sequence[StubResponse]
    python: bool


def _repeated(flag: str, kind: _Lines, metavar: str, text: str) -> Callable[[options.F], options.F]:
    name = flag.strip("-") + "s"
    return click.option(flag, name, type=kind, multiple=True, metavar=metavar, help=text)


@click.command("explain", short_help="Describe mappings, or trace a request.")
@options.paths()
@click.option(
    "--route",
    type=_Lines("route", _name),
    default=None,
    metavar="'METHOD PATH'",
    help="Describe only this route, given by its path in the mapping or by a path that it matches.",
)
@click.option(
    "--request",
    type=_Lines("request", _name),
    default=None,
    metavar="'METHOD PATH'",
    help="Trace a request without calling upstreams. The path may include a query.",
)
@click.option(
    "--body",
    type=_Lines("body", _bytes),
    default=None,
    metavar="FILE",
    help="The request body; '-' is standard input.",
)
@_repeated("--header", _Lines("header", _field), "'NAME: VALUE'", "A header field of the request.")
@_repeated("--query", _Lines("query", _parameter), "NAME=VALUE", "A query parameter of the request.")
@_repeated(
    "--response",
    _Lines("response", _stub_response),
    "[STATUS:]FILE",
    "The response to the next call: a file with its body, a status, both, or a failure such as 'connect'.",
)
@click.option(
    "--python",
    is_flag=True,
    help="Show the generated Python of --route, or of all routes.",
)
@options.env_file
@click.option(
    "--format",
    "output_format",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="Output format: text or JSON.",
)
def command(
    paths: tuple[str, ...],
    route: str | None,
    request: str | None,
    body: bytes | None,
    headers: tuple[tuple[str, str], ...],
    querys: tuple[tuple[str, str], ...],
    responses: tuple[StubResponse, ...],
    python: bool,
    env_files: tuple[str, ...],
    output_format: str,
) -> None:
    """Describe mappings: their upstreams, their routes, and how a request is processed, in order.

    With --request, trace one request step by step: the selected attempt and response, and the calls that it
    would make. Nothing is sent. Calls to another mapping of PATH are handled by it; all others receive the
    --response options in order. Without a response the trace ends there. No key is required.

    Secrets are masked as '***'.

    \b
    dragoman explain mappings/shop.yaml                                  everything
    dragoman explain mappings/shop.yaml --route 'POST /orders'           one route
    dragoman explain mappings/shop.yaml --route 'POST /orders' --python  its generated code
    dragoman explain mappings/shop.yaml --request 'POST /orders' --body order.json --response 404

    \b
    Exit status: 0 success, 1 findings, unknown route, or failed request, 2 usage error.
    """
    is_given = body is not None or bool(headers or querys or responses)
    if request is None and is_given:
        raise click.UsageError("--body, --header, --query and --response require --request")
    if request is not None and (route is not None or python):
        raise click.UsageError("--request cannot be combined with --route or --python")
    traced = None if request is None else _request(request, body or b"", headers, querys)
    subject = _Subject(route or "", traced, responses, python)
    sys.exit(run(paths, subject, env_files, output_format))


def _request(
    name: str, body: bytes, headers: tuple[tuple[str, str], ...], parameters: tuple[tuple[str, str], ...]
) -> Request:
    method, _, target = name.partition(" ")
    path, _, query = target.partition("?")
    query = "&".join(filter(None, (query, urlencode(parameters))))
    return Request(method, path, query, headers, body)


def run(paths: tuple[str, ...], subject: _Subject, env_files: tuple[str, ...], output_format: str) -> int:
    """Explain the files of `paths`, and return the exit status."""
    findings, environ = Findings(), options.environment(env_files)
    specs = load(source_files(paths, findings), findings)
    compile_set(specs, environ, findings, served_together=False)
    if findings.has_errors:
        render.findings(findings, output_format)
        return 1
    try:
        entries, status = _entries(Explainer(specs, environ), subject)
    except LookupError as error:
        render.line(str(error.args[0]), stderr=True, style="red")
        return 1
    if output_format == "json":
        print(json.dumps([entry.as_data() for entry in entries], indent=2, ensure_ascii=False))
    else:
        render.entries(entries)
    return status


def _entries(explainer: Explainer, subject: _Subject) -> tuple[Sequence[Entry], int]:
    if subject.request is not None:
        trace = explainer.trace(subject.request, subject.responses)
        return trace.steps, 1 if trace.has_failed else 0
    if subject.python:
        return explainer.python(subject.route), 0
    return (explainer.route(subject.route) if subject.route else explainer.everything()), 0
