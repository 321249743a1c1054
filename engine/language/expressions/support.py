"""What generated code of expressions calls while a request runs.

Contract: `SUPPORT` is all of it, by the names that generated code uses. What fails raises an
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
    """Called by generated code where an argument's type is wrong."""
    raise EvaluationError(wrong_type(function, position, type_name(value)))


def wrong_type(function: Function, position: int, got: str) -> str:
    """The sentence that says which argument is of a wrong type."""
    parameter = parameter_at(function, position)
    wanted = " or ".join(sorted(parameter.types))
    if parameter.items:
        wanted += f" of {' or '.join(sorted(parameter.items))}"
    return f"{function.name}() takes {wanted} as argument {position + 1} ('{parameter.name}'), got {got}"


def parameter_at(function: Function, position: int) -> Parameter:
    """The parameter that an argument fills; the last one fills up with all that follow."""
    return function.parameters[min(position, len(function.parameters) - 1)]


def items_fit(parameter: Parameter, value: Any) -> bool:
    """Whether all items of an array are of one of the parameter's item types, all of the same."""
    if type(value) is not list or not value or not parameter.items:
        return True
    kinds = {type_name(item) for item in value}
    return len(kinds) == 1 and kinds <= parameter.items


def equal_within(budget: limits.Budget, left: Any, right: Any) -> bool:
    """JMESPath's ==, at the cost of its time, of values that can be compared again and again."""
    kind = type(left)
    if kind is str:
        if len(left) > limits.SHORT_TEXT:
            limits.take_text(budget, left)
    elif kind in limits.CONTAINERS and kind is type(right):
        limits.check_value(budget, left)
    return equal(left, right)


def less_within(budget: limits.Budget, left: Any, right: Any) -> bool | None:
    """`less`, at the cost of its time, likewise."""
    if type(left) is str and len(left) > limits.SHORT_TEXT:
        limits.take_text(budget, left)
    return less(left, right)


def less_equal_within(budget: limits.Budget, left: Any, right: Any) -> bool | None:
    """`less_equal`, at the cost of its time, likewise."""
    if type(left) is str and len(left) > limits.SHORT_TEXT:
        limits.take_text(budget, left)
    return less_equal(left, right)


#: What generated code of expressions calls.
SUPPORT: Final[dict[str, Any]] = {
    **limits.NAMES,
    "equal": equal,
    "equal_within": equal_within,
    "less": less,
    "less_within": less_within,
    "less_equal_within": less_equal_within,
    "less_equal": less_equal,
    "bad_argument": bad_argument,
    "items_fit": items_fit,
}
