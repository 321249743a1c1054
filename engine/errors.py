"""All exceptions of the engine, in one hierarchy.

    DragomanError
    ├── MappingError        loading failed; carries all diagnostics
    ├── EvaluationError     an expression failed at run time; carries its Span once known
    ├── AuthError           credentials for an upstream cannot be made
    ├── ExchangeError       a request failed; carries kind and status, sent in the client's error format
    └── TruncatedResponse   a response has begun and cannot be completed; for the ASGI server

Contract: an error carries its own status and location, and its text never contains a secret, a payload or an
address. Third-party exceptions are converted to these where they occur.
This module must not know YAML, HTTP libraries or printing.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.diagnostics import Findings
from engine.locations import Span

#: Kind of failure → default HTTP status (RFC 9110 section 15; 429 from RFC 6585).
KINDS: Mapping[str, int] = {
    "invalid_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "payload_too_large": 413,
    "unprocessable": 422,
    "rate_limited": 429,
    "internal": 500,
    "overloaded": 503,
    "upstream_error": 502,
    "upstream_unavailable": 503,
    "upstream_timeout": 504,
}


class DragomanError(Exception):
    """Base class of all exceptions that the engine raises intentionally."""


class MappingError(DragomanError):
    """Mappings that cannot be served. `findings` contains everything that is wrong with them."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        errors = [d for d in findings if d.severity == "error"] or list(findings)
        super().__init__(
            "; ".join(f"{d.span}: {d.message}" if d.span.line else d.message for d in errors[:5])
        )


class TruncatedResponse(DragomanError):
    """A response has begun and its source failed. An ASGI server closes the connection on this exception, so
    that the client does not take the response for complete; the failure itself is in the log."""


class EvaluationError(DragomanError):
    """An expression received a value that it cannot handle, such as `starts_with(5, 'a')`.

    `message` names types and functions, never values: values are payload.

    Args:
        for_client: whether the message may be sent to the client; messages that name functions and types are
            for the author of the mapping.
    """

    def __init__(self, message: str, span: Span | None = None, *, for_client: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.for_client = for_client


class AuthError(DragomanError):
    """Credentials for an upstream cannot be made. The message is shown, and contains no secret."""


class ExchangeError(DragomanError):
    """A failed request, with what its client will receive.

    Args:
        kind: a key of `KINDS`.
        message: one sentence for the client.
        status: the HTTP status; by default the status of the kind.
        details: a JSON value with details (which field, which rule), or None.
        headers: response headers of the error (`Allow`, `Retry-After`, …).
        upstream: `{name, status, body, message}` of the upstream that failed, or None.
        cause: additional text for the log; for operators, never for the client.
        how: how a call failed, a key of `CALL_FAILURES`; None if no call failed.

    Attributes:
        is_in_band: the client has received this error as events of its stream, which can then end regularly.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int | None = None,
        details: Any = None,
        headers: tuple[tuple[str, str], ...] = (),
        upstream: dict[str, Any] | None = None,
        cause: str | None = None,
        how: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = KINDS[kind] if status is None else status
        self.message = message
        self.details = details
        self.headers = headers
        self.upstream = upstream
        self.cause = cause
        self.how = how
        self.is_in_band = False

    @property
    def is_upstream_error(self) -> bool:
        """Whether an upstream failed, so that another upstream might succeed."""
        return self.upstream is not None or self.kind.startswith("upstream_")


#: `Retry-After` for errors that are worth a retry after one second.
_RETRY_SOON = (("retry-after", "1"),)

#: How a call can fail without a response → the error kind, and the error message after the upstream's name.
CALL_FAILURES: Mapping[str, tuple[str, str]] = {
    "connect": ("upstream_error", "cannot be reached"),
    "timeout": ("upstream_timeout", "timed out"),
    "busy": ("upstream_unavailable", "has no free connection"),
    "open": (
        "upstream_unavailable",
        "is temporarily unavailable after failures (circuit breaker open)",
    ),
    "broken": ("upstream_error", "disconnected or sent an invalid HTTP response"),
    "too_large": ("upstream_error", "sent a response that is too large"),
}


def call_failed(upstream: str, how: str, cause: str, what: str | None = None) -> ExchangeError:
    """The error for a call that ended without a usable response. If it is too large, the message includes the
    cause, which names the limit.

    Args:
        how: a key of `CALL_FAILURES`.
        cause: text for the log.
        what: what the upstream did, for the client; by default the text of `CALL_FAILURES`.
    """
    kind, usual = CALL_FAILURES[how]
    failed = {"name": upstream, "status": None, "body": None, "message": None}
    headers = _RETRY_SOON if how == "busy" else ()
    message = f"the upstream '{upstream}' {what or usual}"
    if how == "too_large":
        message = f"{message}: {cause}"
    return ExchangeError(kind, message, headers=headers, upstream=failed, cause=cause, how=how)


def overloaded(why: str) -> ExchangeError:
    """The error for a request that is rejected because of overload; `why` is the start of the message."""
    return ExchangeError("overloaded", f"{why}; try again", headers=_RETRY_SOON)


def release_frames(error: BaseException) -> None:
    """Remove the traceback of an exception, and of each exception in its chain of causes and contexts.

    An exception that outlives its handler must not have a traceback: its frames reference the data that was
    being read or translated, and usually the exception itself, in a cycle that only the garbage collector
    frees.
    """
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if found is not None:
            pending += (found.__cause__, found.__context__)
            found.__traceback__ = found.__cause__ = found.__context__ = None


@dataclass(frozen=True, slots=True)
class Defect:
    """An unexpected exception, in the form in which it is logged: without its text, which may contain
    payload, and without its frames.

    Attributes:
        error: the name of its type.
        trace: `file:line function` for each frame, the innermost last.
    """

    error: str
    trace: tuple[str, ...]

    @classmethod
    def of(cls, error: BaseException) -> Defect:
        """The description of an exception."""
        frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
        trace = tuple(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
        return cls(type(error).__name__, trace)

    @property
    def function(self) -> str:
        """The name of the function that raised it."""
        return self.trace[-1].rpartition(" ")[2]
