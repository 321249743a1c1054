"""A key in the query string, sent to upstreams that know no other way."""

from __future__ import annotations

from typing import Any

from engine.http.auth.credentials import Credentials


def credentials(options: dict[str, Any]) -> Credentials:
    """The parameter of `{name, value}`."""
    return Credentials(query=((options["name"], str(options["value"])),))
