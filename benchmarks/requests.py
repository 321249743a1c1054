"""The requests of the load generator, with checks of their responses.

The first response of each contender to each request is checked completely; under load only status, length
and number of lines are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks import payloads

#: Checks a response body; raises `AssertionError`, or the error of a parser.
Check = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        body: a JSON value, or None for no body.
        check: checks the complete response; None if the response never ends.
        lines: the number of line feeds in one event of a stream.
        headers: in addition to those of every request.
    """

    method: str
    path: str
    body: Any = None
    check: Check | None = None
    lines: int = 1
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def data(self) -> bytes:
        """The bytes of the body."""
        return b"" if self.body is None else orjson.dumps(self.body)

    @property
    def encoded(self) -> bytes:
        """The request as HTTP/1.1 sends it."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "host: 127.0.0.1", "accept: */*"]
        if self.body is not None:
            lines += ["content-type: application/json", f"content-length: {len(self.data)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.data


Requests = dict[str, Request]


def check_models(body: bytes) -> None:
    response = orjson.loads(body)
    assert response["object"] == "list"
    assert [(model["id"], model["created"]) for model in response["data"]] == payloads.expected_models(10)
    assert all((m["object"], m["owned_by"]) == ("model", "ollama") for m in response["data"])


def check_json(body: bytes) -> None:
    orjson.loads(body)


def check_ollama_chat(body: bytes) -> None:
    response = orjson.loads(body)
    assert response["message"] == {"role": "assistant", "content": payloads.TEXT}
    assert response["done"] is True
    assert response["eval_count"] == 140


def check_openai_chat(body: bytes) -> None:
    response = orjson.loads(body)
    assert response["choices"][0]["message"]["content"] == payloads.TEXT
    assert response["usage"]["completion_tokens"] == 140


def ollama_stream_check(count: int) -> Check:
    def check(body: bytes) -> None:
        lines = [orjson.loads(line) for line in body.splitlines()]
        assert [line["message"]["content"] for line in lines[:-1]] == payloads.words(count)
        assert lines[-1]["done"] is True
        assert lines[-1]["done_reason"] == "stop"

    return check


def openai_stream_check(count: int) -> Check:
    def check(body: bytes) -> None:
        blocks = body.decode().strip().split("\n\n")
        assert blocks[-1] == "data: [DONE]"
        chunks = [orjson.loads(block.removeprefix("data: ")) for block in blocks[:-1]]
        choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
        assert "".join(c["delta"].get("content") or "" for c in choices) == "".join(payloads.words(count))
        assert any(choice.get("finish_reason") == "stop" for choice in choices)

    return check


def models(path: str, check: Check = check_models) -> Requests:
    return {"models": Request("GET", path, check=check)}


def ollama_chats(path: str = "/api/chat") -> Requests:
    """Chats with Ollama's API, by the names that measures use."""

    def request(model: str, stream: bool, check: Check | None = None) -> Request:
        return Request("POST", path, payloads.ollama_request(model, stream), check)

    return {
        "chat": request("plain", False, check_ollama_chat),
        "first": request("short", True, ollama_stream_check(payloads.SHORT_CHUNKS)),
        "burst": request("burst", True, ollama_stream_check(payloads.BURST_CHUNKS)),
        "paced": request("paced", True),
        "idle": request("idle", True),
    }


def openai_chats(path: str = "/v1/chat/completions") -> Requests:
    """Chats with OpenAI's API, by the names that measures use."""

    def request(model: str, stream: bool, check: Check | None = None) -> Request:
        return Request("POST", path, payloads.openai_request(model, stream), check, lines=2)

    return {
        "chat": request("plain", False, check_openai_chat),
        "first": request("short", True, openai_stream_check(payloads.SHORT_CHUNKS)),
        "burst": request("burst", True, openai_stream_check(payloads.BURST_CHUNKS)),
        "paced": request("paced", True),
        "idle": request("idle", True),
    }
