"""This project: `serve` with the shipped mappings, one process.

The log level is `warning`: no line for each request, as no other contender writes one.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

from benchmarks import requests
from benchmarks.contenders.base import Contender, Place
from benchmarks.servers import Command

_MAPPINGS = Path(__file__).parents[2] / "mappings"
_HELD = 4000


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


def _holding(place: Place) -> Command:
    """The shipped mapping with more connections than by default: a silent stream has one for itself."""
    copy = shutil.copytree(_MAPPINGS, place.directory / "mappings", dirs_exist_ok=True)
    file = copy / "ollama-over-openai.yaml"
    text, url = file.read_text(), "    url: ${ $env.OPENAI_BASE_URL }\n"
    assert text.count(url) == 1
    file.write_text(text.replace(url, f"{url}    connections: {_HELD}\n"))
    command = serve(place.port, str(file), OPENAI_BASE_URL=f"{place.upstream}/v1")
    return Command([*command.argv, "--max-in-flight", str(_HELD)], command.env)


DRAGOMAN = Contender(
    "dragoman",
    "this project, the shipped mappings",
    requests.models("/ollama/v1/models") | requests.ollama_chats(),
    _command,
    holding=_holding,
)

_REVERSED = requests.openai_chats("/ollama/v1/chat/completions")

REVERSE = Contender(
    "reverse",
    "this project the other way round: OpenAI's chat before Ollama",
    requests.models("/ollama/v1/models") | {name: _REVERSED[name] for name in ("chat", "burst")},
    _command,
)


def checkout(path: Path) -> Contender:
    """Another checkout of this project, with the shipped mappings of its own, run by this interpreter."""
    if not (path / "engine").is_dir() or not (path / "cli").is_dir():
        raise ValueError(f"{path} is no checkout of this project")

    def command(place: Place) -> Command:
        ours = _command(place)
        _, *rest = ours.argv
        # Without -P the working directory, this checkout, would come first.
        return Command([sys.executable, "-P", *rest], {**ours.env, "PYTHONPATH": str(path.resolve())})

    return dataclasses.replace(DRAGOMAN, name="against", about=f"{path}", command=command, holding=None)


def many_routes(count: int, file: Path) -> Path:
    """Write a mapping of so many routes that answer at once."""
    route = (
        "  GET /r{0}/items/{{id}}: {{ respond: {{ body: {{ id: '${{ $request.params.id }}', r: {0} }} }} }}"
    )
    lines = ["dragoman: 1", "auth: none", "routes:", *(route.format(n) for n in range(count))]
    file.write_text("\n".join(lines) + "\n")
    return file
