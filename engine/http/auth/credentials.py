"""What a scheme adds to a call: header fields and query parameters that are never shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FIELD_VALUE = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?\Z")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Header fields (names in lower case) and query parameters; their values stay out of `repr`."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def checked(value: str) -> str:
    """A value that can stand in a header field (RFC 9110, section 5.5).

    Raises:
        ValueError: it holds a line end or a character that is not ASCII; the message keeps it secret.
    """
    if not _FIELD_VALUE.match(value):
        raise ValueError("the key holds a line end or another character that no header can carry")
    return value
