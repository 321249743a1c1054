r"""Functions with patterns, and the only import of the regular expression engine for untrusted patterns.

Contract: RE2 syntax (https://github.com/google/re2/wiki/Syntax), which has no look-around and no
back-references, so that matching takes time linear in the text for any pattern.
This module must not know where patterns come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Protocol

import re2

from engine.errors import EvaluationError
from engine.language.functions.bounds import bounded, check_length, utf8
from engine.language.functions.registry import EXPANDS, function

_LONGEST_GLOB = 8192
#: Limits of matches that are replaced, and of bytes of text that are searched for these or for patterns.
_MOST_MATCHES = 250_000
_MOST_SEARCHED = 100_000_000
#: Limit of comparisons of literal pieces of a pattern with `?` with a text.
_MOST_COMPARISONS = 1_000_000
_BYTES_OF_A_CHARACTER = 4

_LITERAL = re.compile(r"[^?]+")
#: The relevant tokens of a pattern, and tokens in which the same characters mean something else.
_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|\Z)|\\[pPx]\{[^}]*\}|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]"
    r"|(?P<group>\)[?*+{])|(?P<alternative>\|)|(?P<repetition>[*+{])",
    re.DOTALL,
)


class Match(Protocol):
    """A match of a pattern; `start` and `end` in characters of a string, or in bytes."""

    def group(self, number: int) -> Any: ...
    def start(self) -> int: ...
    def end(self) -> int: ...


class Pattern(Protocol):
    """A compiled pattern, the result of `compile_regex` and the value of a parameter of type `regex`."""

    @property
    def groups(self) -> int: ...
    @property
    def pattern(self) -> str: ...
    def search(self, text: str) -> Match | None: ...
    def finditer(self, text: bytes) -> Iterator[Match]: ...


def compile_regex(text: str) -> Pattern:
    """Compile a pattern.

    Raises:
        ValueError: it is not a valid RE2 pattern; the message is a short reason.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(text, options)
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate") from None
    except re2.error as error:
        reason = error.args[0]
        raise ValueError(reason.decode() if isinstance(reason, bytes) else reason) from None
    return pattern


def _search(name: str, pattern: Pattern, text: str) -> Match | None:
    try:
        return pattern.search(text)
    except UnicodeEncodeError:
        raise _no_unicode(name) from None


def _no_unicode(name: str) -> EvaluationError:
    return EvaluationError(f"{name}() got a string with a lone surrogate")


@function("capture(text: string|null, pattern: regex) -> string|null")
def capture(text: str | None, pattern: Pattern) -> str | None:
    r"""The match of the pattern's first group in the text, or of the pattern if it has no groups.

    The pattern is not anchored. Null without a match, and for null.

    Examples:
        capture('model=qwen3:8b;', 'model=([^;]*)') => "qwen3:8b"
        capture('retry in 12 s', '\d+') => "12"
        capture('abc', 'x') => null
        capture('b', '(a)?b') => null
        capture(`null`, 'x') => null
    """
    match = None if text is None else _search("capture", pattern, text)
    if match is None:
        return None
    found: str | None = match.group(min(pattern.groups, 1))
    return found


@function("regex_match(text: string|null, pattern: regex) -> boolean")
def regex_match(text: str | None, pattern: Pattern) -> bool:
    """Whether the pattern matches somewhere in the text; `^` and `$` anchor it. False for null.

    Examples:
        regex_match('o3-mini', '^o[0-9]') => true
        regex_match('gpt-4o', '^o[0-9]') => false
        regex_match('GPT', '(?i)gpt') => true
        regex_match(`null`, '') => false
    """
    return text is not None and _search("regex_match", pattern, text) is not None


@function(
    "regex_replace(text: string|null, pattern: regex, replacement: string) -> string|null", cost=EXPANDS
)
def regex_replace(text: str | None, pattern: Pattern, replacement: str) -> str | None:
    r"""The text with every match replaced; null for null.

    In the replacement `\0` is the match, `\1` to `\9` are its groups, and `\\` is a backslash, as in RE2.
    At most 250,000 matches are replaced. A pattern with alternatives, or with groups that are optional or
    repeated, is searched for through at most 100 MB, counted from each match to the end of the text.

    Examples:
        regex_replace('a <think>hm</think>b', '<think>.*?</think>', '') => "a b"
        regex_replace('John Smith', '(\w+) (\w+)', '\2 \1') => "Smith John"
        regex_replace('abc', 'x', 'y') => "abc"
        regex_replace('abc', 'b', '\1') => !
    """
    parts = _replacement_parts(replacement, pattern.groups)
    if text is None or _search("regex_replace", pattern, text) is None:
        return text
    replaced = b"".join(_replaced(utf8("regex_replace", text), pattern, parts))
    try:
        return bounded("regex_replace", replaced.decode())
    except UnicodeDecodeError:  # RE2's \C is one byte
        raise EvaluationError("regex_replace() matched a part of a character") from None


