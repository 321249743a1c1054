"""Models listed by the official clients, over real sockets.

`ollama` uses ollama-over-openai and `openai` uses openai-over-ollama, each in front of a loopback upstream
whose responses are valid, invalid, late or absent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import ollama
import openai
import pytest

from engine import shipped_mappings
from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE
from tests.support.upstream import BEHAVIOURS, Upstream, json_response, refusing

KEY = "client-key"
OLLAMA_MODELS = {
    "models": [
        {"name": "llama3:latest", "modified_at": "2024-01-02T10:20:30Z"},
        {"name": "hf.co/bartowski/x:Q4", "modified_at": "2025-05-06T07:08:09.123456789+02:00"},
    ]
}
OPENAI_MODELS = {
    "object": "list",
    "data": [
        {"id": "qwen3", "object": "model", "created": 1704190830, "owned_by": "vllm", "max_model_len": 4096},
        {"id": "org/other", "object": "model", "created": 1746508089, "owned_by": "vllm"},
    ],
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """An upstream that is both an Ollama and an OpenAI server."""
    with Upstream() as running:
        running.on("/api/tags", json_response(OLLAMA_MODELS))
        running.on("/api/show", json_response({"modified_at": "2024-01-02T10:20:30Z", "details": {}}))
        running.on("/v1/models", json_response(OPENAI_MODELS))
        yield running


def environment(upstream: Upstream, **more: str) -> dict[str, str]:
    return {"OLLAMA_HOST": upstream.url, "OPENAI_BASE_URL": f"{upstream.url}/v1", **more}


@pytest.fixture(scope="module")
def front(upstream: Upstream) -> Iterator[Server]:
    """Both mappings, without keys."""
    with dragoman_server(
        ("ollama-over-openai", "openai-over-ollama", "demo"), environment(upstream)
    ) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(upstream: Upstream) -> Iterator[Server]:
    """Both mappings, with a key for clients and one for the upstream."""
    keys = {"DRAGOMAN_API_KEYS": f"other, {KEY}", "OPENAI_API_KEY": "upstream-key"}
    with dragoman_server(
        ("ollama-over-openai", "openai-over-ollama", "demo"), environment(upstream, **keys)
    ) as server:
        yield server


def ollama_client(server: Server, key: str | None = None) -> ollama.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else None
    return ollama.Client(host=server.url, headers=headers, timeout=PATIENCE)


def openai_client(server: Server, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/ollama/v1", api_key=key, max_retries=0, timeout=PATIENCE)


# --- ollama → OpenAI's API -------------------------------------------------------------------------------


def test_ollama_lists_models(front: Server) -> None:
    with ollama_client(front) as client:
        found = client.list().models
    assert [model.model for model in found] == ["qwen3", "org/other"]
    first = found[0]
    assert first.modified_at is not None
    assert first.modified_at.timestamp() == 1704190830
    assert first.size == 0
    assert first.digest is not None
    assert len(first.digest) == 64
    assert first.details is not None
    assert first.details.family == "vllm"


def test_ollama_lists_models_asynchronously(front: Server) -> None:
    async def names() -> list[str | None]:
        async with ollama.AsyncClient(host=front.url) as client:
            return [model.model for model in (await client.list()).models]

    assert asyncio.run(names()) == ["qwen3", "org/other"]


def test_ollama_shows_a_model(front: Server) -> None:
    with ollama_client(front) as client:
        shown = client.show("qwen3:latest")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo == {
        "general.architecture": "vllm",
        "general.basename": "qwen3:latest",
        "vllm.context_length": 4096,
    }
    assert shown.template == "{{ .Prompt }}"


def test_ollama_sees_what_is_loaded(front: Server) -> None:
    with ollama_client(front) as client:
        found = client.ps().models
    assert [model.name for model in found] == ["qwen3", "org/other"]
    assert found[0].expires_at is not None
    assert found[0].expires_at.year == 9999


def test_ollama_receives_an_unknown_model_error(front: Server) -> None:
    with (
        ollama_client(front) as client,
        pytest.raises(ollama.ResponseError, match="'nope' not found") as caught,
    ):
        client.show("nope")
    assert caught.value.status_code == 404


@pytest.mark.parametrize("act", ["pull", "push", "delete"])
def test_ollama_receives_an_error_for_unsupported_operations(front: Server, act: str) -> None:
    message = "not supported by the VLLM backend"
    with ollama_client(front) as client, pytest.raises(ollama.ResponseError, match=message) as caught:
        getattr(client, act)("qwen3")
    assert caught.value.status_code == 501


def test_ollama_with_a_key(guarded: Server, upstream: Upstream) -> None:
    with ollama_client(guarded, KEY) as client:
        found = client.list().models
    assert [model.model for model in found] == ["qwen3", "org/other"]
    sent = [seen.header("authorization") for seen in upstream.requests if seen.target == "/v1/models"]
    assert sent[-1] == "Bearer upstream-key"


def test_ollama_without_a_key(guarded: Server) -> None:
    message = "a valid key is required"
    with ollama_client(guarded) as client, pytest.raises(ollama.ResponseError, match=message) as caught:
        client.list()
    assert caught.value.status_code == 401


# --- openai → Ollama's API -------------------------------------------------------------------------------


def test_openai_lists_models(front: Server) -> None:
    with openai_client(front) as client:
        found = client.models.list().data
    assert [(m.id, m.created, m.object, m.owned_by) for m in found] == [
        ("llama3:latest", 1704190830, "model", "ollama"),
        ("hf.co/bartowski/x:Q4", 1746508089, "model", "ollama"),
    ]


def test_openai_lists_models_asynchronously(front: Server) -> None:
    async def ids() -> list[str]:
        url = f"{front.url}/ollama/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            return [model.id async for model in client.models.list()]

    assert asyncio.run(ids()) == ["llama3:latest", "hf.co/bartowski/x:Q4"]


def test_openai_gets_one_model(front: Server, upstream: Upstream) -> None:
    with openai_client(front) as client:
        found = client.models.retrieve("hf.co/bartowski/x:Q4")
    assert (found.id, found.created, found.owned_by) == ("hf.co/bartowski/x:Q4", 1704190830, "ollama")
    assert upstream.requests[-1].json == {"model": "hf.co/bartowski/x:Q4"}


def test_openai_with_a_key(guarded: Server) -> None:
    with openai_client(guarded) as client:
        assert len(client.models.list().data) == 2


def test_openai_with_a_wrong_key(guarded: Server) -> None:
    with openai_client(guarded, "wrong") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["www-authenticate"] == "Bearer"


# --- Failing upstreams -----------------------------------------------------------------------------------

#: A behaviour of the upstream → the status for Ollama's clients and a part of the message.
FAILURES: dict[str, tuple[int, str]] = {
    "server-error": (502, "returned status 500"),
    "html": (502, "invalid JSON"),
    "half-json": (502, "invalid JSON"),
    "half-json-short": (502, "disconnected"),
    "reset": (502, "disconnected"),
    "hang": (504, "timed out"),
}


@pytest.fixture(scope="module")
def failing() -> Iterator[tuple[Upstream, dict[bool, Server]]]:
    """Both mappings in front of a failing upstream; with a timeout of one second for the silent one."""
    with Upstream() as upstream, contextlib.ExitStack() as stack:
        texts = {is_silent: texts_for(is_silent) for is_silent in (False, True)}
        yield (
            upstream,
            {
                is_silent: stack.enter_context(dragoman_server(text, environment(upstream)))
                for is_silent, text in texts.items()
            },
        )


def mapping_files() -> dict[str, Path]:
    """Returns the two mappings and their includes, with names for a single folder."""
    folder = Path(shipped_mappings()["demo"]).parent
    files = [
        folder / "openai-over-ollama.yaml",
        folder / "ollama-over-openai.yaml",
        *folder.glob("shared/*.yaml"),
    ]
    return {file.name: file for file in files}


def texts_for(is_silent: bool) -> dict[str, str]:
    """Returns the mappings unchanged, or with a timeout of one second."""
    texts = {name: path.read_text().replace("shared/", "") for name, path in mapping_files().items()}
    return {
        name: text.replace("read: 60s", "read: 1s") if is_silent else text for name, text in texts.items()
    }


@pytest.mark.parametrize("name", FAILURES)
def test_ollama_receives_the_error_of_a_failing_upstream(
    failing: tuple[Upstream, dict[bool, Server]], name: str
) -> None:
    upstream, servers = failing
    server = servers[name == "hang"]
    status, message = FAILURES[name]
    upstream.on("/v1/models", BEHAVIOURS[name])
    with ollama_client(server) as client, pytest.raises(ollama.ResponseError, match=message) as caught:
        client.list()
    assert caught.value.status_code == status


@pytest.mark.parametrize("name", FAILURES)
def test_openai_receives_the_error_of_a_failing_upstream(
    failing: tuple[Upstream, dict[bool, Server]], name: str
) -> None:
    upstream, servers = failing
    server = servers[name == "hang"]
    _, message = FAILURES[name]
    upstream.on("/api/tags", BEHAVIOURS[name])
    with openai_client(server) as client, pytest.raises(openai.InternalServerError, match=message) as caught:
        client.models.list()
    assert caught.value.status_code == 502
    assert caught.value.type == "api_error"


def test_both_receive_an_error_if_the_upstream_is_down() -> None:
    with refusing() as url:
        environ = {"OLLAMA_HOST": url, "OPENAI_BASE_URL": f"{url}/v1"}
        with dragoman_server(("ollama-over-openai", "openai-over-ollama", "demo"), environ) as server:
            with ollama_client(server) as client, pytest.raises(ollama.ResponseError) as caught:
                client.list()
            assert (caught.value.status_code, caught.value.error) == (
                502,
                "the upstream 'openai' cannot be reached",
            )
            with openai_client(server) as other, pytest.raises(openai.InternalServerError) as caught:
                other.models.list()
            assert caught.value.status_code == 502
            assert "the upstream 'ollama' cannot be reached" in caught.value.message
