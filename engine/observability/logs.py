"""Logs: a line for each request, each warning of a mapping and each event of the process.

Contract: lines in JSON hold no payload, no query, no header value and no secret. A line that belongs to a
request has its `request_id`. Lines on the console also have the message of an error that the client received.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TextIO
from urllib.parse import quote, unquote_to_bytes

from engine.diagnostics import Diagnostic
from engine.errors import Defect
from engine.exchange import ExchangeResult
from engine.http.messages import Inbound
from engine.observability.console_lines import ConsoleFormatter
from engine.observability.log_lines import Format as Format
from engine.observability.log_lines import LineLogger, json_line
from engine.plan import MappingPlan, PlanMatch, RoutePlan

if TYPE_CHECKING:
    from types import TracebackType

LEVELS: Final = ("debug", "info", "warning", "error")

#: Libraries whose lines of lower levels contain URLs or header fields.
_LIBRARIES: Final = ("httpx2", "httpcore2", "asyncio", "uvicorn.access")
#: Names or calls in one line at most.
_MAX_ITEMS: Final = 20


class _State:
    logger = LineLogger(logging.INFO)
    #: Prints findings on the console; None to log each.
    show_findings: Callable[[Iterable[Diagnostic]], None] | None = None
    #: Whether lines are for people: with the messages of errors.
    is_console = False


_state: Final = _State()


def configure(
    level: str,
    log_format: Format,
    stream: TextIO | None = None,
    *,
    has_colors: bool = False,
    show_findings: Callable[[Iterable[Diagnostic]], None] | None = None,
) -> None:
    """Set up logging for the process, to a stream or standard error.

    Args:
        has_colors: whether `console` lines have colors.
        show_findings: prints findings if the format is `console`; by default each is logged.
    """
    number = getattr(logging, level.upper())
    is_console = log_format == "console"
    formatter = ConsoleFormatter(has_colors) if is_console else json_line
    _state.logger = LineLogger(number, formatter, stream or sys.stderr)
    _state.is_console = is_console
    _state.show_findings = show_findings if is_console else None
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_LibraryHandler()], force=True)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def is_json() -> bool:
    """Whether lines are JSON."""
    return not _state.is_console


def set_worker(number: int) -> None:
    """Add the number of this worker process to every line."""
    _state.logger.common = {"worker": number}


def capture_unhandled() -> None:
    """Log what Python would print to standard error: warnings, and unhandled exceptions of the process, of
    threads and of finalizers."""
    sys.excepthook = _log_unhandled
    threading.excepthook = lambda found: _log_unhandled(found.exc_type, found.exc_value, found.exc_traceback)
    sys.unraisablehook = lambda found: _log_unhandled(found.exc_type, found.exc_value, found.exc_traceback)
    logging.captureWarnings(True)


def unhandled(error: Exception, where: str) -> None:
    """Log an exception that ends the process."""
    internal_error(Defect.of(error), where=where)


def _log_unhandled(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if error is not None and isinstance(error, Exception):
        internal_error(Defect.of(error), where="unhandled")


class _LibraryHandler(logging.Handler):
    """Writes records of libraries; of an exception only type and frames, as its message may be payload."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage().strip()}
        exception = record.exc_info[1] if record.exc_info else None
        if exception is not None:
            fields |= _defect_fields(Defect.of(exception))
        is_bug = isinstance(exception, Exception)
        _state.logger.log(record.levelno, "internal_error" if is_bug else "library", fields)


# --- Events of the process -------------------------------------------------------------------------------


def info(event: str, **fields: Any) -> None:
    """Log an event of the process."""
    _state.logger.info(event, **fields)


def announce(event: str, **fields: Any) -> None:
    """Log an event that must be seen, as `info` but at any level."""
    _state.logger.announce(event, **fields)


def warning(event: str, **fields: Any) -> None:
    """Log something that works, but not as it should."""
    _state.logger.warning(event, **fields)


def error(event: str, **fields: Any) -> None:
    """Log something that the process failed to do."""
    _state.logger.error(event, **fields)


def internal_error(defect: Defect, **fields: Any) -> None:
    """Log a bug in Dragoman; `fields` are where it occurred."""
    _state.logger.error("internal_error", **fields, **_defect_fields(defect))


def findings(diagnostics: Iterable[Diagnostic]) -> None:
    """Log the errors and warnings in mappings; on the console, print them as `validate` does."""
    found = list(diagnostics)
    if _state.show_findings is not None:
        _state.show_findings(found)
        return
    for diagnostic in found:
        span = diagnostic.span
        fields = {
            "file": span.file.name,
            "line": span.line or None,
            "column": span.column or None,
            "code": diagnostic.code,
            "message": diagnostic.message,
            "hint": diagnostic.hint,
        }
        level = logging.ERROR if diagnostic.severity == "error" else logging.WARNING
        _state.logger.log(level, "finding", fields)


# --- Requests --------------------------------------------------------------------------------------------


