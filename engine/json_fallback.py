"""JSON that orjson rejects and RFC 8259 allows: lone surrogates, numbers beyond a double, deep nesting.

Contract: called only after orjson has raised an error, so that the usual bodies have no extra cost. A value
that was read here can be written here, as valid JSON in UTF-8: a lone surrogate as its escape, an integer
with all digits. NaN and infinity are neither read nor written.
Must not know HTTP or mappings.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

import orjson

#: The maximum nesting of arrays and objects, for reading and writing: the limit of orjson.
MAX_DEPTH: Final = 1024

#: The maximum digits of a number beyond a double: Python does not convert longer integers from and to text.
MAX_DIGITS: Final = 4300

#: The maximum digits, in total, of the numbers of a text with an exponent beyond a double: `1e4000` takes six
#: bytes of the text, and two thousand of memory.
MAX_EXPANDED_DIGITS: Final = 1_000_000

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: What only orjson rejects: an escaped surrogate; a number with a large exponent, or with many digits.
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_LARGE_NUMBER: Final = re.compile(rb"[eE]\+?[0-9]{3}|(?<![0-9])[0-9]{300}")
#: A string, which may contain text like a number; else a number, or a constant that is not JSON.
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|(-?[0-9][-+.0-9eE]*|NaN|-?Infinity)')

#: The recursion limit belongs to the process.
_LIMIT: Final = threading.Lock()


class JsonError(ValueError):
    """Text that is not JSON (RFC 8259), or a value that cannot be written as JSON.

    Attributes:
        problem: what is wrong, as the predicate of a sentence about the text or value. The error's own text
            is the location or the cause; empty if neither is known.
    """

    def __init__(self, message: str, problem: str = "is invalid JSON") -> None:
        super().__init__(message)
        self.problem = problem

    @property
    def predicate(self) -> str:
        """The problem with its location or cause."""
        return f"{self.problem}: {self}" if str(self) else self.problem


class _NotANumber(ValueError):
    """`NaN` or `Infinity`, which Python's parser accepts and JSON does not."""


# --- Reading ---------------------------------------------------------------------------------------------


def read(data: bytes, refusal: orjson.JSONDecodeError) -> Any:
    """The value of a JSON text that orjson has rejected; a byte order mark is ignored (RFC 8259, 8.1).

    Raises:
        JsonError: it is invalid, is nested too deeply, or has a number out of range.
    """
    if not data.startswith(_BYTE_ORDER_MARK):
        return _read(data, refusal)
    data = data[len(_BYTE_ORDER_MARK) :]
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _read(data, error)


def _read(data: bytes, refusal: orjson.JSONDecodeError) -> Any:
    location = f"line {refusal.lineno} column {refusal.colno}"
    if "depth" in refusal.msg or "ecursion" in refusal.msg:
        raise _too_deep(location)
    has_large_numbers = _LARGE_NUMBER.search(data) is not None
    if not has_large_numbers and _SURROGATE.search(data) is None:
        raise JsonError(location)
    try:
        text = data.decode()
        with _raised_recursion_limit():
            value = _decoder(has_large_numbers).decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(f"line {error.lineno} column {error.colno}") from None
    except UnicodeDecodeError:
        raise JsonError(location) from None
    except RecursionError:
        raise _too_deep() from None
    except _NotANumber:
        raise JsonError(_location_of_number(text)) from None
    except ValueError:
        raise JsonError(_location_of_number(text), "has a number out of range") from None
    _check_depth(value, text)
    return value


def _decoder(has_large_numbers: bool) -> json.JSONDecoder:
    parse_float = _Numbers().read if has_large_numbers else float
    return json.JSONDecoder(parse_float=parse_float, parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    raise _NotANumber(name)


class _Numbers:
    """Reads the numbers of one text that have a fraction or an exponent."""

    def __init__(self) -> None:
        self._digits_left = MAX_EXPANDED_DIGITS

    def read(self, text: str) -> int | float:
        """The number as a float, or as an integer if it is beyond a double.

        Raises:
            ValueError: it has more than `MAX_DIGITS` digits, or a fraction beyond the range of a double, or
                exceeds `MAX_EXPANDED_DIGITS`.
        """
        number = float(text)
        if math.isfinite(number):
            return number
        try:
            exact = Decimal(text) if len(text) <= 2 * MAX_DIGITS else Decimal("NaN")
        except InvalidOperation:
            raise ValueError(text) from None
        if not exact.is_finite() or exact.adjusted() >= MAX_DIGITS or exact != exact.to_integral_value():
            raise ValueError(text)
        self._digits_left -= exact.adjusted() + 1
        if self._digits_left < 0:
            raise ValueError(text)
        return int(exact)


def _location_of_number(text: str) -> str:
    """The location of the first number that cannot be read."""
    numbers = _Numbers()
    for token in _TOKEN.finditer(text):
        if token[1] is not None and not _is_in_range(token[1], numbers):
            line = text.count("\n", 0, token.start()) + 1
            column = token.start() - text.rfind("\n", 0, token.start())
            return f"line {line} column {column}"
    raise AssertionError("no number is out of range")


def _is_in_range(number: str, numbers: _Numbers) -> bool:
    try:
        int(number) if number.lstrip("-").isdigit() else numbers.read(number)  # "NaN" is out of range, too
    except ValueError:
        return False
    return True


# --- Writing ---------------------------------------------------------------------------------------------


def write(value: Any) -> bytes:
    """A value that orjson has rejected, as compact JSON.

    Raises:
        JsonError: it is nested too deeply, or is not a JSON value.
    """
    text = _written(value, ensure_ascii=False)
    # Only surrogates cannot be encoded as UTF-8, and they are in strings, where this escape is valid JSON.
    return text.encode("utf-8", "backslashreplace")


def write_ascii(value: Any) -> str:
    """A value as compact JSON with escapes for all non-ASCII characters.

    Raises:
        JsonError: as `write`.
    """
    return _written(value, ensure_ascii=True)


def _written(value: Any, ensure_ascii: bool) -> str:
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, separators=(",", ":"), allow_nan=False, check_circular=False
    )
    try:
        with _raised_recursion_limit():
            text = encoder.encode(value)
    except RecursionError:
        raise _too_deep() from None
    except (TypeError, ValueError) as error:
        raise JsonError(str(error), "cannot be written as JSON") from None
    _check_depth(value, text)
    return text


def _check_depth(value: Any, text: str) -> None:
    """Raise if a value is nested too deeply; it is not traversed if the text has few brackets."""
    if text.count("[") + text.count("{") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        raise _too_deep()


def depth(value: Any) -> int:
    """The nesting depth of a value: 0 for a scalar, 1 for `[]`."""
    found, level = 0, [value] if isinstance(value, list | dict) else []
    while level:
        found += 1
        if found > MAX_DEPTH:
            break
        level = [item for container in level for item in _items(container) if isinstance(item, list | dict)]
    return found


def _items(container: Any) -> Any:
    return container.values() if isinstance(container, dict) else container


def _too_deep(where: str = "") -> JsonError:
    return JsonError(where, f"is nested more than {MAX_DEPTH} levels deep")


@contextlib.contextmanager
def _raised_recursion_limit() -> Iterator[None]:
    """Raise the recursion limit for `MAX_DEPTH`: Python 3.11 counts the recursion of its C code too."""
    with _LIMIT:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit + 2 * MAX_DEPTH)
        try:
            yield
        finally:
            sys.setrecursionlimit(limit)
