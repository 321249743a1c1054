"""The protocol of authentication schemes: how requests to an upstream are authenticated.

Contract: a scheme is a frozen dataclass that inherits from `UpstreamAuth`, with a file of its own in this
package and a row in `SCHEMES`. Its fields are the options of the scheme in a mapping. Each field is a text;
a field with a default is optional; a scheme with a single field takes the text itself instead of a mapping.
Must not know the HTTP client.

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
    """A request as a scheme receives it, without the credentials that the scheme adds.

    `Host` and the fields of the connection are absent, as an upstream may have several servers; so are
    `traceparent` and `tracestate`, which are set when the request is sent.

    Attributes:
        method: upper case.
        target: path and query, as on the request line.
        headers: names in lower case.
        body: the complete body if the scheme has `needs_body`, else empty.
    """

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


#: An empty request, with which credentials are tested at load.
BLANK_REQUEST: Final = AuthRequest("GET", "/")


class UpstreamAuth(Protocol):
    """How requests to an upstream are authenticated; immutable.

    Attributes:
        is_static: `apply` returns the same for every request, so it is called only at load.
        needs_body: `apply` reads the body. The body is then serialized before `apply` is called, and the body
            of a forwarded request is buffered in memory, up to `request: {max_bytes}` of its route.
    """

    is_static: ClassVar[bool] = False
    needs_body: ClassVar[bool] = False

    @property
    def is_configured(self) -> bool:
        """Whether there is a secret. If not, requests are sent without credentials."""
        ...

    def describe(self) -> str:
        """A description of the credentials without secrets, such as `authorization: Bearer ***`."""
        ...

    def secrets(self) -> Iterable[str]:
        """The texts that must never be shown: the secrets, and the forms in which they are sent."""
        ...

    def apply(self, request: AuthRequest) -> Credentials:
        """The credentials of a request; they replace header fields and query parameters of the same names.

        Called only if `is_configured`: at load with `BLANK_REQUEST`, so that credentials that cannot be sent
        are findings, then for each request, including each retry. Must not do I/O, as it runs on the event
        loop.

        Raises:
            AuthError: the credentials cannot be created. The message is shown and contains no secret. Of any
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
