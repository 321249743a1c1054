"""Log lines in both formats: one write per line, escaped control characters, no error from a failed write."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
from typing import Any

import pytest

from engine.observability.log_lines import Format, LineLogger

FORMATS: tuple[Format, ...] = ("json", "console")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


class Stream(io.StringIO):
    """Records each write; optionally reports that it is a terminal."""

    def __init__(self, is_terminal: bool = False) -> None:
        super().__init__()
        self.writes: list[str] = []
        self._is_terminal = is_terminal

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)

    def isatty(self) -> bool:
        return self._is_terminal


class Full(Stream):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def line(log_format: Format, event: str = "request", /, **fields: Any) -> str:
    """Returns the written line without its end; asserts a single write."""
    stream = Stream()
    LineLogger(logging.INFO, log_format, stream).info(event, **fields)
    (text,) = stream.writes
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text[:-1]


def pairs(**fields: Any) -> str:
    """Returns the `key=value` pairs of a console line."""
    return line("console", "e", **fields).partition("] e")[2].lstrip()


def test_a_json_line_has_its_fields_in_order() -> None:
    found = json.loads(line("json", a=1, b=None, c=["x", {"y": 2.5}]))
    assert list(found) == ["a", "b", "c", "event", "level", "timestamp"]
    assert (found["a"], found["b"], found["c"]) == (1, None, ["x", {"y": 2.5}])
    assert (found["event"], found["level"]) == ("request", "info")


def test_a_console_line_is_time_level_event_and_pairs() -> None:
    text = line("console", path="/a/{id}", status_code=200, upstream=None, took=1.5, ok=True)
    assert re.fullmatch(
        rf"{TIME} \[info    \] request path=/a/{{id}} status_code=200 took=1\.5 ok=true", text
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("GET /x", '"GET /x"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('quote "no"', r'"quote \"no\""'),
        ("straße", '"straße"'),
        ("a\nb", r'"a\nb"'),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("\u202eright to left", r'"\u202eright to left"'),
        ("\ud800", r'"\ud800"'),
        (["a", 1], '["a", 1]'),
        ({"a": None}, '{"a": null}'),
        ({1}, '"{1}"'),
    ],
    ids=ascii,
)
def test_values_on_the_console(value: Any, text: str) -> None:
    assert pairs(v=value) == f"v={text}"


@pytest.mark.parametrize("log_format", FORMATS)
def test_lone_surrogates_are_escaped(log_format: Format) -> None:
    text = line(log_format, path="/\ud800", other={"\udfff": 1})
    assert r"\ud800" in text
    assert r"\udfff" in text
    text.encode("utf-8")
    assert re.search(TIME, text)


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_line_that_cannot_be_written_is_dropped(log_format: Format) -> None:
    LineLogger(logging.INFO, log_format, Full()).error("request", a=1)


@pytest.mark.parametrize("log_format", FORMATS)
def test_lines_below_the_level_are_not_written(log_format: Format) -> None:
    stream = Stream()
    logger = LineLogger(logging.WARNING, log_format, stream)
    logger.info("a")
    logger.log(logging.DEBUG, "b")
    assert stream.writes == []
    logger.warning("c")
    logger.error("d")
    logger.log(logging.CRITICAL, "e")
    assert len(stream.writes) == 3


@pytest.mark.parametrize(
    ("is_terminal", "no_color", "is_coloured"),
    [(True, None, True), (True, "", True), (True, "1", False), (False, None, False)],
)
def test_colours_need_a_terminal_and_no_no_color(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, no_color: str | None, is_coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    stream = Stream(is_terminal)
    logger = LineLogger(logging.INFO, "console", stream)
    logger.warning("request", path="/x", cause="a b")
    (text,) = stream.writes
    assert ("\x1b[" in text) is is_coloured
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert re.fullmatch(rf'{TIME} \[warning \] request path=/x cause="a b"\n', plain)


def test_json_is_never_coloured() -> None:
    stream = Stream(is_terminal=True)
    LineLogger(logging.INFO, "json", stream).info("request", path="/x")
    assert "\x1b" not in stream.writes[0]


@pytest.mark.parametrize("log_format", FORMATS)
def test_standard_error_is_looked_up_for_each_line(
    log_format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = LineLogger(logging.INFO, log_format)
    for _ in range(2):
        stream = Stream()
        monkeypatch.setattr("sys.stderr", stream)
        logger.info("request")
        assert len(stream.writes) == 1
