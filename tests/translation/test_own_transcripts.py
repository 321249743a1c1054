"""The transcripts of `tests/suites/transcripts`: each an upstream's stream, and all that its client reads.

They are suite files, one a feature, so `dragoman test` runs them too. Here each is fed whole, byte by byte,
split in two at every point and in chunks of chance, with every line end that its framing allows: what the
client reads is the same byte for byte.
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
#: Those whose request is wrong call nothing.
STREAMED = [case for case in ALL if case.values[0].calls]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still."""
    stopped = {"time": lambda: 1772366400.0, "time_ns": lambda: 1772366400 * 10**9, "monotonic_ns": lambda: 5}
    monkeypatch.setattr(times, "time", SimpleNamespace(**stopped))
    monkeypatch.setattr("engine.exchange.exchange.time", SimpleNamespace(monotonic_ns=lambda: 2))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the client reads of chunks; chance is the same each time."""

    def tell_again(case: Case, chunks: list[bytes]) -> Outcome:
        monkeypatch.setattr(ids, "secrets", SimpleNamespace(token_bytes=random.Random(1).randbytes))
        media_type = case.calls[0].response.content.media_type
        return run_offline(case.plans, case.inbound.path, case.body, chunks, media_type)

    return tell_again


def given(case: Case) -> bytes:
    return case.calls[0].response.content.data


def mismatches(case: Case, told: Outcome, body: bytes | None = None) -> list[str]:
    """How what was told differs from what is expected, with another body in its place."""
    response = told.result.response
    content = Content(told.body if body is None else body, response.media_type)
    result = replace(told.result, response=CompleteResponse(response.status, response.headers, content))
    return [str(mismatch) for mismatch in response_mismatches(case, result)]


def line_ends(case: Case) -> list[bytes]:
    """The stream with each line end that it may have."""
    data = given(case)
    if b"\r" in data or b"\n" not in data:
        return [data]
    ends = [b"\n", b"\r\n"] + ([b"\r"] if b"data:" in data else [])
    return [data.replace(b"\n", end) for end in ends]


def by_chance(data: bytes, chance: random.Random) -> list[bytes]:
    """The stream in up to 20 chunks, empty ones among them."""
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randint(1, 20)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def test_there_are_enough_of_both_kinds() -> None:
    names = [case.id for case in ALL]
    assert sum("-from-openai" in name for name in names) >= 25
    assert sum("-from-ollama" in name for name in names) >= 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_they_are_suites(file: Path) -> None:
    run = run_suites([file])
    assert (run.failed, run.not_run) == (0, 0), [
        str(mismatch) for case in run.suites[0].cases for mismatch in case.mismatches
    ]


@pytest.mark.parametrize("case", STREAMED)
def test_the_client_reads_what_is_expected(case: Case, told: Any) -> None:
    for data in line_ends(case):
        whole = told(case, [data])
        assert mismatches(case, whole) == []
        assert whole.body == told(case, [given(case)]).body


@pytest.mark.parametrize("case", STREAMED)
def test_however_the_stream_is_cut(case: Case, told: Any) -> None:
    whole = told(case, [given(case)])
    seen = (whole.status, whole.body, whole.failed)
    for data in line_ends(case)[:2]:
        ways = [
            [data[i : i + 1] for i in range(len(data))],
            *([data[:i], data[i:]] for i in range(len(data))),
        ]
        for chunks in ways:
            again = told(case, chunks)
            assert (again.status, again.body, again.failed) == seen, [len(chunk) for chunk in chunks]


@pytest.mark.parametrize("case", STREAMED)
def test_in_chunks_of_chance(case: Case, told: Any) -> None:
    whole = told(case, [given(case)])
    chance = random.Random(case.spec.name)
    for _ in range(CHUNKINGS):
        chunks = by_chance(chance.choice(line_ends(case)), chance)
        again = told(case, chunks)
        assert (again.status, again.body) == (whole.status, whole.body), [len(chunk) for chunk in chunks]


@pytest.mark.parametrize("case", STREAMED)
def test_an_expectation_can_fail(case: Case, told: Any) -> None:
    """An event too few, one too many and other words in one are each noticed."""
    whole = told(case, [given(case)])
    ends = b"\n\n" if b"data: " in whole.body else b"\n"
    events = whole.body.split(ends) if whole.status == 200 else [whole.body]
    events = [event for event in events if event]
    for number, event in enumerate(events):
        before, after = events[:number], events[number + 1 :]
        wrong = [[*before, *after], [*before, event.replace(b'e":', b'x":'), *after]]
        if whole.status == 200:
            wrong.append([*before, event, event, *after])
        for written in wrong:
            body = b"".join(piece + ends for piece in written)
            if body.strip() != whole.body.strip():
                assert mismatches(case, whole, body), body
