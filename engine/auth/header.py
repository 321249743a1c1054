"""A key in a header of the API's own choice, such as `x-api-key`, sent to upstreams."""

from __future__ import annotations

from typing import Any

from engine.auth.credentials import Credentials, checked


def credentials(options: dict[str, Any]) -> Credentials:
    """The header of `{name, value}`."""
    return Credentials(headers=((options["name"].lower(), checked(str(options["value"]))),))
