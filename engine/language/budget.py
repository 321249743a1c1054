"""The limits of an exchange: how many steps its loops may take, and how many bytes it may produce.

Contract: generated code subtracts from `Budget.steps` and `Budget.bytes` before it does the work, and calls
`raise_limit_error` if one of them is below zero. A step is one iteration of a generated loop, one item that a
function iterates over, or 64 characters of a long text. Bytes are counted as compact JSON: approximately for
values created in loops, exactly for output.
Must not know mappings, expressions or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from engine.errors import EvaluationError

#: Texts of up to this many characters cost no steps.
SHORT_TEXT: Final = 255
#: A longer text costs a step for every 64 characters: its length shifted by this many bits.
TEXT_SHIFT: Final = 6

#: The types of values that contain others.
CONTAINERS: Final = frozenset((list, dict))

#: The budget for the error response after the budget of the exchange is exhausted.
_RESERVE_STEPS: Final = 10_000
_RESERVE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one exchange, by the names of the mapping key `limits`."""

    steps: int = 10_000_000
    bytes: int = 64 * 1024 * 1024


DEFAULT_LIMITS: Final = Limits()


class Budget:
    """The remaining budget of one exchange.

    Attributes:
        steps: the remaining loop steps; below zero after the limit is exceeded.
        bytes: the remaining bytes of values that the exchange may create, likewise.
        output: the remaining bytes that may be written, likewise.
        received: bytes that have been read from the client and from upstreams; values from another mapping
            count with their maximum size.
        limits: the limits that the budget started with.
    """

    __slots__ = ("bytes", "limits", "output", "received", "steps")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.steps = limits.steps
        self.bytes = self.output = limits.bytes
        self.received = 0

    def limit(self, limits: Limits) -> None:
        """Restart with other limits."""
        self.limits = limits
        self.steps = limits.steps
        self.bytes = self.output = limits.bytes

    @property
    def steps_taken(self) -> int:
        """Loop steps taken so far."""
        return self.limits.steps - self.steps

    def reserve(self) -> None:
        """Ensure that enough remains for an error response."""
        self.steps = max(self.steps, _RESERVE_STEPS)
        self.bytes = max(self.bytes, _RESERVE_BYTES)
        self.output = max(self.output, _RESERVE_BYTES)


def raise_limit_error(budget: Budget) -> NoReturn:
    """Raise the error about the exceeded limit; generated code calls it if the budget is below zero."""
    limits = budget.limits
    if budget.steps < 0:
        budget.steps = 0
        message = f"the limit of {limits.steps} loop steps is exceeded (limits.steps)"
        raise EvaluationError(message, for_client=True)
    budget.bytes = 0
    message = f"the limit of {limits.bytes} bytes is exceeded (limits.bytes)"
    raise EvaluationError(message, for_client=True)


def take_steps(budget: Budget, steps: int) -> None:
    """Spend steps; raises `EvaluationError` if fewer remain."""
    budget.steps -= steps
    if budget.steps < 0:
        raise_limit_error(budget)


def take_bytes(budget: Budget, size: int) -> None:
    """Spend bytes; raises `EvaluationError` if fewer remain."""
    budget.bytes -= size
    if budget.bytes < 0:
        raise_limit_error(budget)


def take_text(budget: Budget, text: str) -> None:
    """Spend the steps for processing a long text."""
    take_steps(budget, len(text) >> TEXT_SHIFT)


def take_items(budget: Budget, value: Any) -> None:
    """Spend the steps for iterating over a list, an object or a text."""
    if type(value) is str:
        take_text(budget, value)
    elif value is not None:
        take_steps(budget, len(value))


def take_value(budget: Budget, value: Any) -> None:
    """Spend the bytes of one more occurrence of a value.

    The charge for a loop includes numbers, booleans and null.
    """
    kind = type(value)
    if kind is str:
        take_bytes(budget, len(value))
    elif kind is list or kind is dict:
        take_bytes(budget, json_size(value, budget.bytes))


def check_value(budget: Budget, value: Any) -> None:
    """Spend the steps for traversing a value at any depth; it must not be larger than the remaining bytes."""
    size = json_size(value, budget.bytes)
    if size > budget.bytes:
        budget.bytes = -1
        raise_limit_error(budget)
    take_steps(budget, size >> TEXT_SHIFT)


def json_size(value: Any, most: int) -> int:
    """The approximate size of a value as compact JSON, without escapes and with a fixed size for numbers.

    A value that occurs several times counts each time. Measuring stops above `most`; the result is then above
    it too.
    """
    size = 0
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is str:
            size += len(item) + 2
        elif kind is dict:
            size += 2 + 4 * len(item)
            if size > most:
                break
            size += sum(map(len, item))
            pending.extend(item.values())
        elif kind is list:
            size += 2 + len(item)
            if size > most:
                break
            pending.extend(item)
        else:
            size += 4
        if size > most:
            break
    return size


#: Everything that generated code refers to, by name.
NAMES: Final[dict[str, Any]] = {
    "CONTAINERS": CONTAINERS,
    "check_value": check_value,
    "raise_limit_error": raise_limit_error,
    "take_bytes": take_bytes,
    "take_items": take_items,
    "take_text": take_text,
    "take_value": take_value,
}
