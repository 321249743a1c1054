"""Basic authentication (RFC 7617), sent to upstreams."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from engine.errors import AuthError
from engine.http.auth.credentials import Credentials
from engine.http.auth.protocol import AuthRequest, UpstreamAuth


@dataclass(frozen=True, slots=True)
class BasicAuth(UpstreamAuth):
    """`Authorization: Basic …`, in UTF-8 (RFC 7617, section 2.1)."""

    is_static: ClassVar[bool] = True

    username: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def is_configured(self) -> bool:
        """Whether there is a user name or a password: APIs expect a key as either of them."""
        return bool(self.username or self.password)

    def describe(self) -> str:
        return "authorization: Basic ***"

    def secrets(self) -> Iterable[str]:
        return (self.password, self._token(), f"Basic {self._token()}")

    def apply(self, request: AuthRequest) -> Credentials:
        if ":" in self.username:
            raise AuthError("the user name of basic authentication cannot contain a colon")
        return Credentials(headers=(("authorization", f"Basic {self._token()}"),))

    def _token(self) -> str:
        try:
            return b64encode(f"{self.username}:{self.password}".encode()).decode()
        except UnicodeEncodeError:
            raise AuthError("the name or the password contains a lone surrogate") from None
