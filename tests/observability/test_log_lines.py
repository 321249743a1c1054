"""Log lines in both formats: one write per line, escaped control characters, no error from a failed write."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
from typing import Any

import pytest

from engine.observability.console_lines import ConsoleFormatter
from engine.observability.log_lines import Format, Formatter, LineLogger, json_line

FORMATTERS: dict[Format, Formatter] = {"json": json_line, "console": ConsoleFormatter(False)}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
CLOCK = r"\d\d:\d\d:\d\d"
#: The fields of a request with a complete response.
REQUEST = {
    "request_id": "r1",
    "client": "192.0.2.1",
    "mapping": "hello",
    "method": "GET",
    "path": "/hello/x",
    "status_code": 200,
    "duration_ms": 0.3124,
    "attempts": 1,
    "bytes_sent": 7,
}


class Stream(io.StringIO):
    """Records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


class Full(Stream):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def line(log_format: Format, event: str = "event", /, **fields: Any) -> str:
    """Returns the written line without its end; asserts a single write."""
    stream = Stream()
    LineLogger(logging.INFO, FORMATTERS[log_format], stream).info(event, **fields)
    (text,) = stream.writes
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text[:-1]


def pairs(**fields: Any) -> str:
    """Returns the `key=value` pairs of a console line."""
    return line("console", "e", **fields).partition(" e ")[2]


def test_a_json_line_has_its_fields_in_order() -> None:
    found = json.loads(line("json", a=1, c=["x", {"y": 2.5}]))
    assert list(found) == ["a", "c", "event", "level", "timestamp"]
    assert (found["a"], found["c"]) == (1, ["x", {"y": 2.5}])
    assert (found["event"], found["level"]) == ("event", "info")
    assert re.fullmatch(TIME, found["timestamp"])


def test_fields_without_a_value_are_omitted() -> None:
    assert json.loads(line("json", a=None, b=0, c=""))["b"] == 0
    assert "a" not in json.loads(line("json", a=None, b=0, c=""))
    assert pairs(a=None, b=0) == "b=0"


@pytest.mark.parametrize("log_format", FORMATTERS)
def test_common_fields_are_in_every_line(log_format: Format) -> None:
    stream = Stream()
    logger = LineLogger(logging.WARNING, FORMATTERS[log_format], stream)
    logger.common = {"worker": 3}
    logger.warning("a", b=1)
    logger.announce("c")
    assert len(stream.writes) == 2
    for text in stream.writes:
        assert re.search(r'"worker":3|worker=3', text)


def test_a_console_line_is_time_level_event_message_and_pairs() -> None:
    text = line("console", path="/a/{id}", status_code=200, upstream=None, took=1.5, ok=True)
    assert re.fullmatch(rf"{CLOCK} event path=/a/{{id}} status_code=200 took=1\.5 ok=true", text)
    text = written(logging.WARNING, "careful", message="do not\n do that", at="x y")
    assert re.fullmatch(rf'{CLOCK} warning careful do not\\n do that at="x y"\n', text)
    text = written(logging.ERROR, "internal_error", exception="KeyError", traceback=["a.py:1 f", "b.py:2 g"])
    assert re.fullmatch(
        rf"{CLOCK} error internal_error exception=KeyError\n {{9}}a.py:1 f\n {{9}}b.py:2 g\n", text
    )


def written(level: int, event: str, has_colors: bool = False, /, **fields: Any) -> str:
    """Returns what is written to a console; asserts a single write."""
    stream = Stream()
    LineLogger(logging.DEBUG, ConsoleFormatter(has_colors), stream).log(level, event, fields)
    (text,) = stream.writes
    return text


def request_line(**fields: Any) -> str:
    """Returns the lines of a request on the console, without the time."""
    text = written(logging.INFO, "request", **{**REQUEST, **fields})
    assert re.match(rf"{CLOCK} ", text)
    return text[9:-1]


def test_a_request_on_the_console_is_a_short_line() -> None:
    assert request_line() == "GET /hello/x 200 0.3 ms hello"
    assert request_line(mapping=None, duration_ms=1234.56, status_code=404) == "GET /hello/x 404 1235 ms"
    without_mapping = {name: value for name, value in REQUEST.items() if name != "mapping"}
    assert written(logging.INFO, "request", **without_mapping)[9:] == "GET /hello/x 200 0.3 ms\n"


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        ({"attempts": 2, "attempt_outcomes": ["a: 503", "b: 200"]}, "2 attempts: a: 503; b: 200"),
        ({"attempts": 1, "attempt_outcomes": ["a: 200", "a:b: 200"]}, "calls: a: 200; a:b: 200"),
        ({"input_tokens": 12, "output_tokens": 34}, "tokens: 12 input + 34 output"),
        ({"output_tokens": 34}, "tokens: 34 output"),
        ({"events": 3, "first_event_ms": 12.34}, "3 events, first after 12.3 ms"),
        ({"dropped_fields": ["n", "a b"]}, 'dropped fields: n "a b"'),
        ({"dropped_fields": ["x\n\x1b[2J"]}, r'dropped fields: "x\n\u001b[2J"'),
    ],
)
def test_what_is_unusual_about_a_request_is_on_its_line(fields: dict[str, Any], details: str) -> None:
    assert request_line(**fields) == f"GET /hello/x 200 0.3 ms hello ({details})"


