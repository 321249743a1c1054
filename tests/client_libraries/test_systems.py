"""The other shipped mappings with real clients, in front of loopback upstreams: several providers as one API,
self-hosted models, and Ollama's tools with OpenRouter's models.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest

from tests.support.server import Server, dragoman_server, failed_start, read_all, with_long_deadlines
from tests.support.times import PATIENCE, SOON
from tests.support.upstream import (
    BEHAVIOURS,
    Behaviour,
    Channel,
    Seen,
    Upstream,
    black_hole,
    complete_response,
    head,
    json_response,
    refusing,
)

TAGS = {"models": [{"name": "llama3:latest", "size": 5, "modified_at": "2024-01-02T10:20:30Z"}]}
LISTED = {"object": "list", "data": [{"id": "tiny", "created": 1704190830}]}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def lines(*values: Any) -> Behaviour:
    return complete_response(
        200, "".join(f"{json.dumps(v)}\n" for v in values).encode(), "application/x-ndjson"
    )


# --- llm-providers ---------------------------------------------------------------------------------------


def providers(upstream: Upstream, **more: str) -> dict[str, str]:
    return {
        "LMSTUDIO_BASE_URL": f"{upstream.url}/lmstudio/v1",
        "OLLAMA_BASE_URL": f"{upstream.url}/ollama",
        "LLAMACPP_BASE_URL": f"{upstream.url}/llamacpp",
        **more,
    }


class Barrier:
    """Responds to all requests once the wanted number has arrived."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.here = wanted, 0
        self.all_here = asyncio.Event()

    async def __call__(self, channel: Channel, seen: Seen) -> None:
        self.here += 1
        if self.here == self.wanted:
            self.all_here.set()
        await asyncio.wait_for(self.all_here.wait(), PATIENCE)
        await json_response(TAGS if "ollama" in seen.path else LISTED)(channel, seen)


@pytest.mark.parametrize("path", ["/api/models/providers", "/api/llm-status", "/api/models/"])
def test_all_providers_are_called_in_parallel(upstream: Upstream, path: str) -> None:
    meeting = Barrier(3)
    upstream.otherwise(meeting)
    with dragoman_server(with_long_deadlines("llm-providers"), providers(upstream)) as server:
        response = server.get(path)
    assert response.status == 200
    assert meeting.here == 3, "no response before all requests had arrived"
    if path.endswith("providers"):
        connected = {each["name"]: each["connected"] for each in response.json["providers"]}
        assert connected == {"lmstudio": True, "ollama": True, "llamacpp": True, "openai": False}


def test_the_failure_of_every_provider_is_reported() -> None:
    with black_hole() as one, black_hole() as two, black_hole() as three:
        environ = {"LMSTUDIO_BASE_URL": one, "OLLAMA_BASE_URL": two, "LLAMACPP_BASE_URL": three}
        with dragoman_server(("llm-providers",), environ) as server:
            response = server.get("/api/models/providers")
            assert [each["connected"] for each in response.json["providers"]] == [False] * 4
            assert response.json["active_provider"] is None
            assert response.seconds < SOON
            status = server.get("/api/llm-status")
            assert (status.status, status.json["error"]) == (200, "No providers available")
            assert server.get("/api/models/").status == 503
            assert server.get("/api/models/health").json["healthy"] is False


def test_a_provider_that_hangs_does_not_affect_others(upstream: Upstream) -> None:
    upstream.on("/lmstudio", BEHAVIOURS["hang"])
    upstream.on("/ollama/api/tags", json_response(TAGS))
    with (
        refusing() as url,
        dragoman_server(
            with_long_deadlines("llm-providers", keep=["timeout"]), providers(upstream, LLAMACPP_BASE_URL=url)
        ) as server,
    ):
        response = server.get("/api/llm-status")
        assert (response.json["provider"], response.json["model_name"]) == ("ollama", "llama3:latest")
        assert response.seconds < PATIENCE


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("llama3", "llama3"),
        ("hf.co/bartowski/Llama-3.2-1B.Instruct:Q4_K_M", "hf.co/bartowski/Llama-3.2-1B.Instruct:Q4_K_M"),
        ("me/50%25%20off", "me/50% off"),
        ("a%2Fb%3Fc%23d", "a/b?c#d"),
        ("gr%C3%BC%C3%9Fe", "grüße"),
    ],
)
def test_a_model_of_any_name_is_pulled(upstream: Upstream, written: str, name: str) -> None:
    upstream.on("/ollama/api/pull", lines({"status": "pulling manifest"}, {"status": "success"}))
    with dragoman_server(
        with_long_deadlines("llm-providers"), providers(upstream, LLM_PROVIDER="ollama")
    ) as server:
        response = server.post(f"/api/models/pull/{written}")
    assert response.json == {
        "status": "success",
        "model": name,
        "message": f"Model {name} pulled successfully",
    }
    assert upstream.requests[-1].json == {"model": name, "stream": True}


