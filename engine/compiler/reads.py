"""Derives what a route reads: fields of the client's body, the upstream's response, other calls.

Contract: the only source is `Uses` of its templates, neither generated code nor the text of expressions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from engine.language.expressions import CLIENT_BODY
from engine.language.uses import ITEM, TESTED, AllExcept, Step, Uses, VariablePath
from engine.plan import OTHERS, ReadTree

#: Variables whose uses determine how an exchange runs.
RESPONSE_BODY: Final[VariablePath] = ("upstream", "body")
RESPONSE_STATUS: Final[VariablePath] = ("upstream", "status")
REQUEST_HEADERS: Final[VariablePath] = ("request", "headers")
REQUEST_KEY: Final[VariablePath] = ("request", "key")
_CALLS: Final[VariablePath] = ("calls",)
#: Variables whose values are known when a mapping is loaded.
_KNOWN_AT_LOAD: Final = frozenset(("env", "is_set", "vars", "dragoman"))


def is_known_at_load(uses: Uses) -> bool:
    """Whether a template has the same value for every request: no request, clock or randomness is read."""
    return uses.is_constant(_KNOWN_AT_LOAD)


def client_fields(uses: Uses) -> frozenset[VariablePath]:
    """The paths in the client's body that templates read."""
    return uses.reads_below(CLIENT_BODY)


def calls_read(uses: Uses) -> frozenset[str]:
    """The names of the calls whose results are evaluated, and must therefore be complete."""
    return frozenset(str(path[0]) for path in uses.references_below(_CALLS) if path)


def calls_parsed(uses: Uses) -> frozenset[str]:
    """The names of the calls whose response bodies must be parsed."""
    read = {str(path[0]) for path in uses.reads_below(_CALLS) if path and _includes_body(path[1:])}
    evaluated = {str(path[0]) for path in uses.references_below(_CALLS) if _field(path[1:])[:1] == ("body",)}
    return frozenset(read | evaluated)


def _includes_body(path: VariablePath) -> bool:
    """Whether a path into a call's result (a list of results, for a call with `each`) includes the body."""
    field = _field(path)
    if not field or field[0] == "body":
        return True
    return isinstance(field[0], AllExcept) and "body" not in field[0].names


def _field(path: VariablePath) -> VariablePath:
    return path[1:] if path[:1] == (ITEM,) else path


def request_headers(uses: Uses) -> tuple[str, ...] | None:
    """The sorted names of the request headers that are read; None if they are not known at load."""
    steps = [path[0] for path in uses.references_below(REQUEST_HEADERS) if path]
    names = {step for step in steps if isinstance(step, str)}
    is_any = () in uses.reads_below(REQUEST_HEADERS) or len(names) < len(set(steps))
    return None if is_any else tuple(sorted(names))


def env_read(uses: Uses) -> frozenset[str]:
    """The names of the environment variables that are evaluated."""
    return frozenset(str(path[0]) for path in uses.references_below(("env",)) if path)


def sources_of(uses: Uses) -> frozenset[str]:
    """The sources of the values read: results of other `calls`, the `client`'s request, or both."""
    sources = {"calls": uses.refers_to(_CALLS), "client": uses.refers_to(("request",))}
    return frozenset(name for name, is_read in sources.items() if is_read)


def error_kind(uses: Uses) -> str:
    """The kind of error for an unusable value: an upstream error if results of other calls are read."""
    return "upstream_error" if "calls" in sources_of(uses) else "invalid_request"


def read_tree(paths: Iterable[VariablePath]) -> ReadTree:
    """The paths as a tree. A value that is read includes everything in it; one only tested, nothing."""
    tree: dict[Any, Any] = {}
    for path in sorted(paths, key=len):
        if not path:
            return True
        branch: Any = tree
        for step in path[:-1]:
            branch = branch is True or _below(branch, step)
        if isinstance(branch, dict):
            _mark(branch, path[-1])
    return tree


def _below(branch: dict[Any, Any], step: Step) -> Any:
    """The tree below a step. Paths that exclude fields precede the longer paths that they include."""
    is_read = OTHERS in branch and step not in branch[OTHERS]
    return is_read or branch.setdefault(step, {})


def _mark(branch: dict[Any, Any], last: Step) -> None:
    if isinstance(last, AllExcept):
        branch[OTHERS] = last.names & branch.get(OTHERS, last.names)
    elif last != TESTED:
        branch[last] = True
