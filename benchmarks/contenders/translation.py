"""The translation of models and chats as plain code, shared by both handwritten translators."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import orjson


def epoch(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return int(time.time())


def iso_now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def models(body: Any) -> dict[str, Any]:
    """Ollama's list of models → OpenAI's."""
    data = [
        {"id": m["name"], "object": "model", "created": epoch(m["modified_at"]), "owned_by": "ollama"}
        for m in body["models"]
    ]
    return {"object": "list", "data": data}


def chat_request(body: Any) -> dict[str, Any]:
    """Ollama's chat request → OpenAI's."""
    options = body.get("options") or {}
    request: dict[str, Any] = {
        "model": re.sub(":latest$", "", body["model"]),
        "messages": [{"role": m["role"].lower(), "content": m["content"]} for m in body["messages"]],
        "stream": body.get("stream", True),
    }
    for name in ("temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty"):
        if options.get(name) is not None:
            request[name] = options[name]
    if options.get("num_predict", 0) > 0:
        request["max_tokens"] = options["num_predict"]
    if request["stream"]:
        request["stream_options"] = {"include_usage": True}
    return request


def _counts(usage: Any) -> dict[str, Any]:
    return {"prompt_eval_count": usage.get("prompt_tokens"), "eval_count": usage.get("completion_tokens")}


def chat_response(body: Any, model: str, started_ns: int) -> dict[str, Any]:
    """OpenAI's complete response → Ollama's."""
    choice = body["choices"][0]
    return {
        "model": model,
        "created_at": datetime.fromtimestamp(body["created"], UTC).isoformat(),
        "message": {"role": "assistant", "content": choice["message"]["content"] or ""},
        "done": True,
        "done_reason": "length" if choice["finish_reason"] == "length" else "stop",
        "total_duration": time.monotonic_ns() - started_ns,
        **_counts(body.get("usage") or {}),
    }


class ChatStream:
    """Translates the events of one OpenAI stream to Ollama's lines."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._started_ns = time.monotonic_ns()
        self._finish = "stop"
        self._usage: dict[str, Any] = {}

    def line(self, line: bytes | str) -> bytes:
        """The translation of one line of the upstream: a line, or empty."""
        data = line.encode() if isinstance(line, str) else line
        if not data.startswith(b"data: "):
            return b""
        if data == b"data: [DONE]":
            return self._last()
        event = orjson.loads(data[6:])
        self._usage = event.get("usage") or self._usage
        choice = event["choices"][0] if event["choices"] else {}
        self._finish = choice.get("finish_reason") or self._finish
        content = choice.get("delta", {}).get("content")
        return self._line(content, done=False) if content else b""

    def _last(self) -> bytes:
        reason = "length" if self._finish == "length" else "stop"
        taken = time.monotonic_ns() - self._started_ns
        return self._line("", done=True, done_reason=reason, total_duration=taken, **_counts(self._usage))

    def _line(self, content: str, **more: Any) -> bytes:
        message = {"role": "assistant", "content": content}
        line = {"model": self._model, "created_at": iso_now(), "message": message}
        return orjson.dumps(line | more) + b"\n"