def _replaced(text: bytes, pattern: Pattern, parts: list[bytes | int]) -> Iterator[bytes]:
    """The pieces of the new text; raises if they become too long or too many.

    It works on bytes, because the offsets in a string would have to be counted again for each match.
    """
    end = length = searched = count = 0
    empty = -1
    looks_ahead = _looks_far_ahead(pattern.pattern)
    for match in pattern.finditer(text):
        start = match.start()
        if match.end() == start:
            if start == empty or _is_within_character(text, start):
                continue  # the library reports it twice, or while it advances by a byte
            empty = start
        count += 1
        searched += len(text) - start if looks_ahead else 0
        if count > _MOST_MATCHES or searched > _MOST_SEARCHED:
            raise EvaluationError("regex_replace() would take too long: too many matches in too long a text")
        new = b"".join([part if isinstance(part, bytes) else match.group(part) or b"" for part in parts])
        length += start - end + len(new)
        check_length("regex_replace", length // _BYTES_OF_A_CHARACTER)
        yield text[end:start]
        yield new
        end = match.end()
    yield text[end:]


def _is_within_character(text: bytes, position: int) -> bool:
    return position < len(text) and text[position] & 0xC0 == 0x80


@lru_cache(256)
def _looks_far_ahead(pattern: str) -> bool:
    """Whether a search may continue far beyond the match that it finds, so that all take quadratic time:
    in `x(.*y)?` each search continues for a `y`.

    It does so in a repetition that can still lead to a better match. If all matches use all repetitions, the
    next match would be that better one; so only what a match may skip is relevant: an alternative, or a group
    that is optional or repeated.
    """
    tokens = {match.lastgroup for match in _TOKEN.finditer(pattern)}
    has_repetition = bool(tokens & {"repetition", "group"})
    return has_repetition and bool(tokens & {"alternative", "group"})


@lru_cache(256)
def _replacement_parts(replacement: str, groups: int) -> list[bytes | int]:
    """A replacement as literal texts and group numbers."""
    first, *rest = utf8("regex_replace", replacement).split(b"\\")
    parts: list[bytes | int] = [first]
    pieces = iter(rest)
    for piece in pieces:
        digit = piece[:1]
        following = next(pieces, None) if not digit else None
        if following is not None:
            parts.append(b"\\" + following)
        elif digit and digit in b"0123456789" and int(digit) <= groups:
            parts += [int(digit), piece[1:]]
        else:
            raise EvaluationError("regex_replace() takes \\0 to \\9, as far as there are groups, and \\\\")
    return parts


@function("glob_match(text: string|null, patterns: string|array[string]) -> boolean")
def glob_match(text: str | None, patterns: str | list[str]) -> bool:
    """Whether the whole text matches the pattern, or one of the patterns. False for null.

    `*` matches any number of characters, including `/`, `?` matches one character, other characters match
    themselves. Case-sensitive. All patterns together have at most 8,192 characters.

    Examples:
        glob_match('gpt-4o-mini', 'gpt-4*') => true
        glob_match('models/gemini-2.5', `["claude-*", "models/*"]`) => true
        glob_match('gpt-4', 'gpt-?.5') => false
        glob_match('GPT-4', 'gpt-*') => false
        glob_match(`null`, '*') => false
    """
    globs = [patterns] if isinstance(patterns, str) else patterns
    if sum(map(len, globs)) > _LONGEST_GLOB:
        raise EvaluationError(f"glob_match() takes patterns of at most {_LONGEST_GLOB} characters together")
    if text is None:
        return False
    if len(text) * len(globs) > _MOST_SEARCHED:
        raise EvaluationError("glob_match() would take too long: too many patterns for so long a text")
    return any(map(_GlobText(text).matches, globs))


class _GlobText:
    """A text to compare with patterns of `glob_match`: segments, with any characters between them.

    The first segment is at the start of the text, the last at its end, and for the others the first match is
    the best one; so no segment is searched for twice.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._comparisons_left = _MOST_COMPARISONS

    def matches(self, pattern: str) -> bool:
        """Whether the whole text matches the pattern."""
        text = self._text
        first, *others = pattern.split("*")
        if not others:
            return len(text) == len(first) and self._is_at(0, _pieces(first))
        *inner, last = others
        end = len(text) - len(last)
        if end < len(first) or not self._is_at(0, _pieces(first)):
            return False
        if not self._is_at(end, _pieces(last)):
            return False
        position = len(first)
        for segment in inner:
            found = self._find(segment, position, end)
            if found is None:
                return False
            position = found + len(segment)
        return True

    def _is_at(self, position: int, pieces: list[tuple[int, str]]) -> bool:
        """Whether all pieces of a segment match at `position`."""
        self._comparisons_left -= len(pieces)
        if self._comparisons_left < 0:
            raise EvaluationError("glob_match() would take too long: too many '?' for so long a text")
        return all(self._text.startswith(piece, position + offset) for offset, piece in pieces)

    def _find(self, segment: str, start: int, end: int) -> int | None:
        """The first position of a segment between two positions."""
        pieces = _pieces(segment)
        if not pieces:
            return start if start + len(segment) <= end else None
        offset, longest = max(pieces, key=lambda piece: len(piece[1]))
        last = end - (len(segment) - offset - len(longest))
        found = self._text.find(longest, start + offset, last)
        while found >= 0:
            if len(pieces) == 1 or self._is_at(found - offset, pieces):
                return found - offset
            found = self._text.find(longest, found + 1, last)
        return None


def _pieces(segment: str) -> list[tuple[int, str]]:
    """The literal parts of a segment: runs without a `?`, with their positions."""
    if "?" not in segment:
        return [(0, segment)] if segment else []
    return [(match.start(), match[0]) for match in _LITERAL.finditer(segment)]
