"""Cached responses, of routes and of calls.

Contract: the number of entries and their bytes of memory are limited, including keys and header fields. The
least recently used entry is evicted first (LRU). Bodies are stored as bytes and parsed again for each use. A
cached response has `X-Dragoman-Cache: hit` and its age (RFC 9111, 5.1).
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from engine.http.messages import CompleteResponse, Content, Headers, Report

_MAX_ENTRIES: Final = 1000
_MAX_BYTES: Final = 64 * 1024 * 1024
#: Bytes of an entry in addition to its body, key and header fields.
_ENTRY_BYTES: Final = 512

_AGE: Final = "age"
_HIT: Final = "x-dragoman-cache"
#: An Age (RFC 9111, 1.2.2) with more digits is ignored.
_MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class _Entry:
    """A cached response, with the report of its exchange. `age` is its age in seconds when it was stored;
    times are of `time.monotonic`."""

    status: int
    headers: Headers
    media_type: str
    data: bytes
    age: int
    size: int
    stored_at: float
    expires_at: float
    report: Report


class ResponseCache:
    """Cached responses by key."""

    def __init__(self, max_entries: int = _MAX_ENTRIES, max_bytes: int = _MAX_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes of memory of all entries."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> CompleteResponse | None:
        """The response cached under a key, or None if there is none or it has expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = time.monotonic()
        if now >= entry.expires_at:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        age = entry.age + int(now - entry.stored_at)
        headers = (*entry.headers, (_AGE, str(age)), (_HIT, "hit"))
        response = CompleteResponse(entry.status, headers, Content(entry.data, entry.media_type))
        response.report = entry.report
        return response

    def put(self, key: str, response: CompleteResponse, seconds: float) -> None:
        """Cache a response for `seconds`, unless it is larger than the cache."""
        data = response.content.data
        headers = tuple(field for field in response.headers if field[0] not in (_AGE, _HIT))
        size = _ENTRY_BYTES + sys.getsizeof(key) + sys.getsizeof(data) + _size_of(headers)
        size += sum(sys.getsizeof(name) for names in response.report[:2] for name in names)
        if key in self._entries:
            self._remove(key)
        if size > self._max_bytes:
            return
        now = time.monotonic()
        self._entries[key] = _Entry(
            response.status,
            headers,
            response.content.media_type,
            data,
            _age_of(response.headers),
            size,
            now,
            now + seconds,
            response.report,
        )
        self._bytes += size
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: str) -> None:
        self._bytes -= self._entries.pop(key).size


def _size_of(headers: Headers) -> int:
    return sys.getsizeof(headers) + sum(
        sys.getsizeof(field) + sys.getsizeof(field[0]) + sys.getsizeof(field[1]) for field in headers
    )


def _age_of(headers: Headers) -> int:
    """The age of a response: the highest value of its Age fields, as several caches may add one."""
    found = [
        int(value)
        for name, value in headers
        if name == _AGE and value.isdecimal() and len(value) <= _MAX_DIGITS
    ]
    return max(found, default=0)
