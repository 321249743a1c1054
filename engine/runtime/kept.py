"""Answers that are kept, to be given again.

Contract: bounded in number and in bytes; what was used longest ago goes first. An answer that is given again
says so, and how old it is (RFC 9111, 5.1).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from engine.messages import Outbound

_MAX_ANSWERS: Final = 1000
_MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Answer:
    outbound: Outbound
    size: int
    since: float
    until: float


class KeptAnswers:
    """Answers by their keys."""

    def __init__(self, max_answers: int = _MAX_ANSWERS, max_bytes: int = _MAX_BYTES) -> None:
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Outbound | None:
        """The answer kept under a key, where its time is not over."""
        answer = self._answers.get(key)
        if answer is None:
            return None
        now = time.monotonic()
        if now >= answer.until:
            self._remove(key)
            return None
        self._answers.move_to_end(key)
        outbound = answer.outbound
        age = (("age", str(int(now - answer.since))), ("x-dragoman-cache", "hit"))
        return Outbound(outbound.status, (*outbound.headers, *age), outbound.content)

    def put(self, key: str, outbound: Outbound, seconds: float) -> None:
        """Keep an answer for so many seconds."""
        size = len(outbound.content.data)
        if size > self._max_bytes:
            return
        if key in self._answers:
            self._remove(key)
        now = time.monotonic()
        self._answers[key] = _Answer(outbound, size, now, now + seconds)
        self._bytes += size
        while len(self._answers) > self._max_answers or self._bytes > self._max_bytes:
            self._remove(next(iter(self._answers)))

    def _remove(self, key: str) -> None:
        self._bytes -= self._answers.pop(key).size
