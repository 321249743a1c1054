"""Logs: one line for each exchange, one for each warning; no payload, no secret, no query.

Contract: everything that belongs to a request carries its `request_id`.
The only importer of structlog.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

from engine.messages import Exchange

if TYPE_CHECKING:
    from engine.runtime.relay import Answered

Format = Literal["json", "console"]

LEVELS: Final = ("debug", "info", "warning", "error")

#: Libraries whose own lines could show URLs or headers.
_QUIET: Final = ("httpx2", "httpcore2", "asyncio", "uvicorn.access")


def configure(level: str, log_format: Format) -> None:
    """Set up logging to standard error for the process."""
    number = getattr(logging, level.upper())
    renderer: Any = structlog.processors.JSONRenderer()
    if log_format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def event(name: str, **fields: Any) -> None:
    """A line about the process itself."""
    structlog.get_logger().info(name, **fields)


def exchange(answered: Answered) -> None:
    """The line of an exchange, and those of its warnings."""
    warnings(answered)
    fields = _fields(answered)
    log = structlog.get_logger()
    error = answered.error
    if error is None:
        log.info("exchange", **fields)
        return
    fields["kind"] = error.kind
    if error.cause:
        fields["cause"] = error.cause
    if answered.outbound.status >= 500:
        log.error("exchange", **fields)
    else:
        log.info("exchange", **fields)


def warnings(answered: Answered) -> None:
    """What `warn()` said in an exchange."""
    for message in answered.exchange.warnings:
        structlog.get_logger().warning(
            "warning",
            request_id=answered.exchange.inbound.request_id,
            mapping=answered.mapping.name if answered.mapping else None,
            message=message,
        )


def abandoned(request_id: str, method: str, path: str) -> None:
    """The client left before its answer (status 499, as nginx has it, in the log alone)."""
    structlog.get_logger().info(
        "exchange", request_id=request_id, method=method, path=path, status_code=499, kind="client_left"
    )


def unforeseen(exchange: Exchange, error: Exception) -> None:
    """A defect of the engine's own: type and frames, but no text of the exception, which may be payload."""
    frames = traceback.extract_tb(error.__traceback__)
    structlog.get_logger().error(
        "unforeseen",
        request_id=exchange.inbound.request_id,
        error=type(error).__name__,
        trace=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )


def _fields(answered: Answered) -> dict[str, Any]:
    inbound = answered.exchange.inbound
    duration = (time.monotonic_ns() - answered.exchange.started_ns) / 1e6
    fields: dict[str, Any] = {
        "request_id": inbound.request_id,
        "mapping": answered.mapping.name if answered.mapping else None,
        "provider": answered.exchange.upstream,
        "method": inbound.method,
        "path": inbound.path,
        "status_code": answered.outbound.status,
        "duration_ms": round(duration, 3),
    }
    if answered.exchange.dropped:
        fields["dropped"] = answered.exchange.dropped[:20]
    return fields
