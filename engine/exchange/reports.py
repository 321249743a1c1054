"""What an exchange reports about itself: the fields that were not carried over, and the calls that it made.

Contract: a mapping that calls another one in this process adds its report, with the name of that mapping, to
its own, so the client sees those of all mappings. A header value has at most 4 KiB, and `...` replaces the
rest. A report has hardly more, however long the body is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from engine.exchange.exchange import Exchange
from engine.exchange.unread_fields import header_names
from engine.http.messages import NO_REPORT, CallOutcome, Report
from engine.plan import UpstreamPlan

_MAX_BYTES: Final = 4096
_SEPARATOR: Final = ", "
_MORE: Final = "..."


def report_of(exchange: Exchange) -> Report:
    """The report of an exchange."""
    if not (exchange.dropped or exchange.tried or exchange.inner_dropped):
        return NO_REPORT
    return Report(
        tuple(_until_full(header_names(exchange.dropped))),
        tuple(_until_full(exchange.inner_dropped)),
        tuple(exchange.tried[: _MAX_BYTES // len(_SEPARATOR)]),
    )


def add_inner_calls(exchange: Exchange, upstream: UpstreamPlan, report: Report) -> None:
    """Add the calls that another mapping made."""
    if not report.calls:
        return
    mapping = upstream.mapping or ""
    exchange.tried += (call if call.mapping else call._replace(mapping=mapping) for call in report.calls)


def add_inner_dropped(exchange: Exchange, upstream: UpstreamPlan, report: Report) -> None:
    """Add the fields that another mapping, and those that it called, did not carry over."""
    if report is NO_REPORT:
        return
    for field in report.dropped:
        exchange.inner_dropped[f"{upstream.mapping}:{field}"] = None
    exchange.inner_dropped |= dict.fromkeys(report.inner_dropped)


def restore_dropped(exchange: Exchange, report: Report) -> None:
    """Set the fields that were not carried over to those of a cached response."""
    exchange.dropped = list(report.dropped)
    exchange.inner_dropped = dict.fromkeys(report.inner_dropped)


def dropped_header(exchange: Exchange) -> str:
    """The value of `X-Dragoman-Dropped`; empty if all fields were carried over."""
    return _listed([*_until_full(header_names(exchange.dropped)), *_until_full(exchange.inner_dropped)])


def calls_header(exchange: Exchange) -> str:
    """The value of `X-Dragoman-Upstream`."""
    return _listed(map(_item, exchange.tried))


def _item(call: CallOutcome) -> str:
    """A call as an item of a structured field (RFC 9651, 3.3)."""
    return f"{call.name};{'status' if isinstance(call.outcome, int) else 'failed'}={call.outcome}"


def _listed(names: Iterable[str]) -> str:
    """Names as a header value."""
    text = _SEPARATOR.join(islice(names, _MAX_BYTES))
    if len(text) <= _MAX_BYTES:
        return text
    end = text.rindex(_SEPARATOR, 0, _MAX_BYTES - len(_MORE))
    return text[:end] + _SEPARATOR + _MORE


def _until_full(names: Iterable[str]) -> Iterator[str]:
    """The names up to the first one that exceeds 4 KiB: a list that ends there is still too long for a
    header."""
    size = 0
    for name in names:
        yield name
        size += len(name)
        if size > _MAX_BYTES:
            return
