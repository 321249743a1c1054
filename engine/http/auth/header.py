"""A key in an API-specific header such as `x-api-key`, sent to upstreams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from engine.http.auth.credentials import Credentials, field_secrets
from engine.http.auth.protocol import AuthRequest, UpstreamAuth


@dataclass(frozen=True, slots=True)
class HeaderAuth(UpstreamAuth):
    """The header field `name` with the value `value`."""

    is_static: ClassVar[bool] = True

    name: str
    value: str = field(repr=False)

    @property
    def is_configured(self) -> bool:
        return self.value != ""

    def describe(self) -> str:
        return f"{self.name.lower()}: ***"

    def secrets(self) -> Iterable[str]:
        return field_secrets(self.value)

    def apply(self, request: AuthRequest) -> Credentials:
        return Credentials(headers=((self.name, self.value),))
