"""YAML text → data with a location for every key and value.

Contract: scalars are read by JSON's rules (`true`, `false`, `null`, numbers), so `on`, `no`, `0777` and
`2026-01-01` are text; keys are always text. Duplicate keys, tags other than YAML's own, a second document,
and files that are too deep or too large are findings, and the expansion of aliases is bounded.
Must not know what a mapping means.

    items          the YAML nodes of a file, and their limits
    scalars        the value of a scalar, and the offset of each of its characters in the file
    positions      offsets in a file → lines and columns
    syntax_errors  hints about the most common causes of invalid YAML
    composer       text → items; the only importer of PyYAML
    expander       items → data, with aliases and merge keys expanded
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path as FilePath
from typing import Final

from engine.diagnostics import Findings
from engine.language.yaml.composer import compose
from engine.language.yaml.expander import expand
from engine.language.yaml.items import MAX_DEPTH, MAX_NODES, Unreadable
from engine.locations import Document, SourceFile, Span

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "digest", "parse", "read", "read_bytes", "track_reads"]

MAX_BYTES: Final = 1 << 20

#: File → digest of the bytes that were read, or None if it could not be read.
Digests = dict[str, bytes | None]

_tracked_reads: ContextVar[Digests | None] = ContextVar("tracked_reads", default=None)


@contextlib.contextmanager
def track_reads() -> Iterator[Digests]:
    """Record every file that is read inside, in this thread, with a digest of its content."""
    files: Digests = {}
    token = _tracked_reads.set(files)
    try:
        yield files
    finally:
        _tracked_reads.reset(token)


def digest(path: FilePath) -> bytes | None:
    """The digest that `track_reads` would record for a file."""
    with track_reads() as files:
        read_bytes(path, Findings(), Span.whole(os.fspath(path)))
    return files[os.fspath(path)]


def parse(name: str, content: bytes, findings: Findings) -> Document | None:
    """Read YAML.

    Args:
        name: the file's name for findings.
        content: its bytes, UTF-8, with or without a byte order mark, at most `MAX_BYTES`.
        findings: receives errors.

    Returns:
        The document, or None if it could not be read; then there is a finding. A document with duplicate
        keys is returned (the first one counts), so that it can be checked further.
    """
    text = _decode(name, content, findings)
    if text is None:
        return None
    file = SourceFile(name, text)
    try:
        root = compose(file, findings)
        if root is None or root.is_empty:
            findings.error("empty-file", "the file is empty", Span(file, 1, 1))
            return None
        return expand(root, file, findings)
    except Unreadable:
        return None


def read(path: FilePath, findings: Findings, name: str | None = None) -> Document | None:
    """Read a YAML file; a file that cannot be read is a finding too."""
    name = name or os.fspath(path)
    content = read_bytes(path, findings, Span.whole(name))
    return None if content is None else parse(name, content, findings)


def read_bytes(path: FilePath, findings: Findings, location: Span) -> bytes | None:
    """The bytes of a regular file, at most `MAX_BYTES`; otherwise None and a finding at `location`."""
    content = _bytes(path, findings, location)
    files = _tracked_reads.get()
    if files is not None:
        files[os.fspath(path)] = None if content is None else hashlib.sha256(content).digest()
    return content


def _bytes(path: FilePath, findings: Findings, location: Span) -> bytes | None:
    try:
        if not path.is_file():
            reason = "is not a regular file" if path.exists() else "does not exist"
            findings.error("file-unreadable", f"'{path}' {reason}", location)
            return None
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        findings.error("file-unreadable", f"'{path}' cannot be read: {error.strerror}", location)
        return None
    if len(content) > MAX_BYTES:
        findings.error("file-too-large", f"'{path}' is larger than {MAX_BYTES} bytes", location)
        return None
    return content


def _decode(name: str, content: bytes, findings: Findings) -> str | None:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = bytes(error.object[: error.start]).decode("utf-8")
        file = SourceFile(name, bytes(error.object).decode("utf-8", "replace"))
        location = Span(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, 1)
        findings.error("encoding", "the file is not UTF-8", location)
        return None
