"""Time: the clock, and the two forms in which APIs write it.

Contract: epoch times count seconds since 1970 in UTC; texts follow RFC 3339 and are parsed in the same way by
every version of Python, without regard to the local time zone.
This module must not know which API uses which form.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from engine.language.functions.bounds import in_range
from engine.language.functions.registry import NO_COST, Context, function

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()

#: RFC 3339 section 5.6, and what ISO 8601 and common servers allow in addition: a space for the T, no
#: seconds, a comma, an offset without colon or minutes, no offset, only a date.
_TIME_TEXT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)? ?(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.ASCII,
)
_LONGEST_TIME_TEXT = 64


@function("now() -> number", pure=False, steady=True)
def now() -> int:
    """The current time in whole seconds since 1970.

    Examples:
        now() > `1700000000` => true
        type(now()) => "number"
    """
    return int(time.time())


@function("now_iso() -> string", pure=False, cost=NO_COST)
def now_iso() -> str:
    """The current time as RFC 3339 in UTC, to the microsecond: `2024-01-02T10:20:30.000042Z`.

    Examples:
        length(now_iso()) => 27
        ends_with(now_iso(), 'Z') => true
    """
    global _current_second  # called for every chunk of a stream: `lru_cache` costs a quarter more
    nanoseconds = str(time.time_ns())
    second, text = _current_second
    if nanoseconds[:-9] != second:
        second = nanoseconds[:-9]
        text = datetime.fromtimestamp(int(second), UTC).replace(tzinfo=None).isoformat()
        _current_second = second, text
    return f"{text}.{nanoseconds[-9:-3]}Z"


#: Digits of the seconds since 1970, and the RFC 3339 time of that second without fraction and zone.
_current_second = ("", "")


@function("elapsed_ns() -> number", context=True, pure=False)
def elapsed_ns(context: Context) -> int:
    """Nanoseconds since the exchange began, at least 1 because clients divide by it.

    Examples:
        elapsed_ns() > `0` => true
    """
    return max(1, time.monotonic_ns() - context.started_ns)


@function("epoch(iso: any, default?: any) -> any")
def epoch(iso: Any, default: Any = None) -> Any:
    """The seconds since 1970 of an RFC 3339 time, rounded down; for a number, the number rounded down.

    It accepts any fraction, `Z` or an offset, a space for the `T`, and lower case; without an offset the time
    is UTC, and a date alone is its midnight. Anything else gives `default`, or null.

    Examples:
        epoch('2024-01-02T10:20:30Z') => 1704190830
        epoch('2024-01-02T10:20:30.999999999+02:00') => 1704183630
        epoch('1970-01-02') => 86400
        epoch(`1704190830.7`) => 1704190830
        epoch(`1e300`) => 1e300
        epoch('yesterday', `0`) => 0
        epoch(`null`) => null
    """
    if type(iso) is str:
        seconds = _seconds(iso) if len(iso) <= _LONGEST_TIME_TEXT else None
    elif type(iso) is int:
        return iso
    else:
        seconds = in_range(math.floor(iso)) if type(iso) is float and math.isfinite(iso) else None
    return default if seconds is None else seconds


@lru_cache(maxsize=4096)
def _seconds(text: str) -> int | None:
    """The epoch time of a text; None if it is invalid. Rounding down needs no fraction."""
    match = _TIME_TEXT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    sign, offset_hour, offset_minute = match[7], int(match[8] or 0), int(match[9] or 0)
    if hour > 23 or minute > 59 or second > 60 or offset_hour > 23 or offset_minute > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    offset = (offset_hour * 60 + offset_minute) * (-60 if sign == "-" else 60)
    return days * 86400 + hour * 3600 + minute * 60 + second - offset


@function("iso_time(epoch: number|null) -> string|null", cost=NO_COST)
def iso_time(seconds: float | None) -> str | None:
    """The RFC 3339 time in UTC of seconds since 1970; null for null and outside the years 1 to 9999.

    A fraction is given to the microsecond; whole seconds have none.

    Examples:
        iso_time(`1704190830`) => "2024-01-02T10:20:30Z"
        iso_time(`1704190830.25`) => "2024-01-02T10:20:30.250000Z"
        iso_time(`-1`) => "1969-12-31T23:59:59Z"
        iso_time(`1e18`) => null
    """
    return None if seconds is None else _time_text(seconds)


@lru_cache(maxsize=4096)
def _time_text(seconds: float) -> str | None:
    try:
        whole = math.floor(seconds)
        moment = _EPOCH + timedelta(seconds=whole, microseconds=round((seconds - whole) * 1_000_000))
    except (OverflowError, ValueError):
        return None
    return f"{moment.replace(tzinfo=None).isoformat()}Z"
