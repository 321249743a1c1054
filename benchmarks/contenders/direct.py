"""No proxy: a second upstream process on the core of the measured server. No contender can be faster."""

from __future__ import annotations

from benchmarks import requests
from benchmarks.contenders.base import Contender, LaunchOptions, module
from benchmarks.servers import Command


def _command(launch: LaunchOptions) -> Command:
    return module("benchmarks.upstream", str(launch.port))


DIRECT = Contender(
    "direct",
    "no proxy: the upstream itself",
    requests.models("/api/tags", requests.check_json) | requests.openai_chats(),
    _command,
)
