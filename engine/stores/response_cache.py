"""Cached responses, of routes and of calls.

Contract: bounded in number and in bytes of memory: bodies are kept as bytes and parsed anew for each use, and
header fields and keys count as well. The entry used least recently is evicted first. A cached response says
that it is one, and how old it is (RFC 9111, 5.1).
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from engine.http.messages import CompleteResponse, Content, Headers

_MAX_ANSWERS: Final = 1000
_MAX_BYTES: Final = 64 * 1024 * 1024
#: What an entry takes beside its body, key and header fields.
_ENTRY_BYTES: Final = 512

_AGE: Final = "age"
_HIT: Final = "x-dragoman-cache"
#: An age (RFC 9111, 1.2.2) that is beyond this many digits is none.
_MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class _Answer:
    """An entry. `age` is what it had when it was stored, in seconds; times are those of `time.monotonic`."""

    status: int
    headers: Headers
    media_type: str
    data: bytes
    age: int
    size: int
    since: float
    until: float


class ResponseCache:
    """Responses by their keys."""

    def __init__(self, max_answers: int = _MAX_ANSWERS, max_bytes: int = _MAX_BYTES) -> None:
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes of memory that all entries take."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> CompleteResponse | None:
        """The response cached under a key, unless its time is over."""
        answer = self._answers.get(key)
        if answer is None:
            return None
        now = time.monotonic()
        if now >= answer.until:
            self._remove(key)
            return None
        self._answers.move_to_end(key)
        age = answer.age + int(now - answer.since)
        headers = (*answer.headers, (_AGE, str(age)), (_HIT, "hit"))
        return CompleteResponse(answer.status, headers, Content(answer.data, answer.media_type))

    def put(self, key: str, response: CompleteResponse, seconds: float) -> None:
        """Cache a response for so many seconds; one larger than the whole cache is not."""
        data = response.content.data
        headers = tuple(field for field in response.headers if field[0] not in (_AGE, _HIT))
        size = _ENTRY_BYTES + sys.getsizeof(key) + sys.getsizeof(data) + _size_of(headers)
        if key in self._answers:
            self._remove(key)
        if size > self._max_bytes:
            return
        now = time.monotonic()
        self._answers[key] = _Answer(
            response.status,
            headers,
            response.content.media_type,
            data,
            _age_of(response.headers),
            size,
            now,
            now + seconds,
        )
        self._bytes += size
        while len(self._answers) > self._max_answers or self._bytes > self._max_bytes:
            self._remove(next(iter(self._answers)))

    def _remove(self, key: str) -> None:
        self._bytes -= self._answers.pop(key).size


def _size_of(headers: Headers) -> int:
    return sys.getsizeof(headers) + sum(
        sys.getsizeof(field) + sys.getsizeof(field[0]) + sys.getsizeof(field[1]) for field in headers
    )


def _age_of(headers: Headers) -> int:
    """How old a response says it is: the oldest of what several caches say."""
    found = [
        int(value)
        for name, value in headers
        if name == _AGE and value.isdecimal() and len(value) <= _MAX_DIGITS
    ]
    return max(found, default=0)
