"""The transcripts of `tests/suites/transcripts`: upstream streams, and everything the client reads.

They are suite files, one per feature, so `dragoman test` runs them too. Here each stream is sent in one
chunk, byte by byte, split in two at every position, and in random chunks, with every line end that its
framing allows: the client must read the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import run_suites
from engine.http.messages import CompleteResponse, Content
from engine.language.functions import ids, times
from engine.testing.cases import Case
from engine.testing.comparison import response_mismatches
from engine.testing.loading import load_suite
from tests.support.exchanges import Outcome, run_offline

FILES = sorted((Path(__file__).parents[1] / "suites" / "transcripts").glob("*.test.yaml"))
CHUNKINGS = 200


def read_cases() -> Iterator[Any]:
    for file in FILES:
        suite = load_suite(file)
        assert not suite.findings.has_errors, [f"{f.span}: {f.message}" for f in suite.findings]
        name = file.name.removesuffix(".test.yaml")
        yield from (pytest.param(case, id=f"{name}: {case.spec.name}") for case in suite.cases)


ALL = list(read_cases())
#: Cases with an invalid request make no call.
STREAMED = [case for case in ALL if case.values[0].calls]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clocks."""
    stopped = {"time": lambda: 1772366400.0, "time_ns": lambda: 1772366400 * 10**9, "monotonic_ns": lambda: 5}
    monkeypatch.setattr(times, "time", SimpleNamespace(**stopped))
    monkeypatch.setattr("engine.exchange.exchange.time", SimpleNamespace(monotonic_ns=lambda: 2))


@pytest.fixture
def run_case(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a case with the given chunks; random ids are the same each time."""

    def run(case: Case, chunks: list[bytes]) -> Outcome:
        monkeypatch.setattr(ids, "secrets", SimpleNamespace(token_bytes=random.Random(1).randbytes))
        media_type = case.calls[0].response.content.media_type
        return run_offline(case.plans, case.inbound.path, case.body, chunks, media_type)

    return run


def given(case: Case) -> bytes:
    return case.calls[0].response.content.data


def mismatches(case: Case, exchange: Outcome, body: bytes | None = None) -> list[str]:
    """The differences from the expected response; `body` replaces the body that the client read."""
    response = exchange.result.response
    content = Content(exchange.body if body is None else body, response.media_type)
    result = replace(exchange.result, response=CompleteResponse(response.status, response.headers, content))
    return [str(mismatch) for mismatch in response_mismatches(case, result)]


def line_ends(case: Case) -> list[bytes]:
    """The stream with each line end that its framing allows."""
    data = given(case)
    if b"\r" in data or b"\n" not in data:
        return [data]
    ends = [b"\n", b"\r\n"] + ([b"\r"] if b"data:" in data else [])
    return [data.replace(b"\n", end) for end in ends]


def random_chunks(data: bytes, chance: random.Random) -> list[bytes]:
    """The stream in up to 20 chunks; some may be empty."""
    positions = sorted(chance.choices(range(len(data) + 1), k=chance.randint(1, 20)))
    return [data[a:b] for a, b in zip([0, *positions], [*positions, len(data)], strict=True)]


def test_there_are_enough_transcripts_of_both_apis() -> None:
    names = [case.id for case in ALL]
    assert sum("-from-openai" in name for name in names) >= 25
    assert sum("-from-ollama" in name for name in names) >= 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_transcripts_pass_as_suites(file: Path) -> None:
    run = run_suites([file])
    assert (run.failed, run.not_run) == (0, 0), [
        str(mismatch) for case in run.suites[0].cases for mismatch in case.mismatches
    ]


@pytest.mark.parametrize("case", STREAMED)
def test_the_client_reads_the_expected_response(case: Case, run_case: Any) -> None:
    for data in line_ends(case):
        exchange = run_case(case, [data])
        assert mismatches(case, exchange) == []
        assert exchange.body == run_case(case, [given(case)]).body


@pytest.mark.parametrize("case", STREAMED)
def test_the_client_reads_the_same_for_any_split(case: Case, run_case: Any) -> None:
    unsplit = run_case(case, [given(case)])
    seen = (unsplit.status, unsplit.body, unsplit.failed)
    for data in line_ends(case)[:2]:
        ways = [
            [data[i : i + 1] for i in range(len(data))],
            *([data[:i], data[i:]] for i in range(len(data))),
        ]
        for chunks in ways:
            again = run_case(case, chunks)
            assert (again.status, again.body, again.failed) == seen, [len(chunk) for chunk in chunks]


@pytest.mark.parametrize("case", STREAMED)
def test_the_client_reads_the_same_in_random_chunks(case: Case, run_case: Any) -> None:
    unsplit = run_case(case, [given(case)])
    chance = random.Random(case.spec.name)
    for _ in range(CHUNKINGS):
        chunks = random_chunks(chance.choice(line_ends(case)), chance)
        again = run_case(case, chunks)
        assert (again.status, again.body) == (unsplit.status, unsplit.body), [len(chunk) for chunk in chunks]


@pytest.mark.parametrize("case", STREAMED)
def test_any_changed_event_is_a_mismatch(case: Case, run_case: Any) -> None:
    """A missing event, a repeated event and a changed event are each a mismatch."""
    unsplit = run_case(case, [given(case)])
    ends = b"\n\n" if b"data: " in unsplit.body else b"\n"
    events = unsplit.body.split(ends) if unsplit.status == 200 else [unsplit.body]
    events = [event for event in events if event]
    for number, event in enumerate(events):
        before, after = events[:number], events[number + 1 :]
        wrong = [[*before, *after], [*before, event.replace(b'e":', b'x":'), *after]]
        if unsplit.status == 200:
            wrong.append([*before, event, event, *after])
        for written in wrong:
            body = b"".join(piece + ends for piece in written)
            if body.strip() != unsplit.body.strip():
                assert mismatches(case, unsplit, body), body
