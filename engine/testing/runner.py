"""Runs suites: each case runs the real code with stubbed upstreams, and its result is compared.

Contract: no network, and no exception leaves a case: every problem is a mismatch.
Calls receive the stub responses of the case in order; an unexpected call ends the case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine import exchange
from engine.compiler.masking import Mask
from engine.diagnostics import Findings
from engine.errors import call_failed
from engine.http.messages import EMPTY, Content, UpstreamResponse
from engine.locations import Span
from engine.testing.cases import Case, StubbedCall
from engine.testing.comparison import ReceivedCall, call_mismatches, response_mismatches
from engine.testing.coverage import RunCoverage, Uncovered
from engine.testing.expectations import Mismatch
from engine.testing.loading import Suite, load_suite
from engine.testing.offline import Halt, OfflineSource, carry_out, describe_error
from engine.testing.pipeline_law import law_mismatches


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of a case. `failure` is the error of its exchange, expected or not."""

    name: str
    span: Span
    mismatches: tuple[Mismatch, ...]
    failure: str | None = None

    @property
    def passed(self) -> bool:
        return not self.mismatches


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """The result of a suite. If there are errors among its findings, none of its cases has run.

    Attributes:
        names: the names of all its cases, also of those that were not selected.
    """

    file: str
    findings: Findings
    cases: tuple[CaseResult, ...]
    names: tuple[str, ...] = ()

    @property
    def location(self) -> Span:
        """The file as a whole."""
        return Span.whole(self.file)

    @property
    def failed(self) -> int:
        return sum(not case.passed for case in self.cases)


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """The results of all suites, and the locations that none of them has reached."""

    suites: tuple[SuiteResult, ...]
    uncovered: tuple[Uncovered, ...] = field(default=())

    @property
    def passed(self) -> int:
        return sum(len(suite.cases) - suite.failed for suite in self.suites)

    @property
    def failed(self) -> int:
        return sum(suite.failed for suite in self.suites)

    @property
    def not_run(self) -> int:
        return sum(suite.findings.has_errors for suite in self.suites)


def run_suites(files: Iterable[Path], name_part: str = "") -> SuiteRun:
    """Run suite files.

    Args:
        files: `*.test.yaml` files.
        name_part: run only cases whose names contain this; coverage is not reported then.
    """
    coverage = RunCoverage()
    suites = tuple(_run(load_suite(file), name_part, coverage) for file in files)
    return SuiteRun(suites, () if name_part else tuple(coverage.uncovered()))


def _run(suite: Suite, name_part: str, coverage: RunCoverage) -> SuiteResult:
    results = []
    for case in suite.cases:
        if name_part in case.spec.name:
            coverage.watch(case.plans)
            results.append(_run_case(case, coverage))
    if not suite.findings.has_errors:
        coverage.add_branches(suite.coverage)
    names = tuple(case.spec.name for case in suite.cases)
    return SuiteResult(suite.file, suite.findings, tuple(results), names)


# --- One case --------------------------------------------------------------------------------------------


class _UnexpectedCall(Halt):
    """A call that the case does not expect."""


@dataclass(slots=True)
class _CaseStub:
    """Returns the stub responses of a case in order, and records the calls."""

    stubs: tuple[StubbedCall, ...]
    received: list[ReceivedCall] = field(default_factory=list)
    batches: list[bytes] = field(default_factory=list)
    media_type: str = ""

    def next(self) -> bytes | None:
        """The next piece of a streaming response."""
        return self.batches.pop(0) if self.batches else None

    def rest(self) -> Content:
        """The rest of a streaming response."""
        left, self.batches = b"".join(self.batches), []
        return Content(left, self.media_type)

    def send(self, effect: exchange.SendCall) -> UpstreamResponse:
        """The stub response to the next call."""
        self.received.append(ReceivedCall.of(effect.request))
        if len(self.received) > len(self.stubs):
            raise _UnexpectedCall
        stub = self.stubs[len(self.received) - 1]
        if stub.failure is not None:
            is_large = stub.failure == "too_large"
            cause = f"over {effect.request.max_bytes} bytes" if is_large else f"fail: {stub.failure}"
            raise call_failed(effect.request.upstream, stub.failure, cause)
        response = stub.response
        if not effect.streams:
            return response
        data, size = response.content.data, stub.split or len(response.content.data) or 1
        self.batches = [data[i : i + size] for i in range(0, len(data), size)]
        self.media_type = response.content.media_type
        return UpstreamResponse(
            response.status, response.headers, EMPTY, source=OfflineSource(effect.request.upstream)
        )


def _run_case(case: Case, coverage: RunCoverage) -> CaseResult:
    stub = _CaseStub(case.calls)
    match = case.plans.find(case.inbound.path, case.inbound.method)
    case.inbound.is_internal = match.owner is not None and not match.owner.is_public
    try:
        result = carry_out(exchange.run_exchange(match, case.inbound), case.content, stub)
    except _UnexpectedCall:
        params = match.params(match.leaf(case.inbound.method))
        return _result(case, [*call_mismatches(case, stub.received, params), _unexpected(case, stub)])
    coverage.record(result)
    mismatches = [
        *_defects(case, result),
        *call_mismatches(case, stub.received, result.exchange.params),
        *response_mismatches(case, result),
        *law_mismatches(result, case.calls[-1].response if case.calls else None),
    ]
    return _result(case, mismatches, describe_error(result))


def _result(case: Case, mismatches: list[Mismatch], failure: str | None = None) -> CaseResult:
    mask = Mask(case.keys)
    masked = (replace(mismatch, message=mask.text(mismatch.message)) for mismatch in mismatches)
    return CaseResult(case.spec.name, case.spec.node["name"].span, tuple(masked), failure)


def _unexpected(case: Case, stub: _CaseStub) -> Mismatch:
    """The mismatch of an unexpected call."""
    count = len(stub.stubs)
    expected = f"the case expects {count or 'no'} call{'' if count == 1 else 's'}"
    location = case.spec.node.get("upstream") or case.spec.node["name"]
    return Mismatch(
        f"upstream[{count}]", f"unexpected call {stub.received[-1]}: {expected}", location.key_span
    )


def _defects(case: Case, result: exchange.ExchangeResult) -> Iterator[Mismatch]:
    """An unexpected exception of the engine fails a case, whatever the case expects."""
    if result.defect is not None:
        message = f"internal error: {result.defect.error} in {result.defect.function}()"
        yield Mismatch("exchange", message, case.spec.node["name"].span)
