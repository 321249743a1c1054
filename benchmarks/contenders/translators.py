"""The two handwritten translators as contenders; their code is in `by_hand.py` and `starlette_httpx.py`."""

from __future__ import annotations

from benchmarks import requests
from benchmarks.contenders.base import Contender, LaunchOptions, module
from benchmarks.servers import Command

#: A mapping that opens the upstream; the route is never called.
_ONE_ROUTE = "routes: { GET /: { call: GET up /, respond: { body: {} } } }\n"


def _starlette(launch: LaunchOptions) -> Command:
    return module("benchmarks.contenders.starlette_httpx", str(launch.port), launch.upstream)


def _by_hand(launch: LaunchOptions) -> Command:
    mapping = launch.directory / "by-hand.yaml"
    upstream = f"{{ url: '{launch.upstream}', connections: 4000 }}"
    mapping.write_text(f"dragoman: 1\nupstreams: {{ up: {upstream} }}\n{_ONE_ROUTE}")
    return module("benchmarks.contenders.by_hand", str(launch.port), str(mapping))


def _no_httpx() -> str | None:
    try:
        import httpx  # noqa: F401
    except ImportError:
        return "httpx is not installed"
    return None


BY_HAND = Contender(
    "by-hand",
    "the same translation as plain code, on this project's upstream client",
    requests.models("/v1/models") | requests.ollama_chats(),
    _by_hand,
)

STARLETTE = Contender(
    "starlette",
    "the same translation as plain code, on Starlette and one httpx client",
    requests.models("/v1/models") | requests.ollama_chats(),
    _starlette,
    _no_httpx,
)
