"""Authentication schemes: how clients prove who they are, and how we prove it to upstreams.

Contract: one scheme a file, one row a scheme in `SCHEMES`. The reader of mappings, the requests, `explain`
and the masking of secrets know no scheme by name. Tests compare the schema, the documentation and the cases
with the table. Must not know the HTTP client.
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
    """The options of a scheme, each with whether it is required."""
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(SCHEMES[scheme])  # type: ignore[arg-type]
    return {field.name: field.default is dataclasses.MISSING for field in fields}


def make_auth(scheme: str, value: Any) -> UpstreamAuth:
    """The authentication of an `auth` in a mapping, from the evaluated value of its scheme.

    Null, false and '' are empty texts; a number is the text of it.

    Raises:
        AuthError: the value, or one of its options, is no text; whatever the scheme refuses.
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
        raise AuthError("the options of 'auth' are texts")
    return str(value)
