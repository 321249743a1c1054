"""Requests of the load generator, and what a right answer to each is.

An answer is checked fully once for each contender; under load its status, its length and its number of lines
are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks import payloads

#: What an answer must hold; raises `AssertionError` or any error of reading it.
Check = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        body: a JSON value, or None for no body.
        check: of a whole answer; None where it never ends.
        lines: line feeds that one event of a stream takes.
        headers: beside those that every request has.
    """

    method: str
    path: str
    body: Any = None
    check: Check | None = None
    lines: int = 1
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def data(self) -> bytes:
        """The body's bytes."""
        return b"" if self.body is None else orjson.dumps(self.body)

    @property
    def request(self) -> bytes:
        """The bytes on the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "host: 127.0.0.1", "accept: */*"]
        if self.body is not None:
            lines += ["content-type: application/json", f"content-length: {len(self.data)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.data


Asks = dict[str, Ask]


def models_listed(body: bytes) -> None:
    answer = orjson.loads(body)
    assert answer["object"] == "list"
    assert [(model["id"], model["created"]) for model in answer["data"]] == payloads.listed(10)
    assert all((m["object"], m["owned_by"]) == ("model", "ollama") for m in answer["data"])


def any_json(body: bytes) -> None:
    orjson.loads(body)


def ollama_answered(body: bytes) -> None:
    answer = orjson.loads(body)
    assert answer["message"] == {"role": "assistant", "content": payloads.ANSWER}
    assert answer["done"] is True
    assert answer["eval_count"] == 140


def openai_answered(body: bytes) -> None:
    answer = orjson.loads(body)
    assert answer["choices"][0]["message"]["content"] == payloads.ANSWER
    assert answer["usage"]["completion_tokens"] == 140


def ollama_streamed(count: int) -> Check:
    def check(body: bytes) -> None:
        lines = [orjson.loads(line) for line in body.splitlines()]
        assert [line["message"]["content"] for line in lines[:-1]] == payloads.words(count)
        assert lines[-1]["done"] is True
        assert lines[-1]["done_reason"] == "stop"

    return check


def openai_streamed(count: int) -> Check:
    def check(body: bytes) -> None:
        blocks = body.decode().strip().split("\n\n")
        assert blocks[-1] == "data: [DONE]"
        chunks = [orjson.loads(block.removeprefix("data: ")) for block in blocks[:-1]]
        choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
        assert "".join(c["delta"].get("content") or "" for c in choices) == "".join(payloads.words(count))
        assert any(choice.get("finish_reason") == "stop" for choice in choices)

    return check


def models(path: str, check: Check = models_listed) -> Asks:
    return {"models": Ask("GET", path, check=check)}


def ollama_chats(path: str = "/api/chat") -> Asks:
    """Chats by their names, as a client of Ollama asks for them."""

    def ask(model: str, stream: bool, check: Check | None = None) -> Ask:
        return Ask("POST", path, payloads.ollama_request(model, stream), check)

    return {
        "chat": ask("plain", False, ollama_answered),
        "first": ask("short", True, ollama_streamed(payloads.SHORT_CHUNKS)),
        "burst": ask("burst", True, ollama_streamed(payloads.BURST_CHUNKS)),
        "paced": ask("paced", True),
        "idle": ask("idle", True),
    }


def openai_chats(path: str = "/v1/chat/completions") -> Asks:
    """Chats by their names, as a client of OpenAI asks for them."""

    def ask(model: str, stream: bool, check: Check | None = None) -> Ask:
        return Ask("POST", path, payloads.openai_request(model, stream), check, lines=2)

    return {
        "chat": ask("plain", False, openai_answered),
        "first": ask("short", True, openai_streamed(payloads.SHORT_CHUNKS)),
        "burst": ask("burst", True, openai_streamed(payloads.BURST_CHUNKS)),
        "paced": ask("paced", True),
        "idle": ask("idle", True),
    }
