"""Functions that generated code of templates calls at request time.

Contract: `NAMES` has all of them by the names that generated code uses, including those of expressions. They
raise an `EvaluationError` that names types, never values.
Must not know nodes or how code is written.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from engine.errors import EvaluationError
from engine.language.expressions import SUPPORT
from engine.values import ABSENT, JsonError, text, type_name

#: How deeply templates may use themselves.
MAX_RECURSION: Final = 64


def each(value: Any) -> list[Any]:
    """The items of `$each`: a list's items, or an object's `{key, value}` pairs."""
    if type(value) is list:
        return value
    if type(value) is dict:
        return [{"key": key, "value": item} for key, item in value.items()]
    raise EvaluationError(f"$each takes a list or an object, got {type_name(value)}")


def spread(result: dict[str, Any], value: Any) -> None:
    """Put the value of `$spread` into `result`: the keys of an object, or of each object of a list."""
    for item in value if type(value) is list else (value,):
        spread_one(result, item)


def spread_one(result: dict[str, Any], item: Any) -> None:
    """Put the keys of an object into `result`; nothing for null."""
    if type(item) is dict:
        result.update(item)
    elif item is not None:
        raise EvaluationError(f"$spread takes an object or a list of objects, got {type_name(item)}")


def concat(result: list[Any], value: Any) -> None:
    """Append the entries of a computed `$concat` to `result`."""
    if type(value) is list:
        for entry in value:
            concat_one(result, entry)
    elif value is not None:
        raise EvaluationError(f"$concat takes a list, got {type_name(value)}")


def concat_one(result: list[Any], entry: Any) -> None:
    """Append one entry of `$concat` to `result`: a list's items, or the value itself."""
    if type(entry) is list:
        result.extend(entry)
    elif entry is not None:
        result.append(entry)


def raise_depth_error(name: str) -> NoReturn:
    """Raise the error about a template that uses itself too deeply."""
    message = f"the template '{name}' uses itself more than {MAX_RECURSION} levels deep"
    raise EvaluationError(message, for_client=True)


def interpolated(value: Any) -> str:
    """A value inside longer text."""
    try:
        return text(value)
    except JsonError as error:
        raise EvaluationError(f"a value inside text {error.problem}") from None


#: Everything that generated code of templates refers to, by name.
NAMES: Final[dict[str, Any]] = {
    **SUPPORT,
    "ABSENT": ABSENT,
    "text": interpolated,
    "each": each,
    "spread": spread,
    "spread_one": spread_one,
    "concat": concat,
    "concat_one": concat_one,
    "raise_depth_error": raise_depth_error,
}
