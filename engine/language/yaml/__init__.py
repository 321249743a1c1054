"""YAML text → data with a place for every key and value.

Contract: scalars are read as JSON reads them (`true`, `false`, `null`, numbers), so `on`, `no`, `0777` and
`2026-01-01` stay text; keys are always text. Duplicate keys, tags other than YAML's own, a second document,
too deep or too large files are findings, and what an alias expands to is bounded.
Must not know what a mapping means.

    items          what a file holds, as it is written: the nodes of YAML, and how much of them there may be
    scalars        the value of a scalar, and where each of its characters was written
    positions      offsets in a file → lines and columns
    syntax_errors  what is most often behind text that is no YAML
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
from engine.language.yaml.items import MAX_DEPTH, MAX_NODES, Refused
from engine.locations import Document, SourceFile, Span

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "digest", "noted", "parse", "read", "read_bytes"]

MAX_BYTES: Final = 1 << 20

#: File → digest of what was read of it, or None where it could not be read.
Digests = dict[str, bytes | None]

_noted: ContextVar[Digests | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def noted() -> Iterator[Digests]:
    """Notes every file that is read inside, in this thread: which, and a digest of what it held."""
    files: Digests = {}
    token = _noted.set(files)
    try:
        yield files
    finally:
        _noted.reset(token)


def digest(path: FilePath) -> bytes | None:
    """The digest that `noted` would note of a file."""
    with noted() as files:
        read_bytes(path, Findings(), Span(SourceFile(os.fspath(path), ""), 1, 1))
    return files[os.fspath(path)]


def parse(name: str, content: bytes, findings: Findings) -> Document | None:
    """Read YAML.

    Args:
        name: the file's name for findings.
        content: its bytes, UTF-8, with or without a byte order mark, at most `MAX_BYTES`.
        findings: receives what is wrong.

    Returns:
        The document, or None where it could not be read; then there is a finding. A document with
        duplicate keys is returned (the first one counts), so that more can be found in it.
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
    except Refused:
        return None


def read(path: FilePath, findings: Findings, name: str | None = None) -> Document | None:
    """Read a YAML file; what keeps it from being read is a finding too."""
    name = name or os.fspath(path)
    content = read_bytes(path, findings, Span(SourceFile(name, ""), 1, 1))
    return None if content is None else parse(name, content, findings)


def read_bytes(path: FilePath, findings: Findings, place: Span) -> bytes | None:
    """A regular file's bytes, at most `MAX_BYTES`; otherwise a finding at `place`."""
    content = _bytes(path, findings, place)
    files = _noted.get()
    if files is not None:
        files[os.fspath(path)] = None if content is None else hashlib.sha256(content).digest()
    return content


def _bytes(path: FilePath, findings: Findings, place: Span) -> bytes | None:
    try:
        if not path.is_file():
            reason = "is no regular file" if path.exists() else "does not exist"
            findings.error("file-unreadable", f"'{path}' {reason}", place)
            return None
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        findings.error("file-unreadable", f"'{path}' cannot be read: {error.strerror}", place)
        return None
    if len(content) > MAX_BYTES:
        findings.error("file-too-large", f"'{path}' is larger than {MAX_BYTES} bytes", place)
        return None
    return content


def _decode(name: str, content: bytes, findings: Findings) -> str | None:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = bytes(error.object[: error.start]).decode("utf-8")
        file = SourceFile(name, bytes(error.object).decode("utf-8", "replace"))
        place = Span(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, 1)
        findings.error("encoding", "the file is not UTF-8", place)
        return None