def test_an_error_has_a_line_below_its_request() -> None:
    error = {"error_kind": "upstream_error", "error_message": "the upstream is down", "cause": "refused\nx"}
    assert request_line(status_code=502, **error) == (
        "GET /hello/x 502 0.3 ms hello\n"
        r"         upstream_error: the upstream is down: refused\nx (request r1)"
    )
    assert request_line(status_code=400, error_kind="invalid_request", error_message="no") == (
        "GET /hello/x 400 0.3 ms hello\n         invalid_request: no"
    )
    assert request_line(status_code=499, error_kind="client_disconnected").endswith(
        "\n         client_disconnected"
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("path", "/a\n13:43:37 GET /forged 200", r'"/a\n13:43:37 GET /forged 200"'),
        ("path", "/a b", '"/a b"'),
        ("path", "/\x1b[2J", r'"/\u001b[2J"'),
        ("path", "/\u202egnp", r'"/\u202egnp"'),
        ("path", "/\ud800", r'"/\ud800"'),
        ("path", "/stra\xdfe", "/stra\xdfe"),
        ("method", "G\rT", r'"G\rT"'),
    ],
)
def test_a_client_cannot_write_lines_or_move_the_cursor(name: str, value: str, expected: str) -> None:
    text = request_line(**{name: value})
    assert expected in text
    assert text.count("\n") == 0
    text = request_line(error_kind="invalid_request", error_message=value, cause=value)
    assert text.count("\n") == 1
    assert "\x1b" not in text
    text.encode("utf-8")


def test_reloads_on_the_console() -> None:
    done = {"outcome": "done", "generation": 2, "mappings": ["a", "b"], "seconds": 0.03}
    assert written(logging.INFO, "reload", **done)[9:] == "reloaded a, b (generation 2, 0.03 s)\n"
    failed = {"outcome": "failed", "generation": 1, "reason": "the mappings have errors"}
    assert written(logging.ERROR, "reload", **failed)[9:] == (
        "reload failed: the mappings have errors; generation 1 stays in use\n"
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


@pytest.mark.parametrize("log_format", FORMATTERS)
def test_lone_surrogates_are_escaped(log_format: Format) -> None:
    text = line(log_format, path="/\ud800", other={"\udfff": 1})
    assert r"\ud800" in text
    assert r"\udfff" in text
    text.encode("utf-8")
    assert re.search(TIME if log_format == "json" else CLOCK, text)


@pytest.mark.parametrize("log_format", FORMATTERS)
def test_a_line_that_cannot_be_written_is_dropped(log_format: Format) -> None:
    LineLogger(logging.INFO, FORMATTERS[log_format], Full()).error("event", a=1)


@pytest.mark.parametrize("log_format", FORMATTERS)
def test_lines_below_the_level_are_not_written(log_format: Format) -> None:
    stream = Stream()
    logger = LineLogger(logging.WARNING, FORMATTERS[log_format], stream)
    logger.info("a")
    logger.log(logging.DEBUG, "b", {})
    assert stream.writes == []
    logger.warning("c")
    logger.error("d")
    logger.log(logging.CRITICAL, "e", {})
    assert len(stream.writes) == 3


@pytest.mark.parametrize(
    ("status", "color"), [(200, "32"), (304, "36"), (404, "33"), (499, "33"), (502, "31")]
)
def test_the_color_of_a_status_is_that_of_its_class(status: int, color: str) -> None:
    fields = {**REQUEST, "status_code": status, "error_kind": "x"}
    text = written(logging.INFO, "request", True, **fields)
    assert f"\x1b[{color}m{status}\x1b[0m" in text
    if status >= 400:
        assert f"\x1b[{color}mx\x1b[0m" in text
    assert re.sub(r"\x1b\[[\d;]*m", "", text)[9:] == written(logging.INFO, "request", **fields)[9:]


def test_warnings_and_errors_have_colors() -> None:
    assert "\x1b[33mwarning\x1b[0m" in written(logging.WARNING, "x", True)
    assert "\x1b[31merror\x1b[0m" in written(logging.ERROR, "x", True)


@pytest.mark.parametrize("log_format", FORMATTERS)
def test_standard_error_is_looked_up_for_each_line(
    log_format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = LineLogger(logging.INFO, FORMATTERS[log_format])
    for _ in range(2):
        stream = Stream()
        monkeypatch.setattr("sys.stderr", stream)
        logger.info("event")
        assert len(stream.writes) == 1
