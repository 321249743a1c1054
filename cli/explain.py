"""`dragoman explain`: what mappings do, in words, for one route or one request, and as generated Python."""

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
    """A text made into a value; several in an environment variable stand on lines of their own."""

    envvar_list_splitter = "\n"

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


def _answer(text: str) -> StubResponse:
    """`FILE`, `STATUS:FILE`, `STATUS`, or the name of a failure."""
    if text in StubResponse.FAILURES:
        return StubResponse(failure=text)
    status = _STATUS.match(text)
    if status is None:
        return StubResponse(body=_bytes(text))
    return StubResponse(int(status[1]), _bytes(status[2]) if status[2] else b"")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be explained; a request is walked through, with the answers that there are for its calls."""

    route: str
    request: Request | None
    answers: Sequence[StubResponse]
    python: bool


def _repeated(flag: str, kind: _Lines, metavar: str, text: str) -> Callable[[options.F], options.F]:
    name = flag.strip("-") + "s"
    return options.setting(flag, name, type=kind, multiple=True, metavar=metavar, help=text)


@click.command("explain", short_help="Tell what mappings do, step by step.")
@options.paths()
@options.setting(
    "--route",
    type=_Lines("route", _name),
    default=None,
    metavar="'METHOD PATH'",
    help="Tell of this route alone: by its path as the mapping has it, or by one that leads to it.",
)
@options.setting(
    "--request",
    type=_Lines("request", _name),
    default=None,
    metavar="'METHOD PATH'",
    help="Walk a request through, with no upstream called; its query may stand in the path.",
)
@options.setting(
    "--body",
    type=_Lines("body", _bytes),
    default=None,
    metavar="FILE",
    help="The request's body; '-' is standard input.",
)
@_repeated("--header", _Lines("header", _field), "'NAME: VALUE'", "A header field of the request.")
@_repeated("--query", _Lines("query", _parameter), "NAME=VALUE", "A query parameter of the request.")
@_repeated(
    "--answer",
    _Lines("answer", _answer),
    "[STATUS:]FILE",
    "What the next call is answered: a file with its body, a status, both, or a failure such as 'connect'.",
)
@options.setting(
    "--python",
    is_flag=True,
    help="Show the Python that was generated, of --route or of all routes.",
)
@options.env_file
@options.setting(
    "--format",
    "output_format",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="For people, or as JSON.",
)
def command(
    paths: tuple[str, ...],
    route: str | None,
    request: str | None,
    body: bytes | None,
    headers: tuple[tuple[str, str], ...],
    querys: tuple[tuple[str, str], ...],
    answers: tuple[StubResponse, ...],
    python: bool,
    env_files: tuple[str, ...],
    output_format: str,
) -> None:
    """Tell what mappings do: their upstreams, their routes, and what happens to a request, in its order.

    With --request, one request is walked through step by step: which attempt and which answer are taken, and
    the calls that would be made, with nothing sent anywhere. A call to another mapping of PATH is answered by
    it, any other by --answer; without one the walk ends there. No key is needed for it.

    Secrets are never shown: '***' stands in their place.

    \b
    dragoman explain mappings/shop.yaml                                  all of it
    dragoman explain mappings/shop.yaml --route 'POST /orders'           one route
    dragoman explain mappings/shop.yaml --route 'POST /orders' --python  its generated code
    dragoman explain mappings/shop.yaml --request 'POST /orders' --body order.json --answer 404

    \b
    Exit status: 0 explained, 1 findings, no such route, or the request failed, 2 wrong usage.
    """
    is_given = body is not None or bool(headers or querys or answers)
    if request is None and is_given:
        raise click.UsageError("--body, --header, --query and --answer need --request")
    if request is not None and (route is not None or python):
        raise click.UsageError("--request stands without --route and --python")
    made = None if request is None else _request(request, body or b"", headers, querys)
    asked = _Asked(route or "", made, answers, python)
    sys.exit(run(paths, asked, env_files, output_format))


def _request(
    name: str, body: bytes, headers: tuple[tuple[str, str], ...], parameters: tuple[tuple[str, str], ...]
) -> Request:
    method, _, target = name.partition(" ")
    path, _, query = target.partition("?")
    query = "&".join(filter(None, (query, urlencode(parameters))))
    return Request(method, path, query, headers, body)


def run(paths: tuple[str, ...], asked: _Asked, env_files: tuple[str, ...], output_format: str) -> int:
    """Explain the files of `paths`; the exit status."""
    findings, environ = Findings(), options.environment(env_files)
    specs = load(source_files(paths, findings), findings)
    compile_set(specs, environ, findings, served_together=False)
    if findings.has_errors:
        render.findings(findings, output_format)
        return 1
    try:
        entries, status = _told(Explainer(specs, environ), asked)
    except LookupError as error:
        render.line(str(error.args[0]), stderr=True, style="red")
        return 1
    if output_format == "json":
        print(json.dumps([entry.as_data() for entry in entries], indent=2, ensure_ascii=False))
    else:
        render.entries(entries)
    return status


def _told(explainer: Explainer, asked: _Asked) -> tuple[Sequence[Entry], int]:
    if asked.request is not None:
        trace = explainer.trace(asked.request, asked.answers)
        return trace.steps, 1 if trace.has_failed else 0
    if asked.python:
        return explainer.python(asked.route), 0
    return (explainer.route(asked.route) if asked.route else explainer.everything()), 0
