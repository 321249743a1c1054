"""The limits of an exchange: how many steps its loops may take, and how many bytes it may produce.

Contract: generated code subtracts from `Budget.steps` and `Budget.bytes` before it does the work, and calls
`raise_limit_error` where one of them falls below zero. A step is one iteration of a generated loop, one item
that a function goes through, or 64 characters of a long text. Bytes are counted as compact JSON, roughly for
what loops make, exactly for what is written.
Must not know mappings, expressions or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from engine.errors import EvaluationError

#: Texts up to this many characters cost no steps of their own.
SHORT_TEXT: Final = 255
#: A longer text costs a step for every 64 characters: a shift by as many bits.
TEXT_SHIFT: Final = 6

#: The types of values that hold others.
CONTAINERS: Final = frozenset((list, dict))

#: What is left to describe an error once the budget of the exchange is spent.
_RESERVE_STEPS: Final = 10_000
_RESERVE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may take, with the names of the mapping key `limits`."""

    steps: int = 10_000_000
    bytes: int = 64 * 1024 * 1024


DEFAULT_LIMITS: Final = Limits()


class Budget:
    """What is left of the limits of one exchange.

    Attributes:
        steps: loop steps that are left; below zero once they are exceeded.
        bytes: bytes that values may still take that the exchange makes, likewise.
        output: bytes that may still be written, likewise.
        received: bytes that have been read from the client and from upstreams; values taken over from another
            mapping count with the most that they can be.
        limits: the limits the budget started with.
    """

    __slots__ = ("bytes", "limits", "output", "received", "steps")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.steps = limits.steps
        self.bytes = self.output = limits.bytes
        self.received = 0

    def limit(self, limits: Limits) -> None:
        """Start with other limits."""
        self.limits = limits
        self.steps = limits.steps
        self.bytes = self.output = limits.bytes

    @property
    def steps_taken(self) -> int:
        """Loop steps taken so far."""
        return self.limits.steps - self.steps

    def reserve(self) -> None:
        """Leave enough to describe an error, however little is left."""
        self.steps = max(self.steps, _RESERVE_STEPS)
        self.bytes = max(self.bytes, _RESERVE_BYTES)
        self.output = max(self.output, _RESERVE_BYTES)


def raise_limit_error(budget: Budget) -> NoReturn:
    """Called by generated code once a limit is exceeded."""
    limits = budget.limits
    if budget.steps < 0:
        budget.steps = 0
        raise EvaluationError(f"it takes more than {limits.steps} loop steps (limits.steps)", for_client=True)
    budget.bytes = 0
    raise EvaluationError(f"it produces more than {limits.bytes} bytes (limits.bytes)", for_client=True)


def take_steps(budget: Budget, steps: int) -> None:
    """Spend steps; raises `EvaluationError` where there are not as many."""
    budget.steps -= steps
    if budget.steps < 0:
        raise_limit_error(budget)


def take_bytes(budget: Budget, size: int) -> None:
    """Spend bytes; raises `EvaluationError` where there are not as many."""
    budget.bytes -= size
    if budget.bytes < 0:
        raise_limit_error(budget)


def take_text(budget: Budget, text: str) -> None:
    """Spend the steps of going through a long text."""
    take_steps(budget, len(text) >> TEXT_SHIFT)


def take_items(budget: Budget, value: Any) -> None:
    """Spend the steps of going through a list, an object or a text, whichever it is."""
    if type(value) is str:
        take_text(budget, value)
    elif value is not None:
        take_steps(budget, len(value))


def take_value(budget: Budget, value: Any) -> None:
    """Spend the bytes of one more place that holds a value.

    Numbers, booleans and null are part of what a loop is charged for.
    """
    kind = type(value)
    if kind is str:
        take_bytes(budget, len(value))
    elif kind is list or kind is dict:
        take_bytes(budget, json_size(value, budget.bytes))


def check_value(budget: Budget, value: Any) -> None:
    """Spend the steps of going through a value at any depth, which must be no larger than the bytes that are
    left."""
    size = json_size(value, budget.bytes)
    if size > budget.bytes:
        budget.bytes = -1
        raise_limit_error(budget)
    take_steps(budget, size >> TEXT_SHIFT)


def json_size(value: Any, most: int) -> int:
    """The size of a value as compact JSON, about: escapes and the digits of numbers are not looked at.

    A value that stands in several places counts in each. Measuring stops above `most`; then the result is
    above it too.
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


#: What generated code refers to.
NAMES: Final[dict[str, Any]] = {
    "CONTAINERS": CONTAINERS,
    "check_value": check_value,
    "raise_limit_error": raise_limit_error,
    "take_bytes": take_bytes,
    "take_items": take_items,
    "take_text": take_text,
    "take_value": take_value,
}
