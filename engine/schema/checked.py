"""JSON Schemas that mappings hold for bodies: whether they are any, and what in a body does not fit them.

Contract: a `$ref` is resolved inside its schema or not at all: nothing is fetched. A misfit speaks of the
schema, never of the value, which is payload. Imported where a mapping has such a schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import referencing
import referencing.exceptions
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match, relevance

from engine.schema.bodies import BodySchemaError, Misfit
from engine.schema.simple import MESSAGES, written
from engine.source import Path

#: A ValidationError of an error found, in which nothing is `Unset`, whatever its stubs allow for.
_Error: TypeAlias = Any


class Checked:
    """A schema (2020-12) that bodies are checked with.

    Raises:
        BodySchemaError: it is no schema, or a `$ref` in it cannot be resolved inside it.
    """

    def __init__(self, schema: Any) -> None:
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            message = f"not a JSON Schema: {error.message}"
            raise BodySchemaError(message, tuple(error.absolute_path)) from None
        validator: Any = Draft202012Validator(schema, registry=referencing.Registry())
        for path, reference in _references(schema, ()):
            try:
                validator._resolver.lookup(reference)
            except referencing.exceptions.Unresolvable:
                message = "a $ref must point inside its own schema; nothing is fetched"
                raise BodySchemaError(message, path) from None
        self._validator = validator

    def misfit(self, body: Any) -> Misfit | None:
        """The most telling misfit of a body; None where it fits."""
        most_relevant = _most_relevant(self._validator.iter_errors(body))
        if most_relevant is None:
            return None
        error: _Error = best_match([most_relevant])
        found = {
            "path": written(tuple(error.absolute_path)),
            "rule": str(error.validator),
            "message": _told(error),
        }
        _release(most_relevant)
        return found


def _most_relevant(errors: Iterable[_Error]) -> _Error | None:
    """The error that `best_match` begins with; all others are released."""
    best: _Error | None = None
    for error in errors:
        winner = error if best is None else max(best, error, key=relevance)
        if best is not None:
            _release(error if winner is best else best)
        best = winner
    return best


def _release(error: _Error) -> None:
    """Break the cycles between an error and those below it: each holds a part of the body."""
    error.parent = None
    for each in error.context:
        _release(each)


def _references(schema: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield (*path, key), value
            else:
                yield from _references(value, (*path, key))
    elif isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from _references(item, (*path, number))


def _told(error: _Error) -> str:
    rule, wanted = str(error.validator), error.validator_value
    if rule in MESSAGES:
        return MESSAGES[rule](wanted, error.instance)
    if rule == "additionalProperties":
        return "has a field that is not allowed"
    if rule == "enum":
        return f"must be one of {json.dumps(wanted)}"
    return f"must satisfy {rule}: {json.dumps(wanted)[:200]}"
