"""Authentication schemes, for clients and for requests to upstreams.

Contract: each scheme has a file of its own and a row in `SCHEMES`. The compiler, the calls, `explain` and the
masking of secrets refer to no scheme by name. Tests compare the schema, the documentation and the cases with
the table. Must not know the HTTP client.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from engine.errors import AuthError
from engine.http.auth.basic import BasicAuth
from engine.http.auth.bearer import BearerAuth, BearerKeys, ClientKey
from engine.http.auth.credentials import NO_CREDENTIALS, Credentials
from engine.http.auth.header import HeaderAuth
from engine.http.auth.protocol import BLANK_REQUEST, NO_AUTH, AuthRequest, UpstreamAuth
from engine.http.auth.query import QueryAuth

__all__ = [
    "BLANK_REQUEST",
    "NO_AUTH",
    "NO_CREDENTIALS",
    "SCHEMES",
    "AuthRequest",
    "BasicAuth",
    "BearerKeys",
    "ClientKey",
    "Credentials",
    "UpstreamAuth",
    "make_auth",
    "scheme_options",
]

#: The schemes of an upstream's `auth` by their names in mappings.
SCHEMES: Final[dict[str, type[UpstreamAuth]]] = {
    "basic": BasicAuth,
    "bearer": BearerAuth,
    "header": HeaderAuth,
    "query": QueryAuth,
}


def scheme_options(scheme: str) -> dict[str, bool]:
    """The options of a scheme; the value is whether the option is required."""
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(SCHEMES[scheme])  # type: ignore[arg-type]
    return {field.name: field.default is dataclasses.MISSING for field in fields}


def make_auth(scheme: str, value: Any) -> UpstreamAuth:
    """The authentication for the evaluated value of a scheme in a mapping's `auth`.

    Among options, null and false mean an empty string, and a number is converted to text.

    Raises:
        AuthError: the value or an option is not a text, or the scheme rejects it.
    """
    options = scheme_options(scheme)
    if len(options) == 1:
        if not isinstance(value, str):
            raise AuthError("expected text")
        texts = dict.fromkeys(options, value)
    elif isinstance(value, dict):
        texts = {name: "" for name, is_required in options.items() if is_required}
        texts |= {name: _text(value[name]) for name in options if name in value}
    else:
        raise AuthError(f"expected a mapping with {' and '.join(map(repr, options))}")
    make: Any = SCHEMES[scheme]
    made: UpstreamAuth = make(**texts)
    return made


def _text(value: Any) -> str:
    if value is None or value is False:
        return ""
    if type(value) not in (str, int, float):
        raise AuthError("the options of 'auth' must be text")
    return str(value)