def test_progress_is_streamed(upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def progress(channel: Channel, seen: Seen) -> None:
        channel.keep_alive = False
        await channel.send(head(200, [("content-type", "application/x-ndjson"), ("connection", "close")]))
        await channel.send(b'{"status":"pulling manifest"}\n')
        await asyncio.wait_for(go_on.wait(), PATIENCE)
        await channel.send(b'{"status":"success"}\n')

    upstream.on("/ollama/api/pull", progress)
    request = b"POST /api/models/pull/m?stream=true HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    environ = providers(upstream, LLM_PROVIDER="ollama")
    with (
        dragoman_server(with_long_deadlines("llm-providers"), environ) as server,
        server.connect() as connection,
    ):
        connection.sendall(request)
        data = b""
        while b"pulling manifest" not in data:
            piece = connection.recv(4096)
            assert piece, data
            data += piece
        assert b"success" not in data
        upstream._loop.call_soon_threadsafe(go_on.set)
        data += read_all(connection)
    assert b'{"status":"success"}' in data


@pytest.mark.parametrize("name", ["close-in-head", "reset", "server-error", "html", "close"])
def test_a_pull_that_fails_is_a_500_with_its_reason(upstream: Upstream, name: str) -> None:
    upstream.on("/ollama/api/pull", BEHAVIOURS[name])
    with dragoman_server(
        with_long_deadlines("llm-providers"), providers(upstream, LLM_PROVIDER="ollama")
    ) as server:
        response = server.post("/api/models/pull/m")
    assert response.status == 500
    assert response.json["detail"].startswith("Failed to pull model: ")
    assert "internal.example" not in response.text


# --- local-models ----------------------------------------------------------------------------------------

TABLE = """
- { id: org/coder.v2, type: text-generation, upstream: generation }
- { id: "50% off", type: text-generation, upstream: generation }
- { id: e, type: embedding, upstream: embedding }
- { id: r, type: reranking, upstream: reranking }
"""


@pytest.fixture
def local(upstream: Upstream, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "table.yaml").write_text(TABLE)
    environ = {
        "LOCAL_MODELS_FILE": str(tmp_path / "table.yaml"),
        "GENERATION_URL": f"{upstream.url}/g/v1",
        "EMBEDDING_URL": f"{upstream.url}/e/v1",
        "RERANKING_URL": f"{upstream.url}/r/v1",
        "DRAGOMAN_API_KEYS": "client-key",
        "LOCAL_MODELS_KEY": "server-key",
    }
    with dragoman_server(with_long_deadlines("local-models"), environ) as server:
        yield server


def client(server: Server, key: str = "client-key") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=PATIENCE)


def test_openai_lists_local_models_without_a_key(local: Server) -> None:
    with client(local, "wrong") as oai:
        assert [model.id for model in oai.models.list().data] == ["org/coder.v2", "50% off", "e", "r"]
        with pytest.raises(openai.AuthenticationError):
            oai.models.retrieve("e")


@pytest.mark.parametrize("model", ["org/coder.v2", "50% off"])
def test_openai_chats_with_a_local_model(local: Server, upstream: Upstream, model: str) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}
    upstream.on("/g/v1/chat/completions", json_response({"id": "c", "choices": [choice]}))
    with client(local) as oai:
        assert oai.models.retrieve(model).id == model
        got = oai.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])
    assert got.choices[0].message.content == "Hi."
    assert upstream.requests[-1].json["model"] == model
    assert upstream.requests[-1].header("authorization") == "Bearer server-key"


def test_openai_streams_from_a_local_model(local: Server, upstream: Upstream) -> None:
    chunks = [{"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Hel", "lo")]
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    upstream.on("/g/v1/chat/completions", complete_response(200, text.encode(), "text/event-stream"))
    with client(local) as oai:
        messages: Any = [{"role": "user", "content": "x"}]
        stream = oai.chat.completions.create(model="50% off", messages=messages, stream=True)
        assert [part.choices[0].delta.content for part in stream] == ["Hel", "lo"]


