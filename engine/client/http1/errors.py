"""How a call over one connection fails, before it is told as the upstream's failure.

Contract: `how` is a key of `CALL_FAILURES`, `cause` is for the log and holds no URL, header or body.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import TypeAlias

from engine.errors import ExchangeError


class CallFailed(Exception):
    """A call that got no answer, or not all of it.

    Args:
        how: a key of `engine.errors.CALL_FAILURES`.
        cause: what happened.
        is_silent: the connection was closed before a single byte of an answer had come.
        what: what the upstream did, for the client; by default what `how` says.
    """

    def __init__(self, how: str, cause: str, is_silent: bool = False, what: str | None = None) -> None:
        super().__init__(cause)
        self.how = how
        self.cause = cause
        self.is_silent = is_silent
        self.what = what


def too_large(limit: int) -> CallFailed:
    """A response with a larger body than the call accepts."""
    return CallFailed("too_large", f"over {limit} bytes")


def connecting_failed(error: OSError) -> CallFailed:
    """Why no connection came up: the reason of TLS or of the operating system, without addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CallFailed("connect", f"certificate: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return CallFailed("connect", f"TLS: {error.reason or 'broken off'}")
    if isinstance(error, TimeoutError) or error.errno is None:
        return CallFailed("connect", type(error).__name__)
    return CallFailed("connect", f"{type(error).__name__}: {_reason(error)}")


def _reason(error: OSError) -> str:
    """The system's word for an error; those of name resolution have numbers of their own, below zero."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror)


#: Makes what the middle is told of a failure.
Tell: TypeAlias = Callable[[CallFailed], ExchangeError]
