"""No proxy: a second upstream process, on the core of the servers. No contender can be faster."""

from __future__ import annotations

from benchmarks import asks
from benchmarks.contenders.base import Contender, Place, module
from benchmarks.servers import Command


def _command(place: Place) -> Command:
    return module("benchmarks.upstream", str(place.port))


DIRECT = Contender(
    "direct",
    "no proxy: the upstream itself",
    asks.models("/api/tags", asks.any_json) | asks.openai_chats(),
    _command,
)
