"""The protocol of authentication schemes: how requests to an upstream are authenticated.

Contract: a scheme is a frozen dataclass that inherits from `UpstreamAuth`, has a file of its own in this
package and a row in `SCHEMES`. Its fields are the options of the scheme in a mapping: each a text, a field
with a default is optional, and a scheme with one field takes the text itself instead of a mapping. Must not
know the HTTP client.

Example: `hmac: KEY`, a signature of the method, the target and the body.

    @dataclass(frozen=True, slots=True)
    class HmacAuth(UpstreamAuth):
        needs_body: ClassVar[bool] = True

        key: str = field(repr=False)

        @property
        def is_configured(self) -> bool:
            return self.key != ""

        def describe(self) -> str:
            return "x-signature: HMAC-SHA256 of method, target and body"

        def secrets(self) -> Iterable[str]:
            return (self.key,)

        def apply(self, request: AuthRequest) -> Credentials:
            signed = f"{request.method} {request.target}\\n".encode() + request.body
            signature = hmac.digest(self.key.encode(), signed, "sha256").hex()
            return Credentials(headers=(("x-signature", signature),))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from engine.http.auth.credentials import NO_CREDENTIALS, Credentials


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """A request as a scheme sees it: all of it but what the scheme itself adds.

    `Host` and the fields of the connection are absent, as an upstream may have several servers; so are
    `traceparent` and `tracestate`, which are set when the request is sent.

    Attributes:
        method: upper case.
        target: path and query, as they are sent on the request line.
        headers: names in lower case.
        body: all of the body where the scheme has `needs_body`; else empty.
    """

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


#: A request that has nothing, with which credentials are tried at load.
BLANK_REQUEST: Final = AuthRequest("GET", "/")


class UpstreamAuth(Protocol):
    """How requests to an upstream are authenticated; immutable.

    Attributes:
        is_static: `apply` returns the same for every request, so it is called at load and never again.
        needs_body: `apply` reads the body. A body is then written as bytes before `apply` is called, and the
            body of a forwarded request is read into memory, within `request: {max_bytes}` of its route.
    """

    is_static: ClassVar[bool] = False
    needs_body: ClassVar[bool] = False

    @property
    def is_configured(self) -> bool:
        """Whether there is a secret; without one requests are sent without credentials."""
        ...

    def describe(self) -> str:
        """What is added to a request, in words that contain no secret: `authorization: Bearer ***`."""
        ...

    def secrets(self) -> Iterable[str]:
        """The texts that must never be shown: the secrets themselves, and what is sent of them."""
        ...

    def apply(self, request: AuthRequest) -> Credentials:
        """The credentials of a request. Header fields and query parameters of their names are replaced.

        Called only if `is_configured`: at load with `BLANK_REQUEST`, so that credentials that cannot be sent
        are findings, and then for each request, each retry included. Does no I/O, as it runs on the event
        loop.

        Raises:
            AuthError: the credentials cannot be made. Its message is shown and contains no secret; of any
                other exception only the type and the location are shown.
        """
        ...


@dataclass(frozen=True, slots=True)
class _NoAuth(UpstreamAuth):
    """No authentication."""

    is_static: ClassVar[bool] = True

    @property
    def is_configured(self) -> bool:
        return False

    def describe(self) -> str:
        return ""

    def secrets(self) -> Iterable[str]:
        return ()

    def apply(self, request: AuthRequest) -> Credentials:
        return NO_CREDENTIALS


#: The authentication of an upstream without `auth`.
NO_AUTH: Final[UpstreamAuth] = _NoAuth()
