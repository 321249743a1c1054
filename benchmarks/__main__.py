"""The command line of the request path benchmark.

python -m benchmarks [--quick] [--only NAME]... [--measure NAME]... [--against PATH] [--json FILE] [--install]

With --against, compares this checkout with another one by the CPU time that each takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import report
from benchmarks.contenders import CONTENDERS, DRAGOMAN, Contender, litellm
from benchmarks.contenders.dragoman import checkout
from benchmarks.measures import MEASURES, Measure
from benchmarks.path import QUICK, Extent, run

_VERSIONS = ("uvicorn", "uvloop", "starlette", "httpx", "httptools", "orjson")

T = TypeVar("T")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the request path.")
    names = [each.name for each in CONTENDERS]
    measures = [each.name for each in MEASURES]
    parser.add_argument("--quick", action="store_true", help="a short, less precise run")
    parser.add_argument("--only", action="append", choices=names, help="run this contender only; repeatable")
    parser.add_argument(
        "--measure", action="append", choices=measures, help="take this measure only; repeatable"
    )
    parser.add_argument(
        "--against", type=Path, metavar="PATH", help="compare with another checkout of this project"
    )
    parser.add_argument("--rounds", type=int, help="number of rounds; each starts new processes")
    parser.add_argument("--seconds", type=float, help="duration of a slice")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw results to FILE")
    parser.add_argument(
        "--install", action="store_true", help="first install LiteLLM in the user's cache directory"
    )
    arguments = parser.parse_args()
    try:
        arguments.against = arguments.against and checkout(arguments.against)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _extent(arguments: argparse.Namespace) -> Extent:
    given = {name: getattr(arguments, name) for name in ("rounds", "seconds")}
    extent = QUICK if arguments.quick else Extent()
    return dataclasses.replace(extent, **{name: value for name, value in given.items() if value})


def _contenders(arguments: argparse.Namespace) -> list[Contender]:
    if arguments.against is None:
        return _chosen(CONTENDERS, arguments.only)
    return [*_chosen(CONTENDERS, [DRAGOMAN.name, *(arguments.only or ())]), arguments.against]


def _measures(arguments: argparse.Namespace) -> list[Measure]:
    """The chosen measures; the CPU measures if two checkouts are compared and none was chosen."""
    if arguments.against is None or arguments.measure:
        return _chosen(MEASURES, arguments.measure)
    return [each for each in MEASURES if each.name.endswith("-cpu")]


def _chosen(table: Iterable[T], names: Sequence[str] | None) -> list[T]:
    return [each for each in table if names is None or each.name in names]  # type: ignore[attr-defined]


def _about(extent: Extent) -> dict[str, Any]:
    """The machine, versions and options of the run."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    return {"cores": cores, "versions": found, "extent": dataclasses.asdict(extent)}


def main() -> int:
    if not sys.platform.startswith("linux"):
        print("the benchmark of the request path needs Linux", file=sys.stderr)
        return 2
    arguments = _arguments()
    if arguments.install:
        litellm.install()
    extent = _extent(arguments)
    about = _about(extent)
    results = run(extent, _contenders(arguments), _measures(arguments))
    results.about = about
    print(report.text(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results.as_json(), indent=1, ensure_ascii=False) + "\n")
    return 1 if results.broken else 0


if __name__ == "__main__":
    sys.exit(main())
