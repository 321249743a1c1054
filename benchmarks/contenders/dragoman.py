"""This project: `serve` with the shipped mappings, one process.

The log level is `warning`: no line for each request, as no other contender writes one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import asks
from benchmarks.contenders.base import Contender, Place
from benchmarks.servers import Command


def serve(port: int, *mappings: str, **env: str) -> Command:
    """`dragoman serve` of files, or of shipped mappings by their names."""
    options = ["--port", str(port), "--log-level", "warning"]
    return Command([sys.executable, "-m", "cli", "serve", *options, *mappings], env)


def _command(place: Place) -> Command:
    return serve(
        place.port,
        "ollama-over-openai",
        "openai-over-ollama",
        OLLAMA_HOST=place.upstream,
        OPENAI_BASE_URL=f"{place.upstream}/v1",
    )


DRAGOMAN = Contender(
    "dragoman",
    "this project, the shipped mappings",
    asks.models("/ollama/v1/models") | asks.ollama_chats(),
    _command,
)

_REVERSED = asks.openai_chats("/ollama/v1/chat/completions")

REVERSE = Contender(
    "reverse",
    "this project the other way round: OpenAI's chat before Ollama",
    asks.models("/ollama/v1/models") | {name: _REVERSED[name] for name in ("chat", "burst")},
    _command,
)


def many_routes(count: int, file: Path) -> Path:
    """Write a mapping of so many routes that answer at once."""
    route = (
        "  GET /r{0}/items/{{id}}: {{ respond: {{ body: {{ id: '${{ $request.params.id }}', r: {0} }} }} }}"
    )
    lines = ["dragoman: 1", "auth: none", "routes:", *(route.format(n) for n in range(count))]
    file.write_text("\n".join(lines) + "\n")
    return file
