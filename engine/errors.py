"""Every exception of the engine, in one tree.

    DragomanError
    ├── MappingError        loading failed; carries every Diagnostic found
    ├── EvaluationError     an expression failed at run time; carries its Span once placed
    └── ExchangeError       a request failed; carries kind and status, told in the client's dialect

Contract: an error carries its own status and its own place, and the text of an error never holds a
secret, a payload or an address. Third-party exceptions are turned into these where they arise.
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
    """The root: whatever the engine raises on purpose."""


class MappingError(DragomanError):
    """Mappings that cannot be served. `findings` holds all of what is wrong with them."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        errors = [d for d in findings if d.severity == "error"]
        super().__init__("; ".join(f"{d.span}: {d.message}" for d in errors[:5]))


class EvaluationError(DragomanError):
    """An expression met a value it cannot work with, such as `starts_with(5, 'a')`.

    `message` names types and functions, never values: values are payload.

    Args:
        for_client: whether the message says something to the client, too; one that names functions and their
            types is for the mapping's author.
    """

    def __init__(self, message: str, span: Span | None = None, *, for_client: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.for_client = for_client


class ExchangeError(DragomanError):
    """A request that fails, as its client will be told.

    Args:
        kind: a key of `KINDS`.
        message: one sentence for the client.
        status: the HTTP status, where it is not the kind's own.
        details: JSON value with particulars (which field, which rule), or None.
        headers: response headers that go with the failure (`Allow`, `Retry-After`, …).
        upstream: `{name, status, body, message}` of the upstream that failed, or None.
        cause: what the log says beside it; for operators, never for the client.
        how: how a call failed, a key of `CALL_FAILURES`; None where it is no failure of a call.

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
    def is_upstreams(self) -> bool:
        """Whether an upstream has failed, so that another one may do better."""
        return self.upstream is not None or self.kind.startswith("upstream_")


#: What tells a client to come again in a second.
_SOON = (("retry-after", "1"),)

#: How a call can end without an answer: the kind of failure, and what its client is told of the upstream.
CALL_FAILURES: Mapping[str, tuple[str, str]] = {
    "connect": ("upstream_error", "cannot be reached"),
    "timeout": ("upstream_timeout", "took too long to answer"),
    "busy": ("upstream_unavailable", "has no free connection"),
    "open": ("upstream_unavailable", "is not called for a while, as its last calls have failed"),
    "broken": ("upstream_error", "broke off, or does not speak HTTP"),
    "too_large": ("upstream_error", "sent too large a response"),
}


def call_failed(upstream: str, how: str, cause: str, what: str | None = None) -> ExchangeError:
    """A call that ended without a usable response. If it is too large, the client receives the cause too,
    which names the bound.

    Args:
        how: a key of `CALL_FAILURES`.
        cause: for the log.
        what: what the upstream did, for the client; by default what `how` says.
    """
    kind, usual = CALL_FAILURES[how]
    failed = {"name": upstream, "status": None, "body": None, "message": None}
    headers = _SOON if how == "busy" else ()
    message = f"the upstream '{upstream}' {what or usual}"
    if how == "too_large":
        message = f"{message}: {cause}"
    return ExchangeError(kind, message, headers=headers, upstream=failed, cause=cause, how=how)


def overloaded(why: str) -> ExchangeError:
    """A request that is refused as there is too much to do; `why` begins a sentence."""
    return ExchangeError("overloaded", f"{why}; try again", headers=_SOON)


def release_frames(error: BaseException) -> None:
    """Drop the traceback of an exception, and of each exception that it was raised from or during.

    An exception that outlives its handler must have none: its frames hold whatever was being read or
    translated, and mostly the exception itself too, in a cycle that only the garbage collector frees.
    """
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if found is not None:
            pending += (found.__cause__, found.__context__)
            found.__traceback__ = found.__cause__ = found.__context__ = None


@dataclass(frozen=True, slots=True)
class Defect:
    """An exception that the engine did not expect, as the log reports it: without its text, which may contain
    payload, and without its frames.

    Attributes:
        error: its type.
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
