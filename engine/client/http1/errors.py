"""Failures of a call over one connection, before they become an `ExchangeError` of the upstream.

Contract: `how` is a key of `CALL_FAILURES`, `cause` is for the log and contains no URL, header or body.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import TypeAlias

from engine.errors import ExchangeError


class CallFailed(Exception):
    """A call received no response, or an incomplete one.

    Args:
        how: a key of `engine.errors.CALL_FAILURES`.
        cause: what happened.
        is_silent: the connection was closed before any byte of a response was received.
        what: what the upstream did, for the client; by default the text of `how`.
    """

    def __init__(self, how: str, cause: str, is_silent: bool = False, what: str | None = None) -> None:
        super().__init__(cause)
        self.how = how
        self.cause = cause
        self.is_silent = is_silent
        self.what = what


def too_large(limit: int) -> CallFailed:
    """The failure of a call whose response body exceeds its limit."""
    return CallFailed("too_large", f"over {limit} bytes")


def connecting_failed(error: OSError) -> CallFailed:
    """The failure of a connection attempt: the reason of TLS or the operating system, without addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CallFailed("connect", f"certificate: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return CallFailed("connect", f"TLS: {error.reason or 'handshake failed'}")
    if isinstance(error, TimeoutError) or error.errno is None:
        return CallFailed("connect", type(error).__name__)
    return CallFailed("connect", f"{type(error).__name__}: {_reason(error)}")


def _reason(error: OSError) -> str:
    """The system's message for an error. Name resolution has its own error numbers, below zero."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror)


#: Converts a failure to the error of an exchange.
ToExchangeError: TypeAlias = Callable[[CallFailed], ExchangeError]
