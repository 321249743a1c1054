"""The cases of `tests/suites/streams`: one file per feature, each case a stream and its events.

A file names its `framing`. A case has `given` and the expected result; texts are bytes in ASCII, with the
escapes of a bytes literal:

- `expect`: the events, each as its data or as `{ event: its name, id: …, data: … }`;
- `bound`: the maximum number of bytes of an event, if not the default;
- `fails: true`: the decoder fails after these events.

Each case must hold for any chunks and any line ends. `endless` lists endless events for `test_bounds`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from engine.codecs import FRAMINGS, MAX_EVENT_BYTES, Event, FramingError

from .chunks import Outcome, all_splits, decoded, one_by_one, unescaped

FOLDER = Path(__file__).parents[1] / "suites" / "streams"


class Case(NamedTuple):
    """A stream and its expected outcome."""

    framing: str
    stream: bytes
    outcome: Outcome
    bound: int = MAX_EVENT_BYTES


def read_case(framing: str, case: str, given: str, expect: list[Any], **more: Any) -> Any:
    """A case of a file, as a parameter of a test."""
    events = [event(item) for item in expect]
    outcome = Outcome(events, more.pop("fails", False))
    return pytest.param(Case(framing, unescaped(given), outcome, **more), id=f"{framing}-{case}")


def event(item: str | dict[str, str]) -> Event:
    if isinstance(item, str):
        return Event(unescaped(item))
    name, identifier = (unescaped(item[key]).decode() if key in item else None for key in ("event", "id"))
    return Event(unescaped(item["data"]), name, identifier)


def cases() -> list[Any]:
    suites = [yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))]
    return [read_case(suite["framing"], **case) for suite in suites for case in suite["cases"]]


def line_ends(ends: bytes) -> Callable[[bytes], bytes]:
    """A function that replaces the line ends of a stream."""
    return lambda stream: stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", ends)


#: By framing, functions that write the same stream in another way.
SAME: dict[str, dict[str, Callable[[bytes], bytes]]] = {
    "sse": {"LF": line_ends(b"\n"), "CR LF": line_ends(b"\r\n"), "CR": line_ends(b"\r")},
}


@pytest.mark.parametrize("case", cases())
def test_case(case: Case) -> None:
    assert decoded(case.framing, [case.stream], case.bound) == case.outcome


@pytest.mark.parametrize("case", cases())
def test_case_in_chunks(case: Case) -> None:
    for chunks in all_splits(case.stream):
        assert decoded(case.framing, chunks, case.bound) == case.outcome, chunks


@pytest.mark.parametrize("case", [case for case in cases() if case.values[0].framing in SAME])
def test_case_with_other_line_ends(case: Case) -> None:
    for name, written in SAME[case.framing].items():
        stream = written(case.stream)
        assert decoded(case.framing, [stream], case.bound) == case.outcome, name
        for chunks in all_splits(stream, longest_for_pairs=32):
            assert decoded(case.framing, chunks, case.bound) == case.outcome, (name, chunks)


@pytest.mark.parametrize("case", [case for case in cases() if not case.values[0].outcome.failed])
def test_decoders_share_no_state(case: Case) -> None:
    """Two decoders fed in turn, byte by byte, give the same events as each one alone."""
    new = FRAMINGS[case.framing].decoder
    first, second = new(case.bound), new(case.bound)
    read: tuple[list[Event], list[Event]] = ([], [])
    for byte in one_by_one(case.stream):
        read[0].extend(first.feed(byte))
        read[1].extend(second.feed(byte))
    read[0].extend(first.close())
    read[1].extend(second.close())
    assert read == (case.outcome.events, case.outcome.events)


@pytest.mark.parametrize("case", cases())
def test_case_after_another_stream(case: Case) -> None:
    """A decoder that failed, or was abandoned in the middle of an event, does not affect the next one."""
    for before in (b"\xef\xbb", b"data: left\r", b"event: e\ndata: left", b"x" * (case.bound % 4096 + 1)):
        decoded(case.framing, [before], case.bound)
        with suppress(FramingError):
            FRAMINGS[case.framing].decoder(MAX_EVENT_BYTES).feed(before)
        assert decoded(case.framing, [case.stream], case.bound) == case.outcome
