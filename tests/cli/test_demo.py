"""`dragoman demo`, the command of `make serve`: the printed commands, and the clients of Ollama and OpenAI.

The demo runs in a folder and an environment that would mislead `serve`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel

from tests.support.server import DEFECTS
from tests.support.times import PATIENCE, SOON, START
from tests.support.upstream import eventually

ROOT = Path(__file__).parents[2]
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
#: Settings of a user's environment that must not matter.
MISLEADING = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OLLAMA_HOST": "0.0.0.0", "LLM_PROVIDER": "openai"}
MESSAGES: list[Any] = [{"role": "user", "content": "good day"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["K", "C"]}},
            "required": ["city", "unit"],
        },
    },
}


class Person(BaseModel):
    name: str
    age: int
    friends: list[Person]
    boss: Person | None = None


class Demo:
    """A running demo: its base URL, and what it printed on standard output and error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=lambda to=to, stream=stream: to.extend(iter(stream.readline, "")))
            for to, stream in ((self.out, process.stdout), (self.err, process.stderr))
        ]
        for reader in self._readers:
            reader.start()
        done = eventually(lambda: self.has_started or process.poll() is not None, START)
        assert done, self.text()
        assert process.poll() is None, self.text()
        (self.url,) = self.urls

    def text(self) -> str:
        return "".join([*self.out, *self.err])

    @property
    def has_started(self) -> bool:
        """Whether all of it has been read: the outputs have a reader each."""
        return len(self.commands) == 3 and len(self.urls) == 1

    @property
    def urls(self) -> list[str]:
        return re.findall(r"at (http://\S+)\s", "".join(list(self.err)))

    @property
    def commands(self) -> list[str]:
        """The complete lines that are commands."""
        return [line.strip() for line in list(self.out) if re.match(r" +curl .*\n", line)]

    def join(self) -> None:
        for reader in self._readers:
            reader.join(PATIENCE)


