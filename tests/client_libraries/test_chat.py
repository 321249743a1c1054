"""Chat, completion and embedding by the official clients, over real sockets and through the shipped mappings.

The tests check both sides: what the client receives and what the upstream receives.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

import ollama
import openai
import pytest
from openai.types.chat import ChatCompletionToolParam

from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE
from tests.support.upstream import Behaviour, Upstream, complete_response, head, json_response, raw

CHAT = "/v1/chat/completions"
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    environ = {"OLLAMA_HOST": upstream.url, "OPENAI_BASE_URL": f"{upstream.url}/v1"}
    with dragoman_server(("ollama-over-openai", "openai-over-ollama", "demo"), environ) as running:
        yield running


@pytest.fixture
def olla(server: Server) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def oai(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{server.url}/ollama/v1", api_key="x", max_retries=0, timeout=PATIENCE
    ) as client:
        yield client


def sse(events: Iterable[Any], done: bool = True) -> Behaviour:
    """Returns events of an OpenAI server; the stream ends regularly even without the end marker."""
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return complete_response(
        200, "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode(), "text/event-stream"
    )


def ndjson(events: Iterable[Any]) -> Behaviour:
    """Returns events as Ollama sends them."""
    text = "".join(f"{json.dumps(event)}\n" for event in events)
    return complete_response(200, text.encode(), "application/x-ndjson")


def truncated(media_type: str, text: str) -> Behaviour:
    """Returns a chunked response that is truncated after these bytes."""
    start = head(200, [("content-type", media_type), ("transfer-encoding", "chunked")])
    return raw(start + f"{len(text):x}\r\n{text}\r\n".encode(), "close")


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def completion(finish: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1704190830,
        "choices": [choice],
        "usage": USAGE,
    }


STREAM = [
    chunk(role="assistant", content=""),
    chunk(content="Hel"),
    chunk(content="lo"),
    chunk("stop"),
    {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": USAGE},
]


def sent(upstream: Upstream, path: str) -> Any:
    """Returns the body of the last request."""
    assert upstream.requests[-1].path == path
    return upstream.requests[-1].json


# --- ollama → OpenAI's API: chat -------------------------------------------------------------------------


def test_ollama_chats(olla: ollama.Client, upstream: Upstream) -> None:
    upstream.on(CHAT, json_response(completion(content="Hi.")))
    options = {"temperature": 0.5, "num_predict": 9, "top_k": 3, "seed": 1, "stop": ["x"]}
    got = olla.chat("qwen3:latest", MESSAGES, options=options)
    assert (got.message.role, got.message.content, got.model) == ("assistant", "Hi.", "qwen3:latest")
    assert (got.done, got.done_reason, got.prompt_eval_count, got.eval_count) == (True, "stop", 5, 7)
    assert got.created_at == "2024-01-02T10:20:30Z"
    assert got.total_duration
    assert sent(upstream, CHAT) == {
        "model": "qwen3",
        "messages": MESSAGES,
        "stream": False,
        "temperature": 0.5,
        "max_tokens": 9,
        "top_k": 3,
        "seed": 1,
        "stop": ["x"],
    }


def test_ollama_streams(olla: ollama.Client, upstream: Upstream) -> None:
    upstream.on(CHAT, sse(STREAM))
    got = list(olla.chat("qwen3", MESSAGES, stream=True))
    assert [part.message.content for part in got] == ["Hel", "lo", ""]
    assert [part.done for part in got] == [False, False, True]
    assert (got[-1].done_reason, got[-1].prompt_eval_count, got[-1].eval_count) == ("stop", 5, 7)
    assert got[-1].total_duration
    assert sent(upstream, CHAT) == {
        "model": "qwen3",
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_ollama_chats_asynchronously(server: Server, upstream: Upstream) -> None:
    async def chat() -> tuple[str | None, list[str | None]]:
        async with ollama.AsyncClient(host=server.url) as client:
            upstream.on(CHAT, json_response(completion(content="Hi.")))
            whole = await client.chat("qwen3", MESSAGES)
            upstream.on(CHAT, sse(STREAM))
            parts = [part.message.content async for part in await client.chat("qwen3", MESSAGES, stream=True)]
        return whole.message.content, parts

    assert asyncio.run(chat()) == ("Hi.", ["Hel", "lo", ""])


HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"function": {"name": "weather", "arguments": {"city": "Rome"}}},
            {"function": {"name": "weather", "arguments": {"city": "Oslo"}}},
        ],
    },
    {"role": "tool", "tool_name": "weather", "content": "sun"},
    {"role": "tool", "tool_name": "weather", "content": "snow"},
]


def test_ollama_sends_a_history_with_tools(olla: ollama.Client, upstream: Upstream) -> None:
    call = {"id": "abc", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    upstream.on(CHAT, json_response(completion("tool_calls", content=None, tool_calls=[call])))
    got = olla.chat("qwen3", HISTORY, tools=[WEATHER])
    assert got.message.tool_calls is not None
    assert [(c.function.name, c.function.arguments) for c in got.message.tool_calls] == [
        ("weather", {"city": "Bern"})
    ]
    body = sent(upstream, CHAT)
    assert body["tools"] == [WEATHER]
    response_format, called, first, second = body["messages"]
    assert response_format == {"role": "user", "content": "Weather?"}
    calls = called["tool_calls"]
    assert [json.loads(c["function"]["arguments"]) for c in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert {c["type"] for c in calls} == {"function"}
    assert calls[0]["id"] != calls[1]["id"]
    assert (first["role"], first["content"], first["tool_call_id"]) == ("tool", "sun", calls[0]["id"])
    assert (second["role"], second["content"], second["tool_call_id"]) == ("tool", "snow", calls[1]["id"])


def test_ollama_gets_parallel_tool_calls_from_deltas(olla: ollama.Client, upstream: Upstream) -> None:
    def delta(index: int, **function: str) -> dict[str, Any]:
        extra = {"id": f"id{index}", "type": "function"} if "name" in function else {}
        return chunk(tool_calls=[{"index": index, **extra, "function": function}])

    upstream.on(
        CHAT,
        sse(
            [
                delta(0, name="weather", arguments=""),
                delta(0, arguments='{"city":'),
                delta(0, arguments=' "Rome"}'),
                delta(1, name="weather", arguments='{"ci'),
                delta(1, arguments='ty": "Oslo"}'),
                chunk("tool_calls"),
            ]
        ),
    )
    got = list(olla.chat("qwen3", MESSAGES, tools=[WEATHER], stream=True))
    calls = [call.function for part in got for call in part.message.tool_calls or []]
    assert [(call.name, call.arguments) for call in calls] == [
        ("weather", {"city": "Rome"}),
        ("weather", {"city": "Oslo"}),
    ]
    assert [part.done for part in got] == [False, False, True]
    assert got[-1].done_reason == "stop"


def test_ollama_sends_an_image(olla: ollama.Client, upstream: Upstream) -> None:
    upstream.on(CHAT, json_response(completion(content="A cat.")))
    olla.chat("qwen3", [{"role": "user", "content": "What?", "images": [PICTURE]}])
    assert sent(upstream, CHAT)["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
            ],
        }
    ]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_ollama_thinks(olla: ollama.Client, upstream: Upstream, field: str) -> None:
    upstream.on(CHAT, json_response(completion(content="4", **{field: "2+2"})))
    got = olla.chat("qwen3", MESSAGES, think=True)
    assert (got.message.thinking, got.message.content) == ("2+2", "4")
    assert sent(upstream, CHAT)["chat_template_kwargs"] == {"enable_thinking": True}
    upstream.on(CHAT, sse([chunk(**{field: "2+2"}), chunk(content="4"), chunk("stop")]))
    parts = [part.message for part in olla.chat("qwen3", MESSAGES, think=True, stream=True)]
    assert [(part.thinking, part.content) for part in parts] == [("2+2", ""), (None, "4"), (None, "")]


def test_ollama_requests_json(olla: ollama.Client, upstream: Upstream) -> None:
    upstream.on(CHAT, json_response(completion(content='{"city": "Rome"}')))
    olla.chat("qwen3", MESSAGES, format="json")
    assert sent(upstream, CHAT)["response_format"] == {"type": "json_object"}
    olla.chat("qwen3", MESSAGES, format=SCHEMA)
    response_format = sent(upstream, CHAT)["response_format"]
    assert response_format["type"] == "json_schema"
    assert response_format["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(("keep_alive", "reason"), [(None, "load"), (0, "unload")])
def test_ollama_loads_a_model(
    olla: ollama.Client, upstream: Upstream, keep_alive: int | None, reason: str
) -> None:
    before = len(upstream.requests)
    got = olla.chat("qwen3", keep_alive=keep_alive)
    assert (got.done, got.done_reason, got.message.content) == (True, reason, "")
    assert olla.generate("qwen3", keep_alive=keep_alive).done_reason == reason
    assert len(upstream.requests) == before


# --- ollama → OpenAI's API: generate and embed -----------------------------------------------------------


def test_ollama_generates(olla: ollama.Client, upstream: Upstream) -> None:
    upstream.on(CHAT, json_response(completion("length", content="Hi.")))
    got = olla.generate("qwen3", "Hello", system="Be short.")
    assert (got.response, got.done, got.done_reason, got.eval_count) == ("Hi.", True, "length", 7)
    assert sent(upstream, CHAT) == {
        "model": "qwen3",
        "messages": [{"role": "system", "content": "Be short."}, *MESSAGES],
        "stream": False,
    }
    upstream.on(CHAT, sse(STREAM))
    parts = list(olla.generate("qwen3", "Hello", stream=True))
    assert [part.response for part in parts] == ["Hel", "lo", ""]
    assert [part.done for part in parts] == [False, False, True]
    assert parts[-1].eval_count == 7


def test_ollama_generates_raw(olla: ollama.Client, upstream: Upstream) -> None:
    choice = {"index": 0, "text": " there", "finish_reason": "stop"}
    upstream.on(
        "/v1/completions", json_response({"object": "text_completion", "choices": [choice], "usage": USAGE})
    )
    got = olla.generate("qwen3", "Hello", raw=True)
    assert (got.response, got.done_reason) == (" there", "stop")
    assert sent(upstream, "/v1/completions") == {"model": "qwen3", "prompt": "Hello", "stream": False}
    parts = [{**choice, "text": " the", "finish_reason": None}, {**choice, "text": "re"}]
    upstream.on("/v1/completions", sse([{"choices": [part]} for part in parts]))
    streamed = list(olla.generate("qwen3", "Hello", raw=True, stream=True))
    assert [part.response for part in streamed] == [" the", "re", ""]
    assert streamed[-1].done


def vectors(*found: list[float]) -> Behaviour:
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(found)]
    return json_response({"object": "list", "data": [*reversed(data)], "usage": {"prompt_tokens": 3}})


def test_ollama_embeds(olla: ollama.Client, upstream: Upstream) -> None:
    upstream.on("/v1/embeddings", vectors([0.5, 1.0]))
    got = olla.embed("e5", "one")
    assert (got.embeddings, got.prompt_eval_count) == ([[0.5, 1.0]], 3)
    assert (got.total_duration or 0) > 0
    assert got.load_duration == 1
    body = {"model": "e5", "input": "one", "encoding_format": "float"}
    assert sent(upstream, "/v1/embeddings") == {**body, "truncate_prompt_tokens": -1}
    assert list(olla.embeddings("e5", "one").embedding) == [0.5, 1.0]
    assert sent(upstream, "/v1/embeddings") == body
    upstream.on("/v1/embeddings", vectors([0.5], [1.0]))
    assert olla.embed("e5", ["one", "two"]).embeddings == [[0.5], [1.0]]
    assert sent(upstream, "/v1/embeddings")["input"] == ["one", "two"]


# --- ollama → OpenAI's API: errors -----------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_ollama_receives_the_reason_of_an_invalid_request(
    olla: ollama.Client, upstream: Upstream, stream: bool
) -> None:
    upstream.on(CHAT, json_response({"error": {"message": "context is too long", "code": 400}}, 400))
    with pytest.raises(ollama.ResponseError, match="context is too long") as caught:
        list(olla.chat("qwen3", MESSAGES, stream=stream))  # type: ignore[call-overload]
    assert caught.value.status_code == 400


def test_ollama_receives_an_error_in_mid_stream(olla: ollama.Client, upstream: Upstream) -> None:
    upstream.on(CHAT, sse([chunk(content="Hel"), {"error": {"message": "out of memory"}}]))
    got: list[ollama.ChatResponse] = []
    with pytest.raises(ollama.ResponseError, match="out of memory"):
        got.extend(olla.chat("qwen3", MESSAGES, stream=True))
    assert not any(part.done for part in got)


FIRST_EVENT = f"data: {json.dumps(chunk(content='Hel'))}\n\n"


@pytest.mark.parametrize(
    "broken",
    [
        sse([chunk(content="Hel")], done=False),
        truncated("text/event-stream", FIRST_EVENT),
        truncated("text/event-stream", FIRST_EVENT + 'data: {"choices": [{"de'),
    ],
    ids=["ends", "truncated", "truncated-in-event"],
)
@pytest.mark.parametrize("what", ["chat", "generate"])
def test_a_truncated_response_never_seems_complete_to_ollama(
    olla: ollama.Client, upstream: Upstream, broken: Behaviour, what: str
) -> None:
    upstream.on(CHAT, broken)
    got: list[Any] = []
    parts = (
        olla.chat("qwen3", MESSAGES, stream=True)
        if what == "chat"
        else olla.generate("qwen3", "Hello", stream=True)
    )
    with pytest.raises(ollama.ResponseError):
        got.extend(parts)
    assert len(got) == 1
    assert not got[0].done


@pytest.mark.parametrize("what", ["chat", "generate"])
def test_the_end_marker_completes_a_stream_for_ollama(
    olla: ollama.Client, upstream: Upstream, what: str
) -> None:
    upstream.on(CHAT, sse([chunk(content="Hello")]))
    parts: list[Any] = list(
        olla.chat("qwen3", MESSAGES, stream=True)
        if what == "chat"
        else olla.generate("qwen3", "Hello", stream=True)
    )
    assert [(part.done, part.done_reason) for part in parts] == [(False, None), (True, "stop")]


# --- openai → Ollama's API: chat -------------------------------------------------------------------------


def ollama_event(done: bool = False, **more: Any) -> dict[str, Any]:
    """Returns an event as Ollama sends it; the last one has counts."""
    counts = {"done_reason": "stop", "prompt_eval_count": 5, "eval_count": 7} if done else {}
    return {"model": "m", "created_at": "2024-01-02T10:20:30Z", **more, "done": done, **counts}


def message_event(content: str = "", done: bool = False, **message: Any) -> dict[str, Any]:
    return ollama_event(done, message={"role": "assistant", "content": content, **message})


def test_openai_chats(oai: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on("/api/chat", json_response(message_event("Hi.", done=True)))
    got = oai.chat.completions.create(
        model="llama3",
        messages=[{"role": "user", "content": "Hello"}],
        temperature=0.5,
        max_tokens=9,
        stop="x",
        seed=1,
    )
    assert (got.object, got.model, got.created) == ("chat.completion", "llama3", 1704190830)
    assert (got.choices[0].message.content, got.choices[0].finish_reason) == ("Hi.", "stop")
    assert got.usage is not None
    assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.usage.total_tokens) == (5, 7, 12)
    assert sent(upstream, "/api/chat") == {
        "model": "llama3",
        "messages": MESSAGES,
        "stream": False,
        "options": {"temperature": 0.5, "num_predict": 9, "stop": ["x"], "seed": 1},
    }


def test_openai_streams(oai: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on("/api/chat", ndjson([message_event("Hel"), message_event("lo"), message_event(done=True)]))
    got = list(
        oai.chat.completions.create(
            model="llama3",
            messages=[{"role": "user", "content": "Hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert len({part.id for part in got}) == 1
    assert {part.created for part in got} == {1704190830}
    assert [part.choices[0].delta.content for part in got[:-1]] == ["Hel", "lo", None]
    assert [part.choices[0].finish_reason for part in got[:-1]] == [None, None, "stop"]
    assert got[0].choices[0].delta.role == "assistant"
    assert got[-1].choices == []
    assert got[-1].usage is not None
    assert got[-1].usage.total_tokens == 12
    assert sent(upstream, "/api/chat")["stream"] is True


def test_openai_chats_asynchronously(server: Server, upstream: Upstream) -> None:
    async def chat() -> tuple[str | None, list[str | None]]:
        url = f"{server.url}/ollama/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
            upstream.on("/api/chat", json_response(message_event("Hi.", done=True)))
            whole = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hello"}]
            )
            upstream.on(
                "/api/chat", ndjson([message_event("Hel"), message_event("lo"), message_event(done=True)])
            )
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hello"}], stream=True
            )
            parts = [part.choices[0].delta.content async for part in stream]
        return whole.choices[0].message.content, parts

    assert asyncio.run(chat()) == ("Hi.", ["Hel", "lo", None])


def test_openai_calls_tools(oai: openai.OpenAI, upstream: Upstream) -> None:
    calls = [{"function": {"name": "weather", "arguments": {"city": city}}} for city in ("Rome", "Oslo")]
    upstream.on("/api/chat", json_response(message_event(done=True, tool_calls=calls)))
    got = oai.chat.completions.create(
        model="llama3",
        messages=[
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "abc",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Bern"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "abc", "content": "sun"},
        ],
        tools=[WEATHER],
    ).choices[0]
    assert got.finish_reason == "tool_calls"
    found: Any = got.message.tool_calls
    assert [json.loads(call.function.arguments) for call in found] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert found[0].id != found[1].id
    body = sent(upstream, "/api/chat")
    assert body["tools"] == [WEATHER]
    _, called, result = body["messages"]
    assert called["tool_calls"][0]["function"]["arguments"] == {"city": "Bern"}
    assert (result["role"], result["content"], result["tool_name"]) == ("tool", "sun", "weather")


def test_openai_streams_tool_calls(oai: openai.OpenAI, upstream: Upstream) -> None:
    rome, oslo = ({"function": {"name": "weather", "arguments": {"city": city}}} for city in ("Rome", "Oslo"))
    upstream.on(
        "/api/chat",
        ndjson(
            [message_event(tool_calls=[rome]), message_event(tool_calls=[oslo]), message_event(done=True)]
        ),
    )
    with oai.chat.completions.stream(
        model="llama3", messages=[{"role": "user", "content": "Weather?"}], tools=[WEATHER]
    ) as stream:
        got = stream.get_final_completion().choices[0]
    assert got.finish_reason == "tool_calls"
    found: Any = got.message.tool_calls
    assert [json.loads(call.function.arguments) for call in found] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert found[0].id != found[1].id


def test_openai_requests_structured_output(oai: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on("/api/chat", json_response(message_event('{"city": "Rome"}', done=True)))
    oai.chat.completions.create(
        model="llama3",
        messages=[{"role": "user", "content": "Where?"}],
        response_format={"type": "json_schema", "json_schema": {"name": "location", "schema": SCHEMA}},
    )
    assert sent(upstream, "/api/chat")["format"] == SCHEMA
    oai.chat.completions.create(
        model="llama3",
        messages=[{"role": "user", "content": "Where?"}],
        response_format={"type": "json_object"},
    )
    assert sent(upstream, "/api/chat")["format"] == "json"


def test_openai_sends_an_image(oai: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on("/api/chat", json_response(message_event("A cat.", done=True)))
    oai.chat.completions.create(
        model="llama3",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
                ],
            }
        ],
    )
    assert sent(upstream, "/api/chat")["messages"] == [
        {"role": "user", "content": "What?", "images": [PICTURE]}
    ]


# --- openai → Ollama's API: completions and embeddings ---------------------------------------------------


def test_openai_completes(oai: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on("/api/generate", json_response(ollama_event(True, response=" there")))
    got = oai.completions.create(model="llama3", prompt="Hello", max_tokens=4)
    assert (got.choices[0].text, got.choices[0].finish_reason) == (" there", "stop")
    assert got.usage is not None
    assert got.usage.total_tokens == 12
    body = sent(upstream, "/api/generate")
    assert (body["prompt"], body["stream"], body["options"]) == ("Hello", False, {"num_predict": 4})
    upstream.on(
        "/api/generate",
        ndjson([ollama_event(response=" the"), ollama_event(response="re"), ollama_event(True, response="")]),
    )
    parts = list(oai.completions.create(model="llama3", prompt="Hello", stream=True))
    assert [part.choices[0].text for part in parts] == [" the", "re", ""]
    assert parts[-1].choices[0].finish_reason == "stop"


def test_openai_embeds(oai: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on(
        "/api/embed", json_response({"embeddings": [[0.5, -1.0], [2.0, 0.25]], "prompt_eval_count": 3})
    )
    got = oai.embeddings.create(model="e5", input=["one", "two"])
    assert [one.embedding for one in got.data] == [[0.5, -1.0], [2.0, 0.25]]
    assert [one.index for one in got.data] == [0, 1]
    assert got.usage.prompt_tokens == 3
    assert sent(upstream, "/api/embed") == {"model": "e5", "input": ["one", "two"]}
    plain = oai.embeddings.create(model="e5", input="one", encoding_format="float")
    assert plain.data[0].embedding == [0.5, -1.0]


# --- openai → Ollama's API: errors -----------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_openai_receives_the_reason_of_an_invalid_request(
    oai: openai.OpenAI, upstream: Upstream, stream: bool
) -> None:
    upstream.on("/api/chat", json_response({"error": "llama3 does not support tools"}, 400))
    with pytest.raises(openai.APIStatusError, match="does not support tools"):
        oai.chat.completions.create(
            model="llama3", messages=[{"role": "user", "content": "Hello"}], stream=stream
        )


def test_openai_receives_an_error_in_mid_stream(oai: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on("/api/chat", ndjson([message_event("Hel"), {"error": "out of memory"}]))
    stream = oai.chat.completions.create(
        model="llama3", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    got: list[Any] = []
    with pytest.raises(openai.APIError, match="out of memory"):
        got.extend(stream)
    assert not any(part.choices[0].finish_reason for part in got)


LINE = f"{json.dumps(message_event('Hel'))}\n"


@pytest.mark.parametrize(
    "broken",
    [
        ndjson([message_event("Hel")]),
        truncated("application/x-ndjson", LINE),
        truncated("application/x-ndjson", LINE + '{"mess'),
    ],
    ids=["ends", "breaks", "breaks-in-event"],
)
def test_a_truncated_response_never_seems_complete_to_openai(
    oai: openai.OpenAI, upstream: Upstream, broken: Behaviour
) -> None:
    upstream.on("/api/chat", broken)
    stream = oai.chat.completions.create(
        model="llama3", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    got: list[Any] = []
    with pytest.raises(openai.APIError):
        got.extend(stream)
    assert [part.choices[0].finish_reason for part in got] == [None]