def record_exchange(result: ExchangeResult, usage: Mapping[str, int] | None = None) -> None:
    """Log a finished exchange and its warnings.

    Args:
        usage: the tokens that it used, by direction.
    """
    _record_warnings(result)
    error = result.error
    is_failure = error is not None and result.response.status >= 500
    if not is_failure and _state.logger.level > logging.INFO:
        # The fields of a line that is not written cost as much as the line.
        return
    fields = _exchange_fields(result)
    if usage:
        for direction, count in usage.items():
            fields[f"{direction}_tokens"] = count
    if error is not None:
        fields["error_kind"] = error.kind
        if error.cause:
            fields["cause"] = error.cause
        if _state.is_console:
            fields["error_message"] = error.message
    _state.logger.log(logging.ERROR if is_failure else logging.INFO, "request", fields)


def record_inner_exchange(result: ExchangeResult) -> None:
    """Log an exchange with another mapping in this process: its warnings, and a line if it failed."""
    if result.error is not None:
        record_exchange(result)
    else:
        _record_warnings(result)


def record_client_disconnect(
    inbound: Inbound, match: PlanMatch, started_ns: int, result: ExchangeResult | None
) -> None:
    """Log an exchange whose client disconnected before the end of the response: status 499, as in nginx."""
    leaf = match.found(inbound.method)
    if result is not None:
        fields = _exchange_fields(result) | {"status_code": 499}
    else:
        route = None if leaf is None else leaf.route
        upstream = route.upstreams[0] if route is not None and route.upstreams else None
        fields = _request_fields(inbound, match.owner, route, upstream, 499, started_ns)
    fields["error_kind"] = "client_disconnected"
    _state.logger.log(logging.INFO, "request", fields)


def record_preflight(inbound: Inbound, match: PlanMatch, status: int, started_ns: int) -> None:
    """Log the response to a CORS preflight request."""
    fields = _request_fields(inbound, match.owner, None, None, status, started_ns)
    _state.logger.log(logging.INFO, "request", fields)


def _record_warnings(result: ExchangeResult) -> None:
    """Log the messages of `warn()`."""
    for message in result.exchange.warnings:
        _state.logger.warning(
            "mapping_warning",
            request_id=result.exchange.inbound.request_id,
            mapping=result.mapping.name if result.mapping else None,
            message=message,
        )


def _defect_fields(defect: Defect) -> dict[str, Any]:
    return {"exception": defect.error, "traceback": list(defect.trace)}


def _exchange_fields(result: ExchangeResult) -> dict[str, Any]:
    exchange = result.exchange
    started = exchange.started_ns
    fields = _request_fields(
        exchange.inbound, result.mapping, result.route, exchange.upstream, result.response.status, started
    )
    tried = exchange.tried
    fields["attempts"] = len(tried) if len(tried) < 2 else sum(not call.mapping for call in tried)
    fields["bytes_sent"] = result.bytes_sent
    if result.events:
        fields["events"] = result.events
        fields["first_event_ms"] = round((result.first_event_ns - started) / 1e6, 3)
    if exchange.dropped or exchange.inner_dropped:
        fields["dropped_fields"] = list(islice(chain(exchange.dropped, exchange.inner_dropped), _MAX_ITEMS))
    if len(exchange.tried) > 1:
        outcomes = exchange.tried[:_MAX_ITEMS]
        fields["attempt_outcomes"] = [f"{call.name}: {call.outcome}" for call in outcomes]
    return fields


def _request_fields(
    inbound: Inbound,
    mapping: MappingPlan | None,
    route: RoutePlan | None,
    upstream: str | None,
    status: int,
    started_ns: int,
) -> dict[str, Any]:
    fields: dict[str, Any] = {"request_id": inbound.request_id}
    if inbound.client:
        fields["client"] = inbound.client
    if mapping is not None:
        fields["mapping"] = mapping.name
    if inbound.key is not None:
        fields["key_name"] = inbound.key
    if route is not None:
        fields["route"] = f"{route.method} {route.pattern}"
    if upstream is not None:
        fields["upstream"] = upstream
        url = None if mapping is None else _upstream_url(mapping, upstream)
        if url is not None:
            fields["upstream_url"] = url
    fields["method"] = inbound.method
    fields["path"] = (
        inbound.path if mapping is None or not mapping.secrets else _masked_path(inbound, mapping)
    )
    fields["status_code"] = status
    fields["duration_ms"] = round((time.monotonic_ns() - started_ns) / 1e6, 3)
    return fields


def _masked_path(inbound: Inbound, mapping: MappingPlan) -> str:
    """The path of a request; secrets in it are replaced, whether they are percent-encoded or not."""
    path = inbound.path
    data = unquote_to_bytes(path) if "%" in path else path.encode("utf-8", "surrogateescape")
    found = [secret for secret in mapping.secrets if secret in data]
    if not found:
        return path
    for secret in found:
        data = data.replace(secret, b"***")
    return quote(data, safe="/*:@!$&'()+,;=")


def _upstream_url(mapping: MappingPlan, upstream: str) -> str | None:
    """The origin of an upstream, or `mapping:NAME` for another mapping."""
    plan = mapping.upstreams.get(upstream)
    if plan is None:
        return None
    return plan.origin if plan.mapping is None else f"mapping:{plan.mapping}"
