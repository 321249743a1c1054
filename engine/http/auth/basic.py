"""Basic authentication (RFC 7617), sent to upstreams."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from engine.http.auth.credentials import Credentials


def credentials(options: dict[str, Any]) -> Credentials:
    """`Authorization: Basic …` from `{username, password}`; UTF-8, as RFC 7617 section 2.1 has it."""
    username, password = str(options.get("username") or ""), str(options.get("password") or "")
    if ":" in username:
        raise ValueError("a user name of basic authentication cannot hold a colon")
    token = b64encode(f"{username}:{password}".encode()).decode()
    return Credentials(headers=(("authorization", f"Basic {token}"),))
