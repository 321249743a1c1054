"""A key in a header of the API's own choice, such as `x-api-key`, sent to upstreams."""

from __future__ import annotations

from typing import Any

from engine.http.auth.credentials import Credentials, checked
from engine.http.fields import FIELD_NAME


def credentials(options: dict[str, Any]) -> Credentials:
    """The header of `{name, value}`.

    Raises:
        ValueError: no header field has this name, or can have this value.
    """
    if not FIELD_NAME.match(options["name"]):
        raise ValueError("this cannot be the name of a header field")
    return Credentials(headers=((options["name"].lower(), checked(str(options["value"]))),))
