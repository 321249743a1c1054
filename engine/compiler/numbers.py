"""Whole numbers of a mapping, such as `connections`: literal, or one `${ … }` that is evaluated at load.

Contract: the range is that of the key in the schema. A finding names the variables that were read, never
their values. Must not know which keys there are.
"""

from __future__ import annotations

from typing import Any

from engine.compiler.context import MappingContext
from engine.language.schema import schema_named
from engine.language.spec import DEFINITIONS
from engine.language.spec_reader import Spec, defaults
from engine.language.templates import single_expression
from engine.locations import Node
from engine.values import ABSENT, JsonError, loads


def number(context: MappingContext, spec: Spec, key: str) -> int:
    """The number under a key; its default if it has no value, or after a finding."""
    given = given_number(context, spec, key)
    default: int = defaults(type(spec))[key]
    return default if given is None else given


def given_number(context: MappingContext, spec: Spec, key: str) -> int | None:
    """The number that the file gives under a key; None if it has no value, or after a finding."""
    node = getattr(spec, key)
    if not isinstance(node, Node):
        return None
    if not isinstance(node.value, str):
        return int(node.value)
    if single_expression(node.value) is None:
        context.findings.error("bad-value", f"{_expected(spec, key)}, or one ${{ … }}", node.span)
        return None
    value, names = context.environment.evaluate_with_names(node, key, secrets=False)
    if value is ABSENT:
        return None
    found = _whole(value)
    if found is None or not _is_in_range(found, _part(spec, key)):
        context.findings.error("bad-value", f"{names}{_expected(spec, key)}", node.span)
        return None
    return found


def _whole(value: Any) -> int | None:
    """The value of a whole number, or of text that is one as JSON; None for anything else."""
    if isinstance(value, str):
        try:
            value = loads(value.encode())
        except (JsonError, UnicodeEncodeError):
            return None
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _is_in_range(number: int, part: dict[str, Any]) -> bool:
    return bool(part["minimum"] <= number <= part.get("maximum", number))


def _expected(spec: Spec, key: str) -> str:
    part = _part(spec, key)
    end = f" to {part['maximum']}" if "maximum" in part else ""
    return f"expected a whole number from {part['minimum']}{end}"


def _part(spec: Spec, key: str) -> dict[str, Any]:
    """The part of the schema that defines a key."""
    part: dict[str, Any] = schema_named("mapping")["definitions"][DEFINITIONS[type(spec)]]["properties"][key]
    return part
