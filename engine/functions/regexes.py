r"""Functions with patterns, and the only import of a regular expression engine for patterns of others.

Contract: RE2 syntax (https://github.com/google/re2/wiki/Syntax), which has no look-around and no
back-references, so that a match takes time linear in the text, whatever the pattern.
This module must not know where patterns come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

import re2

from engine.errors import EvaluationError
from engine.functions.bounds import bounded, check_length
from engine.functions.registry import EXPANDS, function

_LONGEST_GLOB = 8192


class Match(Protocol):
    """A place where a pattern matched; `start` and `end` in characters."""

    def group(self, number: int) -> str | None: ...
    def start(self) -> int: ...
    def end(self) -> int: ...


class Pattern(Protocol):
    """A compiled pattern, as `compile_regex` gives it and a parameter of type `regex` takes it."""

    @property
    def groups(self) -> int: ...
    def search(self, text: str) -> Match | None: ...
    def finditer(self, text: str) -> Iterator[Match]: ...


def compile_regex(text: str, *, dot_all: bool = False) -> Pattern:
    """The compiled pattern.

    Raises:
        ValueError: it is no RE2 pattern; says why in a few words.
    """
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = dot_all
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
    r"""What the pattern's first group matched in the text, or the whole match where it has no groups.

    It is searched for, not anchored; null where there is none, and for null.

    Examples:
        capture('model=qwen3:8b;', 'model=([^;]*)') => "qwen3:8b"
        capture('retry in 12 s', '\d+') => "12"
        capture('abc', 'x') => null
        capture('b', '(a)?b') => null
        capture(`null`, 'x') => null
    """
    match = None if text is None else _search("capture", pattern, text)
    return None if match is None else match.group(min(pattern.groups, 1))


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

    Examples:
        regex_replace('a <think>hm</think>b', '<think>.*?</think>', '') => "a b"
        regex_replace('John Smith', '(\w+) (\w+)', '\2 \1') => "Smith John"
        regex_replace('abc', 'x', 'y') => "abc"
        regex_replace('abc', 'b', '\1') => !
    """
    parts = _replacement_parts(replacement, pattern.groups)
    if text is None or _search("regex_replace", pattern, text) is None:
        return text
    try:
        return bounded("regex_replace", "".join(_replaced(text, pattern, parts)))
    except UnicodeEncodeError:
        raise _no_unicode("regex_replace") from None


def _replaced(text: str, pattern: Pattern, parts: list[str | int]) -> Iterator[str]:
    """The pieces of the new text, until they are too long."""
    end = length = 0
    for match in pattern.finditer(text):
        new = "".join(part if isinstance(part, str) else match.group(part) or "" for part in parts)
        length += match.start() - end + len(new)
        check_length("regex_replace", length)
        yield text[end : match.start()]
        yield new
        end = match.end()
    yield text[end:]


@lru_cache(256)
def _replacement_parts(replacement: str, groups: int) -> list[str | int]:
    """A replacement as literal texts and numbers of groups."""
    first, *rest = replacement.split("\\")
    parts: list[str | int] = [first]
    pieces = iter(rest)
    for piece in pieces:
        digit = piece[:1]
        following = next(pieces, None) if not digit else None
        if following is not None:
            parts.append("\\" + following)
        elif digit and digit in "0123456789" and int(digit) <= groups:
            parts += [int(digit), piece[1:]]
        else:
            raise EvaluationError("regex_replace() takes \\0 to \\9, as far as there are groups, and \\\\")
    return parts


@function("glob_match(text: string|null, patterns: string|array[string]) -> boolean")
def glob_match(text: str | None, patterns: str | list[str]) -> bool:
    """Whether the whole text fits the pattern, or one of the patterns. False for null.

    `*` stands for any run of characters, `/` included, `?` for one character, all else for itself. Case
    matters.

    Examples:
        glob_match('gpt-4o-mini', 'gpt-4*') => true
        glob_match('models/gemini-2.5', `["claude-*", "models/*"]`) => true
        glob_match('gpt-4', 'gpt-?.5') => false
        glob_match('GPT-4', 'gpt-*') => false
        glob_match(`null`, '*') => false
    """
    globs = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    return text is not None and globs != () and _search("glob_match", _glob(globs), text) is not None


@lru_cache(maxsize=256)
def _glob(patterns: tuple[str, ...]) -> Pattern:
    """One compiled pattern for all the globs."""
    if sum(map(len, patterns)) > _LONGEST_GLOB:
        raise EvaluationError(f"glob_match() takes patterns of at most {_LONGEST_GLOB} characters together")
    try:
        alternatives = "|".join("".join(map(_glob_character, pattern)) for pattern in patterns)
        return compile_regex(rf"\A(?:{alternatives})\z", dot_all=True)
    except ValueError:
        raise EvaluationError("glob_match() got a pattern that cannot be compiled") from None


def _glob_character(character: str) -> str:
    if character in "*?":
        return ".*" if character == "*" else "."
    escaped: str = re2.escape(character)
    return escaped
