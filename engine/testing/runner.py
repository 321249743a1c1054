"""Suites run: each case carried out on the real path, with its upstreams faked, and compared.

Contract: nothing is sent anywhere, and no exception leaves a case: what goes wrong is a mismatch of it.
A call is answered in its turn from the case; one that is not expected there ends the case.
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
from engine.locations import SourceFile, Span
from engine.testing.cases import CannedCall, Case
from engine.testing.comparison import ReceivedCall, call_mismatches, response_mismatches
from engine.testing.coverage import RunCoverage, Uncovered
from engine.testing.expectations import Mismatch
from engine.testing.loading import Suite, load_suite
from engine.testing.offline import Halt, OfflineSource, carry_out, failure_of


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case went. `failure` is what the exchange failed of, where it did, expected or not."""

    name: str
    span: Span
    mismatches: tuple[Mismatch, ...]
    failure: str | None = None

    @property
    def passed(self) -> bool:
        return not self.mismatches


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """How a suite went; where there are errors among its findings, no case of it has run."""

    file: str
    findings: Findings
    cases: tuple[CaseResult, ...]

    @property
    def place(self) -> Span:
        """The file as a whole."""
        return Span(SourceFile(self.file, ""), 1, 1)

    @property
    def failed(self) -> int:
        return sum(not case.passed for case in self.cases)


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """How all suites went, and what none of them has reached."""

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
        name_part: run only cases with this in their names; then nothing is said of what was not reached.
    """
    reach = RunCoverage()
    suites = tuple(_run(load_suite(file), name_part, reach) for file in files)
    return SuiteRun(suites, () if name_part else tuple(reach.uncovered()))


def _run(suite: Suite, name_part: str, reach: RunCoverage) -> SuiteResult:
    results = []
    for case in suite.cases:
        if name_part in case.spec.name:
            reach.watch(case.plans)
            results.append(_run_case(case, reach))
    if not suite.findings.has_errors:
        reach.take(suite.coverage)
    return SuiteResult(suite.file, suite.findings, tuple(results))


# --- One case --------------------------------------------------------------------------------------------


class _UnexpectedCall(Halt):
    """More was called than the case expects."""


@dataclass(slots=True)
class _FakeUpstreams:
    """Answers calls in their turn, and keeps them."""

    canned: tuple[CannedCall, ...]
    received: list[ReceivedCall] = field(default_factory=list)
    batches: list[bytes] = field(default_factory=list)
    media_type: str = ""

    def next(self) -> bytes | None:
        """The next piece of a reply that is read as it comes."""
        return self.batches.pop(0) if self.batches else None

    def rest(self) -> Content:
        """All of it that is left."""
        left, self.batches = b"".join(self.batches), []
        return Content(left, self.media_type)

    def send(self, step: exchange.SendCall) -> UpstreamResponse:
        """The reply to a call, in its turn."""
        self.received.append(ReceivedCall.of(step.request))
        if len(self.received) > len(self.canned):
            raise _UnexpectedCall
        canned = self.canned[len(self.received) - 1]
        if canned.failure is not None:
            is_large = canned.failure == "too_large"
            cause = f"over {step.request.max_bytes} bytes" if is_large else f"fail: {canned.failure}"
            raise call_failed(step.request.upstream, canned.failure, cause)
        response = canned.response
        if not step.streams:
            return response
        data, size = response.content.data, canned.split or len(response.content.data) or 1
        self.batches = [data[i : i + size] for i in range(0, len(data), size)]
        self.media_type = response.content.media_type
        return UpstreamResponse(
            response.status, response.headers, EMPTY, source=OfflineSource(step.request.upstream)
        )


def _run_case(case: Case, reach: RunCoverage) -> CaseResult:
    fake = _FakeUpstreams(case.calls)
    match = case.plans.tree.find(case.inbound.path, case.inbound.method)
    try:
        result = carry_out(exchange.run_exchange(match, case.inbound), case.content, fake)
    except _UnexpectedCall:
        params = match.params(match.leaf(case.inbound.method))
        return _result(case, [*call_mismatches(case, fake.received, params), _unexpected(case, fake)])
    reach.note(result)
    mismatches = [
        *_defects(case, result),
        *call_mismatches(case, fake.received, result.exchange.params),
        *response_mismatches(case, result),
    ]
    return _result(case, mismatches, failure_of(result))


def _result(case: Case, mismatches: list[Mismatch], failure: str | None = None) -> CaseResult:
    mask = Mask(case.keys)
    told = (replace(mismatch, message=mask.text(mismatch.message)) for mismatch in mismatches)
    return CaseResult(case.spec.name, case.spec.node["name"].span, tuple(told), failure)


def _unexpected(case: Case, fake: _FakeUpstreams) -> Mismatch:
    """The call that the case does not expect."""
    count = len(fake.canned)
    expected = f"no more than {count} expected" if count else "none is expected"
    place = case.spec.node.get("upstream") or case.spec.node["name"]
    return Mismatch(f"upstream[{count}]", f"{fake.received[-1]} was called, but {expected}", place.key_span)


def _defects(case: Case, result: exchange.ExchangeResult) -> Iterator[Mismatch]:
    """An exception that the engine did not foresee fails a case, whatever it expects."""
    if result.defect is not None:
        message = f"a defect of the engine: {result.defect.error} in {result.defect.function}()"
        yield Mismatch("exchange", message, case.spec.node["name"].span)
