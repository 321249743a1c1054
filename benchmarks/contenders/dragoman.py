"""This project: `serve` with the shipped mappings, one process.

The log level is `warning`: no other contender writes a line for each request.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

from benchmarks import requests
from benchmarks.contenders.base import Contender, LaunchOptions
from benchmarks.servers import Command

_MAPPINGS = Path(__file__).parents[2] / "mappings"
_MAX_STREAMS = 4000


def serve(port: int, *mappings: str, **env: str) -> Command:
    """The command `dragoman serve`, for files or names of shipped mappings."""
    options = ["--port", str(port), "--log-level", "warning"]
    return Command([sys.executable, "-m", "cli", "serve", *options, *mappings], env)


def _command(launch: LaunchOptions) -> Command:
    return serve(
        launch.port,
        "ollama-over-openai",
        "openai-over-ollama",
        OLLAMA_HOST=launch.upstream,
        OPENAI_BASE_URL=f"{launch.upstream}/v1",
    )


def _streams_command(launch: LaunchOptions) -> Command:
    """The shipped mapping with a higher connection limit: each idle stream occupies a connection."""
    copy = shutil.copytree(_MAPPINGS, launch.directory / "mappings", dirs_exist_ok=True)
    file = copy / "ollama-over-openai.yaml"
    text, url = file.read_text(), "    url: ${ $env.OPENAI_BASE_URL }\n"
    assert text.count(url) == 1
    file.write_text(text.replace(url, f"{url}    connections: {_MAX_STREAMS}\n"))
    command = serve(launch.port, str(file), OPENAI_BASE_URL=f"{launch.upstream}/v1")
    return Command([*command.argv, "--max-in-flight", str(_MAX_STREAMS)], command.env)


DRAGOMAN = Contender(
    "dragoman",
    "this project, the shipped mappings",
    requests.models("/ollama/v1/models") | requests.ollama_chats(),
    _command,
    streams_command=_streams_command,
)

_REVERSED = requests.openai_chats("/ollama/v1/chat/completions")

REVERSE = Contender(
    "reverse",
    "this project in the other direction: OpenAI API → Ollama",
    requests.models("/ollama/v1/models") | {name: _REVERSED[name] for name in ("chat", "burst")},
    _command,
)


def checkout(path: Path) -> Contender:
    """Another checkout of this project, with its own shipped mappings, run by this interpreter."""
    if not (path / "engine").is_dir() or not (path / "cli").is_dir():
        raise ValueError(f"{path} is not a checkout of this project")

    def command(launch: LaunchOptions) -> Command:
        ours = _command(launch)
        _, *rest = ours.argv
        # Without -P, Python would import this checkout from the working directory.
        return Command([sys.executable, "-P", *rest], {**ours.env, "PYTHONPATH": str(path.resolve())})

    return dataclasses.replace(
        DRAGOMAN, name="against", about=f"{path}", command=command, streams_command=None
    )


def many_routes(count: int, file: Path) -> Path:
    """Write a mapping with `count` routes that respond without an upstream."""
    route = (
        "  GET /r{0}/items/{{id}}: {{ respond: {{ body: {{ id: '${{ $request.params.id }}', r: {0} }} }} }}"
    )
    lines = ["dragoman: 1", "auth: none", "routes:", *(route.format(n) for n in range(count))]
    file.write_text("\n".join(lines) + "\n")
    return file
