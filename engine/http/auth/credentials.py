"""The header fields and query parameters that authentication adds to a request; their values are never shown.

Contract: all credentials can be sent. A name or value that HTTP cannot carry is an `AuthError`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from engine.errors import AuthError
from engine.http.fields import FIELD_NAME, FRAMING_FIELDS, hyphenated
from engine.http.request_target import parameter_name

#: A shorter text is not treated as a secret: masking it everywhere would make output unreadable.
SHORTEST: Final = 4

_FIELD_VALUE = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?\Z")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Header fields and query parameters that authenticate a request.

    Attributes:
        headers: the names may be in any case, and are converted to lower case.
        query: parameters, not yet percent-encoded.
        header_names: the names of `headers` with `_` replaced by `-`; fields of these names are replaced.
        parameter_names: the names of `query` as the most lenient server reads them.
        encoded_query: `query`, percent-encoded.

    Raises:
        AuthError: HTTP cannot carry a name or a value.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    header_names: frozenset[str] = field(init=False)
    parameter_names: frozenset[str] = field(init=False)
    encoded_query: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.headers:
            _check_field(name, value)
        fields = tuple((name.lower(), value) for name, value in self.headers)
        object.__setattr__(self, "headers", fields)
        object.__setattr__(self, "header_names", frozenset(hyphenated(name) for name, _ in fields))
        object.__setattr__(self, "parameter_names", frozenset(parameter_name(name) for name, _ in self.query))
        object.__setattr__(self, "encoded_query", _encoded(self.query))

    def __bool__(self) -> bool:
        return bool(self.headers or self.query)

    def values(self) -> Iterator[str]:
        """The values of all header fields and parameters."""
        yield from (value for _, value in (*self.headers, *self.query))


def _check_field(name: str, value: str) -> None:
    if not FIELD_NAME.match(name):
        raise AuthError("invalid header field name")
    if name.lower() in FRAMING_FIELDS:
        raise AuthError("this header field belongs to the connection and cannot carry credentials")
    checked(value)


def checked(value: str) -> str:
    """The value, if a header field can carry it (RFC 9110, section 5.5).

    Raises:
        AuthError: it is empty, starts or ends with white space, or contains a control or non-ASCII character.
    """
    if not _FIELD_VALUE.match(value):
        raise AuthError("the key contains a line end or another character that no header can carry")
    return value


def field_secrets(value: str) -> Iterator[str]:
    """The secrets in the value of a header field: the value, the part after a scheme such as `Token`, and the
    password of basic authentication (RFC 7617). Some may be empty."""
    scheme, _, rest = value.partition(" ")
    yield from (value, rest or scheme)
    if scheme.lower() == "basic":
        try:
            yield base64.b64decode(rest, validate=True).decode("utf-8", "replace").partition(":")[2]
        except (binascii.Error, ValueError):
            return


def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    if any(not name for name, _ in query):
        raise AuthError("a query parameter needs a name")
    try:
        return urlencode(query)
    except UnicodeEncodeError:
        raise AuthError("the key contains a lone surrogate, which cannot be sent") from None


#: Adds nothing.
NO_CREDENTIALS: Final = Credentials()
