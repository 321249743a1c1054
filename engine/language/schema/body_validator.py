"""Validation of the JSON Schemas for bodies in mappings, and of bodies against them.

Contract: a body is validated in time linear in its size for any schema: patterns never backtrack, and only
one error of an invalid body is reported. A `$ref` is resolved inside its schema; nothing is fetched. Error
messages describe the schema, never the value, which is payload, and are bounded. The only importer of
jsonschema_rs; imported only for mappings that have such a schema.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import jsonschema_rs

from engine.language.schema.body_schema_errors import BodySchemaError, ValidationError
from engine.language.schema.subschemas import CHOICES, keyword_of, subschemas, without_branch_errors
from engine.locations import Path
from engine.values import dumps_ascii, loads, type_name

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

#: The URI under which a schema refers to its own parts when errors are located.
_SELF: Final = "https://body.invalid/schema"
#: Errors are located only in bodies of up to this many values, because it takes a copy of a part of the body.
MAX_LOCATED: Final = 50_000
#: The maximum number of branches of choices that are searched for the most specific error.
_MAX_BRANCHES: Final = 64
_MAX_TEXT: Final = 200
_REFERENCES: Final = frozenset(("$ref", "$dynamicRef"))

#: A JSON escape that is not a surrogate, a pair of surrogates, or a lone surrogate.
_SURROGATE: Final = re.compile(
    r"(\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"
)

_PATTERN: Final = (
    "is not a regular expression for linear time, which has no look-around and no backreferences"
)

_UNLOCATED: Final[ValidationError] = {"path": "", "rule": "schema", "message": "does not match the schema"}


def _validator(schema: Any, **options: Any) -> jsonschema_rs.Draft202012Validator:
    """A validator with the linear-time engine for patterns, without formats, without a network."""
    return jsonschema_rs.Draft202012Validator(
        schema,
        pattern_options=jsonschema_rs.RegexOptions(),
        validate_formats=False,
        offline=True,
        **options,
    )


class BodyValidator:
    """A schema (2020-12) that validates bodies.

    Raises:
        BodySchemaError: it is not a valid schema, or a `$ref` in it cannot be resolved inside it.
    """

    def __init__(self, schema: Any) -> None:
        _check_draft(schema)
        try:
            self._is_valid = _validator(schema).is_valid
        except jsonschema_rs.ValidationError as error:
            raise _refusal(schema, error) from None
        except ValueError:
            raise BodySchemaError("invalid JSON Schema: nested too deeply, or a lone surrogate", ()) from None
        self._locate = _error_locator(schema)

    def find_error(self, body: Any) -> ValidationError | None:
        """The most specific validation error of a body; None if it is valid."""
        try:
            return None if self._is_valid(body) else self._locate(body)
        except UnicodeEncodeError:
            body = _without_surrogates(body)
            return None if self._is_valid(body) else self._locate(body)


# --- Invalid schemas -------------------------------------------------------------------------------------


def _check_draft(schema: Any) -> None:
    for path, part in subschemas(schema):
        wanted = part.get("$schema", DRAFT)
        if isinstance(wanted, str) and wanted.removesuffix("#") != DRAFT:
            raise BodySchemaError(f"schemas of bodies must use 2020-12 ({DRAFT})", (*path, "$schema"))


def _refusal(schema: Any, error: jsonschema_rs.ValidationError) -> BodySchemaError:
    path = tuple(error.instance_path)
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Referencing):
        return BodySchemaError("a $ref must refer to its own schema; nothing is fetched", _unresolved(schema))
    if path[-1:] == ("pattern",) or path[-2:-1] == ("patternProperties",):
        return BodySchemaError(
            f"invalid JSON Schema: '{_truncated(_pattern(schema, path))}' {_PATTERN}", path
        )
    return BodySchemaError(f"invalid JSON Schema: {_truncated(error.message)}", path)


def _pattern(schema: Any, path: Path) -> str:
    return str(path[-1] if path[-2:-1] == ("patternProperties",) else _at(schema, path))


def _unresolved(schema: Any) -> Path:
    """The path to the first reference that cannot be resolved; to the schema if all can from its root."""
    bare = copy.deepcopy(schema)
    for _, part in subschemas(bare):
        for keyword in _REFERENCES & part.keys():
            del part[keyword]
    try:
        resolver = jsonschema_rs.Registry([(_SELF, bare)]).resolver(_SELF)
    except ValueError:  # an invalid `$id`
        return ()
    for path, part in subschemas(schema):
        for keyword in _REFERENCES & part.keys():
            try:
                resolver.lookup(part[keyword])
            except jsonschema_rs.ReferencingError:
                return (*path, keyword)
    return ()


# --- Locating errors in bodies ---------------------------------------------------------------------------

#: An error: the path to the value, and the location of the keyword, as a URI with a JSON Pointer.
_Error = tuple[Path, str]


def _error_locator(schema: Any) -> Callable[[Any], ValidationError]:
    """A function that locates the error of a body. It finds no location for a schema that refers to a branch
    of a choice by its own `$id`, because that cannot be rewritten."""
    try:
        return _ErrorLocator(schema).find_error
    except ValueError:  # jsonschema_rs.ValidationError is one
        return lambda body: _UNLOCATED


class _ErrorLocator:
    """Finds where a body does not match a schema, which is rewritten so that this takes linear time too."""

    def __init__(self, schema: Any) -> None:
        rewritten = without_branch_errors(schema)
        own = schema.get("$id", "") if isinstance(schema, dict) else ""
        self._uri = own if urlsplit(own).scheme else _SELF
        self._registry = jsonschema_rs.Registry([(self._uri, rewritten)])
        self._resolver = self._registry.resolver(self._uri)
        self._validators: dict[str, Any] = {}
        self._root = self._uri if "#" in self._uri else f"{self._uri}#"
        self._first_error(None, self._root)

    def find_error(self, body: Any) -> ValidationError:
        """The first error, or for a choice the most specific error of its branches."""
        if not _is_small(body):
            return _UNLOCATED
        where: Path = ()
        location, branches_left = "", _MAX_BRANCHES
        branches = [self._root]
        while branches and len(branches) <= branches_left:
            branches_left -= len(branches)
            found = self._most_specific(_at(body, where), branches)
            if found is None:
                break
            where, location = (*where, *found[0]), found[1]
            branches = self._branches(location)
        return self._described(_at(body, where), where, location)

    def _most_specific(self, value: Any, branches: list[str]) -> _Error | None:
        """The error about the deepest value, or about something other than the value that distinguishes
        branches; None if there is no single such error."""
        errors = [error for branch in branches if (error := self._first_error(value, branch)) is not None]
        if len(errors) < len(branches):
            return None  # several branches of a `oneOf` match
        ranks = [_rank(error) for error in errors]
        best = max(ranks)
        return errors[ranks.index(best)] if ranks.count(best) == 1 else None

    def _first_error(self, value: Any, location: str) -> _Error | None:
        if location not in self._validators:
            self._validators[location] = _validator(
                {"$ref": location}, registry=self._registry, mask="a value"
            )
        try:
            self._validators[location].validate(value)
        except jsonschema_rs.ValidationError as error:
            return tuple(error.instance_path), error.absolute_keyword_location or ""
        except UnicodeEncodeError:
            raise
        except ValueError:  # the copy of the value in an error is nested too deeply
            return (), ""
        return None

    def _branches(self, location: str) -> list[str]:
        """The locations of the branches of a choice; empty if the location is not that of a choice."""
        choice = self._choice(location)
        return [] if choice is None else [f"{choice}/{number}" for number in range(len(self._schema(choice)))]

    def _choice(self, location: str) -> str | None:
        """The location of `anyOf` or `oneOf` if a location is the `else` of a rewritten one, else None."""
        condition = location.removesuffix("/else") + "/if"
        for keyword in CHOICES if location.endswith("/else") else ():
            if isinstance(self._schema(f"{condition}/{keyword}"), list):
                return f"{condition}/{keyword}"
        return None

    def _schema(self, location: str) -> Any:
        """The part of the schema at a location, or None."""
        try:
            return self._resolver.lookup(location).contents
        except jsonschema_rs.ReferencingError:
            return None

    def _described(self, value: Any, path: Path, location: str) -> ValidationError:
        if not location:
            return _UNLOCATED
        keyword, location = _keyword(self._choice(location) or location)
        message = _message(keyword, self._schema(location), value)
        return {"path": _truncated(path_text(path)), "rule": keyword, "message": _truncated(message)}


def _keyword(location: str) -> tuple[str, str]:
    """The keyword of an error, and the location of its value."""
    document, _, pointer = location.partition("#")
    keyword, path = keyword_of(pointer.split("/")[1:])
    return keyword or "schema", "/".join((f"{document}#", *path))


def _rank(error: _Error) -> tuple[int, bool, bool]:
    path, location = error
    keyword, _ = _keyword(location)
    return len(path), keyword not in ("const", "enum"), bool(path) or keyword != "type"


def _is_small(body: Any) -> bool:
    """Whether a body has at most `MAX_LOCATED` values."""
    count, level = 1, [body]
    while level:
        containers = [value for value in level if isinstance(value, dict | list) and value]
        count += sum(map(len, containers))
        if count > MAX_LOCATED:
            return False
        level = [item for container in containers for item in _items(container)]
    return True


def _items(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _at(value: Any, path: Sequence[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


def _without_surrogates(value: Any) -> Any:
    """A copy with a private-use character instead of each lone surrogate: different texts remain different
    and have the same lengths."""
    return loads(_SURROGATE.sub(_substitute, dumps_ascii(value)).encode())


def _substitute(escape: re.Match[str]) -> str:
    return escape[0] if escape[1] else chr(0x10F000 + int(escape[2], 16) - 0xD800)


# --- Messages --------------------------------------------------------------------------------------------


def path_text(path: Path) -> str:
    """The path to a value, as shown to people."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _message(rule: str, wanted: Any, value: Any) -> str:
    if rule in _MESSAGES:
        return _MESSAGES[rule](wanted, value)
    return "is not allowed" if wanted is False else f"must satisfy {rule}: {json.dumps(wanted)}"


def _required(wanted: Any, value: Any) -> str:
    missing = [key for key in wanted if key not in value]
    return f"'{missing[0]}' is required"


def _type(wanted: Any, value: Any) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    return f"must be {' or '.join(names)}, not {type_name(value)}"


def _fields(wanted: Any, value: Any) -> str:
    return "has a field that is not allowed"


def _items_not_allowed(wanted: Any, value: Any) -> str:
    return "has an item that is not allowed"


#: Messages of validation errors by keyword: they describe the schema, and only the type of the value.
_MESSAGES: Final[dict[str, Callable[[Any, Any], str]]] = {
    "required": _required,
    "type": _type,
    "enum": lambda wanted, value: f"must be one of {json.dumps(wanted)}",
    "additionalProperties": _fields,
    "unevaluatedProperties": _fields,
    "unevaluatedItems": _items_not_allowed,
}


def _truncated(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