def test_openai_embeds_with_a_local_model_only(local: Server, upstream: Upstream) -> None:
    upstream.on("/e/v1/embeddings", json_response({"data": [{"index": 0, "embedding": [0.5]}]}))
    with client(local) as oai:
        got = oai.embeddings.create(model="e", input="x", encoding_format="float")
        assert got.data[0].embedding == [0.5]
        before = len(upstream.requests)
        for model in ("r", "nope", "../v1/models", "e%"):
            with pytest.raises(openai.NotFoundError) as caught:
                oai.embeddings.create(model=model, input="x")
            assert caught.value.body == {"detail": f"Model '{model}' not found"} or model in str(caught.value)
    assert len(upstream.requests) == before, "no request was made"


def test_the_health_of_a_local_model(local: Server, upstream: Upstream) -> None:
    key = {"authorization": "Bearer client-key"}
    upstream.on("/g/v1/models", json_response(LISTED))
    upstream.on("/r/v1/models", BEHAVIOURS["server-error"])
    assert local.get("/v1/models/org/coder.v2/health", headers=key).json["healthy"] is True
    assert local.get("/v1/models/50%25%20off/health", headers=key).status == 200
    assert local.get("/v1/models/r/health", headers=key).status == 503
    assert local.get("/v1/models/nope/health", headers=key).status == 404


# --- ollama-over-openrouter ------------------------------------------------------------------------------

ROUTER = {
    "data": [
        {"id": "openai/gpt-4o", "created": 1704190830, "context_length": 128000},
        {"id": "meta-llama/llama-3.1-8b:free"},
        {"id": "one/same"},
        {"id": "two/same"},
    ]
}


def router(upstream: Upstream, **more: str) -> dict[str, str]:
    return {"OPENROUTER_API_KEY": "router-key", "OPENROUTER_BASE_URL": f"{upstream.url}/api/v1", **more}


def names(server: Server) -> list[str | None]:
    with ollama.Client(host=server.url, timeout=PATIENCE) as olla:
        return [model.model for model in olla.list().models]


def test_ollama_uses_openrouters_models_by_short_names(upstream: Upstream) -> None:
    upstream.on("/api/v1/models", json_response(ROUTER))
    parts = [
        ": OPENROUTER PROCESSING\n\n",
        'data: {"choices":[{"delta":{"role":"assistant","content":"Hel"}}]}\n\n',
        ": OPENROUTER PROCESSING\n\n",
        'data: {"choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}\n\n',
        "data: [DONE]\n\n",
    ]
    upstream.on(
        "/api/v1/chat/completions", complete_response(200, "".join(parts).encode(), "text/event-stream")
    )
    with dragoman_server(with_long_deadlines("ollama-over-openrouter"), router(upstream)) as server:
        assert names(server) == ["gpt-4o:latest", "llama-3.1-8b:free", "one/same", "two/same"]
        with ollama.Client(host=server.url, timeout=PATIENCE) as olla:
            for name in ("gpt-4o", "gpt-4o:latest", "openai/gpt-4o", "openai/gpt-4o:latest"):
                got = list(olla.chat(name, [{"role": "user", "content": "x"}], stream=True))
                assert "".join(part.message.content or "" for part in got) == "Hello"
                assert upstream.requests[-1].json["model"] == "openai/gpt-4o"
            assert upstream.requests[-1].header("authorization") == "Bearer router-key"
            shown = olla.show("gpt-4o")
            assert shown.modelinfo is not None
            assert shown.modelinfo["general.basename"] == "gpt-4o"
            assert shown.modelinfo["unknown.context_length"] == 128000
            for name in ("same", "same:latest", "nope"):
                with pytest.raises(ollama.ResponseError, match="not found") as caught:
                    olla.chat(name, [{"role": "user", "content": "x"}])
                assert caught.value.status_code == 404
        listed = [seen for seen in upstream.requests if seen.path == "/api/v1/models"]
        assert len(listed) == 3, "for the list, for show, and once for all chats"


