"""A key in the query string, for upstreams that accept it only there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from engine.http.auth.credentials import Credentials
from engine.http.auth.protocol import AuthRequest, UpstreamAuth


@dataclass(frozen=True, slots=True)
class QueryAuth(UpstreamAuth):
    """The query parameter `name` with the value `value`."""

    is_static: ClassVar[bool] = True

    name: str
    value: str = field(repr=False)

    @property
    def is_configured(self) -> bool:
        return self.value != ""

    def describe(self) -> str:
        return f"?{self.name}=***"

    def secrets(self) -> Iterable[str]:
        return (self.value,)

    def apply(self, request: AuthRequest) -> Credentials:
        return Credentials(query=((self.name, self.value),))
