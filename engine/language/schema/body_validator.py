"""JSON Schemas that mappings have for bodies: whether they are any, and what in a body does not match them.

Contract: a body is checked in time linear in its size, whatever the schema: patterns never backtrack, and
of a body that does not match one error is told. A `$ref` is resolved inside its schema; nothing is fetched.
What is told speaks of the schema, never of the value, which is payload, and is bounded. The only importer of
jsonschema_rs; imported where a mapping has such a schema.
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

#: Where errors are looked for again: the name under which a schema refers to its own parts.
_SELF: Final = "https://body.invalid/schema"
#: The most values of a body that an error is located in: it takes a copy of a part of the body.
MAX_LOCATED: Final = 50_000
#: The most branches of choices that are looked at to find the most telling error.
_MAX_BRANCHES: Final = 64
_MAX_TEXT: Final = 200
_REFERENCES: Final = frozenset(("$ref", "$dynamicRef"))

#: An escape of JSON that is not one of a surrogate, a pair of surrogates, or a lone one.
_SURROGATE: Final = re.compile(
    r"(\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"
)

_PATTERN: Final = (
    "is no regular expression that runs in linear time: it has no look-around and no backreferences"
)

_SOMEWHERE: Final[ValidationError] = {"path": "", "rule": "schema", "message": "does not match the schema"}


def _validator(schema: Any, **options: Any) -> jsonschema_rs.Draft202012Validator:
    """A validator of a schema, with the linear engine for patterns, without formats, without a network."""
    return jsonschema_rs.Draft202012Validator(
        schema,
        pattern_options=jsonschema_rs.RegexOptions(),
        validate_formats=False,
        offline=True,
        **options,
    )


class Checked:
    """A schema (2020-12) that bodies are checked with.

    Raises:
        BodySchemaError: it is no schema, or a `$ref` in it cannot be resolved inside it.
    """

    def __init__(self, schema: Any) -> None:
        _check_draft(schema)
        try:
            self._is_valid = _validator(schema).is_valid
        except jsonschema_rs.ValidationError as error:
            raise _refusal(schema, error) from None
        except ValueError:
            raise BodySchemaError("not a JSON Schema: nested too deeply, or a lone surrogate", ()) from None
        self._located = _located(schema)

    def misfit(self, body: Any) -> ValidationError | None:
        """A telling misfit of a body; None where it fits."""
        try:
            return None if self._is_valid(body) else self._located(body)
        except UnicodeEncodeError:
            body = _without_surrogates(body)
            return None if self._is_valid(body) else self._located(body)


# --- What is no schema -----------------------------------------------------------------------------------


def _check_draft(schema: Any) -> None:
    for path, part in subschemas(schema):
        wanted = part.get("$schema", DRAFT)
        if isinstance(wanted, str) and wanted.removesuffix("#") != DRAFT:
            raise BodySchemaError(f"schemas of bodies are those of 2020-12 ({DRAFT})", (*path, "$schema"))


def _refusal(schema: Any, error: jsonschema_rs.ValidationError) -> BodySchemaError:
    path = tuple(error.instance_path)
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Referencing):
        return BodySchemaError(
            "a $ref must point inside its own schema; nothing is fetched", _unresolved(schema)
        )
    if path[-1:] == ("pattern",) or path[-2:-1] == ("patternProperties",):
        return BodySchemaError(f"not a JSON Schema: '{_cut(_pattern(schema, path))}' {_PATTERN}", path)
    return BodySchemaError(f"not a JSON Schema: {_cut(error.message)}", path)


def _pattern(schema: Any, path: Path) -> str:
    return str(path[-1] if path[-2:-1] == ("patternProperties",) else _at(schema, path))


def _unresolved(schema: Any) -> Path:
    """The path to the first reference that leads nowhere; to the schema, where none does from its root."""
    bare = copy.deepcopy(schema)
    for _, part in subschemas(bare):
        for keyword in _REFERENCES & part.keys():
            del part[keyword]
    try:
        resolver = jsonschema_rs.Registry([(_SELF, bare)]).resolver(_SELF)
    except ValueError:  # an `$id` that is none
        return ()
    for path, part in subschemas(schema):
        for keyword in _REFERENCES & part.keys():
            try:
                resolver.lookup(part[keyword])
            except jsonschema_rs.ReferencingError:
                return (*path, keyword)
    return ()


# --- Where a body does not match -------------------------------------------------------------------------

#: An error: the path to the value, and the location of the keyword, as a URI with a JSON Pointer.
_Error = tuple[Path, str]


def _located(schema: Any) -> Callable[[Any], ValidationError]:
    """What finds where a body does not match. Nothing does for a schema that points into a branch of a choice
    by its own `$id`, as that cannot be rewritten."""
    try:
        return _Located(schema).misfit
    except ValueError:  # jsonschema_rs.ValidationError is one
        return lambda body: _SOMEWHERE


class _Located:
    """Finds where a body does not match a schema, which is rewritten so that this is linear too."""

    def __init__(self, schema: Any) -> None:
        rewritten = without_branch_errors(schema)
        own = schema.get("$id", "") if isinstance(schema, dict) else ""
        self._uri = own if urlsplit(own).scheme else _SELF
        self._registry = jsonschema_rs.Registry([(self._uri, rewritten)])
        self._resolver = self._registry.resolver(self._uri)
        self._validators: dict[str, Any] = {}
        self._root = self._uri if "#" in self._uri else f"{self._uri}#"
        self._first_error(None, self._root)

    def misfit(self, body: Any) -> ValidationError:
        """The first error, and instead of that of a choice the most telling error of its branches."""
        if not _is_small(body):
            return _SOMEWHERE
        where: Path = ()
        location, branches_left = "", _MAX_BRANCHES
        branches = [self._root]
        while branches and len(branches) <= branches_left:
            branches_left -= len(branches)
            found = self._most_telling(_at(body, where), branches)
            if found is None:
                break
            where, location = (*where, *found[0]), found[1]
            branches = self._branches(location)
        return self._told(_at(body, where), where, location)

    def _most_telling(self, value: Any, branches: list[str]) -> _Error | None:
        """The error about a deeper value than the others, or about something else than what tells branches
        apart; None where there is no one such error."""
        errors = [error for branch in branches if (error := self._first_error(value, branch)) is not None]
        if len(errors) < len(branches):
            return None  # of a `oneOf` of which several match
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
        """The locations of the branches of a choice, where an error is that of one."""
        choice = self._choice(location)
        return [] if choice is None else [f"{choice}/{number}" for number in range(len(self._schema(choice)))]

    def _choice(self, location: str) -> str | None:
        """The location of `anyOf` or `oneOf`, where a location is the `else` that a rewritten one has."""
        condition = location.removesuffix("/else") + "/if"
        for keyword in CHOICES if location.endswith("/else") else ():
            if isinstance(self._schema(f"{condition}/{keyword}"), list):
                return f"{condition}/{keyword}"
        return None

    def _schema(self, location: str) -> Any:
        """What the schema has at a location; None for nothing."""
        try:
            return self._resolver.lookup(location).contents
        except jsonschema_rs.ReferencingError:
            return None

    def _told(self, value: Any, path: Path, location: str) -> ValidationError:
        if not location:
            return _SOMEWHERE
        keyword, location = _keyword(self._choice(location) or location)
        message = _message(keyword, self._schema(location), value)
        return {"path": _cut(written(path)), "rule": keyword, "message": _cut(message)}


def _keyword(location: str) -> tuple[str, str]:
    """The keyword that an error is one of, and the location of what it says."""
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
    """A copy in which a character of private use stands for each lone surrogate: texts that differ still do,
    and keep their lengths."""
    return loads(_SURROGATE.sub(_stand_in, dumps_ascii(value)).encode())


def _stand_in(escape: re.Match[str]) -> str:
    return escape[0] if escape[1] else chr(0x10F000 + int(escape[2], 16) - 0xD800)


# --- What is told ----------------------------------------------------------------------------------------


def written(path: Path) -> str:
    """The way to a value, for people."""
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


#: What is said of a misfit, made from what stands in the schema, and of the value no more than its type.
_MESSAGES: Final[dict[str, Callable[[Any, Any], str]]] = {
    "required": _required,
    "type": _type,
    "enum": lambda wanted, value: f"must be one of {json.dumps(wanted)}",
    "additionalProperties": _fields,
    "unevaluatedProperties": _fields,
    "unevaluatedItems": _items_not_allowed,
}


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