def test_ollama_receives_openrouters_errors_in_band(upstream: Upstream) -> None:
    upstream.on("/api/v1/models", json_response(ROUTER))
    event = {
        "error": {"code": 502, "message": "Provider gone"},
        "choices": [{"delta": {}, "finish_reason": "error"}],
    }
    first = 'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n'
    broken = complete_response(200, (first + f"data: {json.dumps(event)}\n\n").encode(), "text/event-stream")
    with (
        dragoman_server(with_long_deadlines("ollama-over-openrouter"), router(upstream)) as server,
        ollama.Client(host=server.url, timeout=PATIENCE) as olla,
    ):
        upstream.on("/api/v1/chat/completions", broken)
        parts = olla.chat("gpt-4o", [{"role": "user", "content": "x"}], stream=True)
        assert next(parts).message.content == "Hel"
        with pytest.raises(ollama.ResponseError, match="Provider gone"):
            next(parts)
        refusal = {"error": {"code": 402, "message": "No credits"}}
        upstream.on("/api/v1/chat/completions", json_response(refusal))
        for streams in (True, False):
            with pytest.raises(ollama.ResponseError, match="No credits") as caught:
                list(olla.chat("gpt-4o", [{"role": "user", "content": "x"}], stream=streams))
            assert caught.value.status_code == 502


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_filter_hides_and_refuses_models(upstream: Upstream, tmp_path: Path, end: str) -> None:
    filter_file = tmp_path / "models.txt"
    filter_file.write_bytes(end.join(["# offered", "", "llama-*", "two/same", ""]).encode())
    upstream.on("/api/v1/models", json_response(ROUTER))
    environ = router(upstream, MODELS_FILTER=str(filter_file))
    with dragoman_server(with_long_deadlines("ollama-over-openrouter"), environ) as server:
        assert names(server) == ["llama-3.1-8b:free", "two/same"]
        with ollama.Client(host=server.url, timeout=PATIENCE) as olla:
            for call in (olla.show, partial(olla.embed, input="x"), partial(olla.generate, prompt="x")):
                with pytest.raises(ollama.ResponseError, match="'openai/gpt-4o' not found"):
                    call("openai/gpt-4o")
    assert {seen.path for seen in upstream.requests} == {"/api/v1/models"}, "nothing was sent to the model"


def test_a_missing_filter_is_named(upstream: Upstream) -> None:
    status, output = failed_start(
        ("ollama-over-openrouter",), router(upstream, MODELS_FILTER="no-such-filter.txt")
    )
    assert status == 1
    assert "no-such-filter.txt" in output


def test_a_missing_key_is_named() -> None:
    status, output = failed_start(("ollama-over-openrouter",))
    assert status == 1
    assert "OPENROUTER_API_KEY is not set: the key for OpenRouter" in output


def test_openrouters_health_and_metrics(upstream: Upstream) -> None:
    upstream.on("/api/v1/models", json_response(ROUTER))
    with dragoman_server(
        with_long_deadlines("ollama-over-openrouter"), router(upstream, DRAGOMAN_API_KEYS="k")
    ) as server:
        health = server.get("/health")
        assert (health.status, health.json["status"]) == (200, "ok")
        assert server.get("/metrics").status == 401
        metrics = server.get("/metrics", headers={"authorization": "Bearer k"})
        assert "dragoman" in metrics.text
        assert "router-key" not in server.text() + metrics.text


# --- openai-over-ollama's log ----------------------------------------------------------------------------


def test_a_call_is_logged_with_its_fields_and_without_its_content(upstream: Upstream) -> None:
    upstream.on("/api/chat", json_response({"message": {"content": "canary-response"}, "done": True}))
    with dragoman_server(
        ("openai-over-ollama",), {"OLLAMA_HOST": upstream.url.removeprefix("http://")}
    ) as server:
        body = {"model": "m", "messages": [{"role": "user", "content": "canary-question"}]}
        response = server.post("/ollama/v1/chat/completions", body, headers={"x-request-id": "mine-1"})
        assert response.header("x-request-id") == "mine-1"
        line = server.logged("mine-1")
        wanted = ("request_id", "upstream", "method", "path", "status_code")
        assert [line[name] for name in wanted] == [
            "mine-1",
            "ollama",
            "POST",
            "/ollama/v1/chat/completions",
            200,
        ]
        assert isinstance(line["duration_ms"], float)
        assert upstream.requests[-1].header("x-request-id") == "mine-1"
        assert "canary" not in server.text()
