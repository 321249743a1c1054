"""Functions that generated code of expressions calls at request time.

Contract: `SUPPORT` has all of them by the names that generated code uses. They raise an
`EvaluationError` that names types, never values.
Must not know syntax trees or how code is written.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import EvaluationError
from engine.language import budget as limits
from engine.language.functions import Function, Parameter
from engine.values import equal, less, less_equal, type_name


def bad_argument(function: Function, position: int, value: Any) -> None:
    """Raise an error about an argument of a wrong type."""
    raise EvaluationError(wrong_type(function, position, type_name(value)))


def wrong_type(function: Function, position: int, got: str) -> str:
    """The message about an argument of a wrong type."""
    parameter = parameter_at(function, position)
    wanted = " or ".join(sorted(parameter.types))
    if parameter.items:
        wanted += f" of {' or '.join(sorted(parameter.items))}"
    return f"{function.name}() takes {wanted} as argument {position + 1} ('{parameter.name}'), got {got}"


def parameter_at(function: Function, position: int) -> Parameter:
    """The parameter of the argument at a position; the last one takes all further arguments."""
    return function.parameters[min(position, len(function.parameters) - 1)]


def items_match(parameter: Parameter, value: Any) -> bool:
    """Whether all items of an array have the same type, one of the parameter's item types."""
    if type(value) is not list or not value or not parameter.items:
        return True
    kinds = {type_name(item) for item in value}
    return len(kinds) == 1 and kinds <= parameter.items


def equal_within(budget: limits.Budget, left: Any, right: Any) -> bool:
    """JMESPath's == for values that can be compared repeatedly; charges for its time."""
    kind = type(left)
    if kind is str:
        if len(left) > limits.SHORT_TEXT:
            limits.take_text(budget, left)
    elif kind in limits.CONTAINERS and kind is type(right):
        limits.check_value(budget, left)
    return equal(left, right)


def less_within(budget: limits.Budget, left: Any, right: Any) -> bool | None:
    """`less`, which charges for its time."""
    if type(left) is str and len(left) > limits.SHORT_TEXT:
        limits.take_text(budget, left)
    return less(left, right)


def less_equal_within(budget: limits.Budget, left: Any, right: Any) -> bool | None:
    """`less_equal`, which charges for its time."""
    if type(left) is str and len(left) > limits.SHORT_TEXT:
        limits.take_text(budget, left)
    return less_equal(left, right)


#: Everything that generated code of expressions calls, by name.
SUPPORT: Final[dict[str, Any]] = {
    **limits.NAMES,
    "equal": equal,
    "equal_within": equal_within,
    "less": less,
    "less_within": less_within,
    "less_equal_within": less_equal_within,
    "less_equal": less_equal,
    "bad_argument": bad_argument,
    "items_match": items_match,
    "NO_FIELDS": {},
}