@contextlib.contextmanager
def demo(folder: Path, env: Mapping[str, str], *arguments: str) -> Iterator[Demo]:
    """Run `dragoman demo` on a free port until the block ends."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    path = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "demo", "--port", "0", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        running = None
        try:
            running = Demo(process)
            yield running
        finally:
            process.terminate()
            try:
                status = process.wait(SOON)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            if running is not None:
                running.join()
    assert status == 0
    assert not [defect for defect in DEFECTS if defect in running.text()]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "demo").write_text("not a mapping")
    (folder / ".env").write_text("OPENAI_BASE_URL=http://127.0.0.1:1\nDRAGOMAN_PORT=1\n")
    with demo(folder, MISLEADING) as started:
        yield started


@pytest.fixture
def olla(running: Demo) -> Iterator[ollama.Client]:
    with ollama.Client(host=running.url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def oai(running: Demo) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0, timeout=PATIENCE) as client:
        yield client


def run_command(command: str, env: Mapping[str, str] | None = None) -> str:
    """Run a printed command in a shell; without curl, send the same request."""
    if shutil.which("curl"):
        done = subprocess.run(
            ["sh", "-c", command],
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=START,
            check=True,
        )
        return done.stdout
    for name, value in (env or {}).items():
        command = command.replace(f"${name}", value)
    words = shlex.split(command)
    (url,) = [word for word in words if word.startswith("http")]
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1] if "-d" in words else None
    return httpx.request("POST" if body else "GET", url, headers=headers, content=body, timeout=PATIENCE).text


# --- The banner ------------------------------------------------------------------------------------------


def test_the_banner_has_base_urls_and_no_colors(running: Demo) -> None:
    banner = "".join(running.out)
    assert re.search(rf"^ +Ollama clients +{running.url}$", banner, re.MULTILINE)
    assert re.search(rf"^ +OpenAI clients +{running.url}/v1$", banner, re.MULTILINE)
    assert "\x1b" not in banner
    assert "warning" not in banner
    for url in re.findall(r"^ +[A-Z].* (http://\S+)$", banner, re.MULTILINE):
        path = {"v1": "/models", "demo": "/"}.get(url.rpartition("/")[2], "")
        assert httpx.get(url + path, timeout=PATIENCE).status_code == 200, url


def test_the_printed_commands_work(running: Demo) -> None:
    listed, streamed, called = map(run_command, running.commands)
    assert [model["id"] for model in json.loads(listed)["data"]] == ["llama3:latest", "qwen3:4b"]
    lines = [json.loads(line) for line in streamed.splitlines()]
    assert [line["message"]["content"] for line in lines] == ["good", " day", ""]
    (call,) = json.loads(called)["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city":"example"}'}


def test_printed_commands_have_a_key_where_keys_are_set(tmp_path: Path) -> None:
    with demo(tmp_path, {"DRAGOMAN_API_KEYS": "first,second"}, "--host", "0.0.0.0") as started:
        assert "first" not in started.text()
        assert all("http://127.0.0.1:" in command for command in started.commands)
        for command in started.commands:
            assert "error" in json.loads(run_command(command, {"KEY": "third"}))
            assert "error" not in json.loads(run_command(command, {"KEY": "second"}).splitlines()[0])


def test_another_address_requires_keys(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli", "demo", "--port", "0", "--host", "0.0.0.0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=START)
    assert done.returncode == 1
    assert "no-key" in done.stderr
    assert "curl" not in done.stdout


def test_make_serve_runs_the_demo() -> None:
    make = ["make", "-n", "-s", "serve", "PORT=9000", "VENV=/venv", "-o", "/venv/.serve"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, timeout=START, check=True)
    assert done.stdout == "exec /venv/bin/dragoman demo --port 9000\n"


# --- Clients of Ollama -----------------------------------------------------------------------------------


def test_ollama_lists_and_shows_models(olla: ollama.Client) -> None:
    assert [model.model for model in olla.list().models] == ["llama3:latest", "qwen3:4b"]
    assert [model.model for model in olla.ps().models] == ["llama3:latest", "qwen3:4b"]
    assert olla.show("llama3").modelinfo is not None


def test_ollama_chats(olla: ollama.Client) -> None:
    complete = olla.chat("llama3", MESSAGES)
    assert complete.message.content == "good day"
    parts = list(olla.chat("llama3", MESSAGES, stream=True))
    assert [part.message.content for part in parts] == ["good", " day", ""]
    for last in (complete, parts[-1]):
        assert (last.done, last.done_reason, last.prompt_eval_count, last.eval_count) == (True, "stop", 2, 2)


def test_ollama_thinks(olla: ollama.Client) -> None:
    message = olla.chat("qwen3:4b", MESSAGES, think=True).message
    assert (message.thinking, message.content) == ("The last message is: good day", "good day")


def test_ollama_generates(olla: ollama.Client) -> None:
    assert olla.generate("llama3", "good day", images=[PICTURE]).response == (
        "good day (received 1 image: image/png, 16 bytes)"
    )
    limited = olla.generate("llama3", "one two three", options={"num_predict": 2})
    assert (limited.response, limited.done_reason) == ("one two", "length")


@pytest.mark.parametrize("stream", [True, False])
def test_ollama_calls_tools(olla: ollama.Client, stream: bool) -> None:
    first = olla.chat("llama3", MESSAGES, tools=[WEATHER], stream=stream)
    messages = [part.message for part in first] if stream else [first.message]
    (call,) = [call for message in messages for call in message.tool_calls or []]
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "example", "unit": "K"})
    history = [
        *MESSAGES,
        {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_name": "get_weather", "content": "18 degrees"},
    ]
    second = olla.chat("llama3", history, tools=[WEATHER], stream=stream)
    parts = list(second) if stream else [second]
    assert "".join(part.message.content or "" for part in parts) == "get_weather returned 18 degrees"


@pytest.mark.parametrize("stream", [True, False])
def test_ollama_structures_output(olla: ollama.Client, stream: bool) -> None:
    response = olla.chat("llama3", MESSAGES, format=Person.model_json_schema(), stream=stream)
    parts = list(response) if stream else [response]
    text = "".join(part.message.content or "" for part in parts)
    assert Person.model_validate_json(text).friends == []


def test_ollama_embeds(olla: ollama.Client) -> None:
    one, two, three = olla.embed("llama3", ["a red apple", "a red apple pie", "deep blue sea"]).embeddings
    assert math.isclose(math.hypot(*one), 1)
    assert dot(one, two) > dot(one, three)
    assert olla.embed("llama3", "a red apple").embeddings[0] == one
    (short,) = olla.embed("llama3", "a red apple", dimensions=8).embeddings
    assert len(short) == 8
    assert math.isclose(math.hypot(*short), 1)
    assert list(olla.embeddings("llama3", "a red apple").embedding) == list(one)


def dot(one: Any, two: Any) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


def test_ollama_receives_errors(olla: ollama.Client) -> None:
    for model, status in (("error-429", 429), ("error-400", 400), ("error-500", 502), ("nope", 404)):
        with pytest.raises(ollama.ResponseError) as raised:
            olla.chat(model, MESSAGES)
        assert raised.value.status_code == status
    stream = olla.chat("error-stream", MESSAGES, stream=True)
    assert next(stream).message.content == "good"
    with pytest.raises(ollama.ResponseError, match="the model failed"):
        list(stream)


# --- Clients of OpenAI -----------------------------------------------------------------------------------


def test_openai_lists_models(oai: openai.OpenAI) -> None:
    assert [model.id for model in oai.models.list()] == ["llama3:latest", "qwen3:4b"]
    assert oai.models.retrieve("qwen3:4b").id == "qwen3:4b"


def test_openai_chats(oai: openai.OpenAI) -> None:
    complete = oai.chat.completions.create(model="llama3", messages=MESSAGES)
    assert complete.choices[0].message.content == "good day"
    chunks = list(
        oai.chat.completions.create(
            model="llama3", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "good day"
    assert chunks[-1].usage == complete.usage
    assert complete.usage is not None
    assert (complete.usage.prompt_tokens, complete.usage.completion_tokens) == (2, 2)


def test_openai_reasons(oai: openai.OpenAI) -> None:
    response = oai.chat.completions.create(model="llama3", messages=MESSAGES, reasoning_effort="low")
    message = response.choices[0].message
    assert message.model_extra is not None
    assert message.model_extra["reasoning"] == "The last message is: good day"


@pytest.mark.parametrize("stream", [True, False])
def test_openai_calls_tools(oai: openai.OpenAI, stream: bool) -> None:
    with oai.chat.completions.stream(model="llama3", messages=MESSAGES, tools=[WEATHER]) as events:
        streamed = events.get_final_completion()
    complete = oai.chat.completions.create(model="llama3", messages=MESSAGES, tools=[WEATHER])
    choice = (streamed if stream else complete).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "example", "unit": "K"}
    history = [
        *MESSAGES,
        {"role": "assistant", "tool_calls": [call.model_dump(exclude_none=True)]},
        {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"},
    ]
    final = oai.chat.completions.create(model="llama3", messages=history, tools=[WEATHER])
    assert final.choices[0].message.content == "get_weather returned 18 degrees"
    without = oai.chat.completions.create(
        model="llama3", messages=MESSAGES, tools=[WEATHER], tool_choice="none"
    )
    assert without.choices[0].message.content == "good day"


def test_openai_structures_output(oai: openai.OpenAI) -> None:
    response = oai.chat.completions.parse(model="llama3", messages=MESSAGES, response_format=Person)
    person = response.choices[0].message.parsed
    assert person is not None
    assert (person.name, person.age, person.friends) == ("example", 0, [])
    free = oai.chat.completions.create(
        model="llama3", messages=MESSAGES, response_format={"type": "json_object"}
    )
    assert json.loads(free.choices[0].message.content or "") == {"text": "good day"}


def test_openai_describes_images(oai: openai.OpenAI) -> None:
    parts: Any = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    ]
    response = oai.chat.completions.create(model="llama3", messages=[{"role": "user", "content": parts}])
    assert response.choices[0].message.content == "Look. (received 1 image: image/png, 16 bytes)"


@pytest.mark.parametrize("encoding", [openai.omit, "float", "base64"])
def test_openai_embeds(oai: openai.OpenAI, encoding: Any) -> None:
    response = oai.embeddings.create(
        model="llama3", input=["one", "two"], dimensions=100, encoding_format=encoding
    )
    one, two = (data.embedding for data in response.data)
    if encoding == "base64":
        assert isinstance(one, str)
        assert len(base64.b64decode(one)) == 400
        return
    assert (len(one), len(two)) == (100, 100)
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-6)
    assert one != two


def test_openai_completes(oai: openai.OpenAI) -> None:
    complete = oai.completions.create(model="llama3", prompt="one two three", max_tokens=2)
    assert (complete.choices[0].text, complete.choices[0].finish_reason) == ("one two", "length")
    chunks = oai.completions.create(model="llama3", prompt="one two three", stop=" three", stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "one two"


def test_openai_receives_errors(oai: openai.OpenAI) -> None:
    for model, error in (
        ("error-429", openai.RateLimitError),
        ("error-400", openai.BadRequestError),
        ("error-500", openai.InternalServerError),
        ("nope", openai.NotFoundError),
    ):
        with pytest.raises(error):
            oai.chat.completions.create(model=model, messages=MESSAGES)
    chunks = oai.chat.completions.create(model="error-stream", messages=MESSAGES, stream=True)
    assert next(chunks).choices[0].delta.content == "good"
    with pytest.raises(openai.APIError, match="the model failed"):
        list(chunks)
    with pytest.raises(openai.NotFoundError, match="does not serve"):
        oai.responses.create(model="llama3", input="hi")


# --- Other mappings --------------------------------------------------------------------------------------


def test_other_mappings_are_reachable(running: Demo) -> None:
    with httpx.Client(base_url=running.url, timeout=PATIENCE) as client:
        assert len(client.get("/ollama/v1/models").json()["data"]) == 2
        assert client.get("/api/llm-status").json()["connected"] is True
        assert len(client.get("/local/v1/models").json()["data"]) == 3
        chat = {"model": "qwen3-coder-30b", "messages": MESSAGES}
        assert client.post("/local/v1/chat/completions", json=chat).status_code == 200
        texts = {"model": "qwen3-embedding-4b", "input": "hi"}
        assert client.post("/local/v1/embeddings", json=texts).status_code == 200
        documents = {"query": "red apple", "documents": ["pear", "red apple"], "top_n": 1}
        for path, model in (("/local/v1/rerank", "qwen3-reranker-4b"), ("/v1/rerank", "llama3")):
            ranked = client.post(path, json={"model": model, **documents}).json()["results"]
            assert [result["index"] for result in ranked] == [1]
