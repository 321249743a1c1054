"""No proxy: a second upstream process, on the core of the servers. No contender can be faster."""

from __future__ import annotations

from benchmarks import requests
from benchmarks.contenders.base import Contender, Place, module
from benchmarks.servers import Command


def _command(place: Place) -> Command:
    return module("benchmarks.upstream", str(place.port))


DIRECT = Contender(
    "direct",
    "no proxy: the upstream itself",
    requests.models("/api/tags", requests.any_json) | requests.openai_chats(),
    _command,
)
