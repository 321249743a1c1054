"""Validates the paths of routes, and finds their parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from engine.http.routing import segments

#: A path without query, fragment, whitespace and backslash.
PLAIN_PATH: Final = re.compile(r"/[^\s?#\\]*\Z")

_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*(:path)?\}\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Parameters of other routers: the segments `:id`, `<id>`, `<int:id>`, `*` and `**`, and `{id}` anywhere.
_FOREIGN = re.compile(
    r"(?<=/):(?P<colon>\w+)[?*+]?(?=/|\Z)|(?<=/)<(?:\w+:)?(?P<angle>\w+)>(?=/|\Z)"
    r"|\{(?P<brace>\w+)(?::path)?\}|(?<=/)\*\*?(?=/|\Z)"
)


def parameters(path: str) -> Mapping[str, str]:
    """The parameters of a route's path, each with its kind; all names in the path if it is invalid."""
    if path_problem(path) is not None:
        return dict.fromkeys(_NAME.findall(path), "")
    return {text: kind for kind, text in segments(path) if kind != "literal"}


def foreign_parameters(path: str) -> Iterator[tuple[int, str, str]]:
    """What is a parameter in other routers: its offset, its text, and the name of the parameter."""
    for match in _FOREIGN.finditer(path):
        name = match["colon"] or match["angle"] or match["brace"]
        yield match.start(), match.group(), name or "rest:path"


def path_problem(path: str) -> str | None:
    """The error message for an invalid path; None for a valid one."""
    if not PLAIN_PATH.match(path):
        return "a route's path must start with '/' and have no whitespace, '?', '#' or backslash"
    parts = path.removeprefix("/").split("/")
    if any(part in (".", "..") for part in parts) or "" in parts[:-1]:
        return "a route's path must have no '.', '..' or empty segment"
    for part in parts:
        if ("{" in part or "}" in part) and not _PARAMETER.match(part):
            return f"'{part}' is not a parameter: a complete segment must be {{name}} or {{name:path}}"
    names = [text for kind, text in segments(path) if kind != "literal"]
    if len(set(names)) < len(names):
        return "a route has duplicate parameter names"
    if [kind for kind, _ in segments(path)].count("rest") > 1:
        return "a route can have only one {name:path}"
    return None
