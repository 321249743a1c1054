"""Functions on strings.

Contract: characters are code points; where the main argument may be null, null gives null, because null means
absence. No string longer than `bounds.MAX_TEXT` is created.
This module must not know patterns: those are in `regexes`.
"""

from __future__ import annotations

from typing import Any

from engine.errors import EvaluationError
from engine.language.functions.bounds import MAX_TEXT, bounded, check_length, check_parts, whole
from engine.language.functions.json_text import text_of
from engine.language.functions.registry import EXPANDS, Cost, function

#: The fast way, whose cost at each position grows with this number, is used for up to this many characters.
_FEW_CHARACTERS = 32


@function("starts_with(text: string, prefix: string) -> boolean")
def starts_with(text: str, prefix: str) -> bool:
    """Whether the text begins with the prefix (JMESPath specification).

    Examples:
        starts_with('gpt-4o', 'gpt') => true
        starts_with('gpt-4o', '') => true
        starts_with(`null`, 'gpt') => !
    """
    return text.startswith(prefix)


@function("ends_with(text: string, suffix: string) -> boolean")
def ends_with(text: str, suffix: str) -> bool:
    """Whether the text ends with the suffix (JMESPath specification).

    Examples:
        ends_with('qwen3:latest', ':latest') => true
        ends_with('qwen3', ':latest') => false
    """
    return text.endswith(suffix)


@function("join(glue: string, list: array[string]) -> string", cost=EXPANDS)
def join(glue: str, texts: list[str]) -> str:
    """The strings as one, separated by the glue (JMESPath specification).

    Examples:
        join(', ', `["a", "b"]`) => "a, b"
        join(', ', `[]`) => ""
        join(', ', `["a", null]`) => !
    """
    check_length("join", sum(map(len, texts)) + len(glue) * len(texts))
    return glue.join(texts)


@function("text(content: string|array|null) -> string|null")
def text_(content: str | list[Any] | None) -> str | None:
    """The text of a message's content: a text unchanged, the texts in a list of parts joined, null for null.

    Of a list the items that are texts count, and those that are objects with a text as `text`, such as
    `{"type": "text", "text": "…"}`; all others are skipped. Without any of them the result is null. Of an
    item `text` and `type` are read: other fields, such as those of an image, are reported as not carried
    over.

    Examples:
        text('a') => "a"
        text(`[{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}]`) => "ab"
        text(`["a", {"text": "b"}, {"type": "image", "url": "x"}]`) => "ab"
        text(`[{"text": ""}]`) => ""
        text(`[{"type": "image", "text": null}]`) => null
        text(`[]`) => null
        text(`null`) => null
        text(`{"text": "a"}`) => !
    """
    if content is None or isinstance(content, str):
        return content
    parts = (item.get("text") if isinstance(item, dict) else item for item in content)
    texts = [part for part in parts if isinstance(part, str)]
    check_length("text", sum(map(len, texts)))
    return "".join(texts) if texts else None


@function("concat(...values: any) -> string", cost=Cost(measured=(0,)))
def concat(*values: Any) -> str:
    """The values as one text: null as nothing, a string unchanged, the rest as compact JSON.

    Examples:
        concat('a', `null`, `1`, `true`) => "a1true"
        concat('é', `{"k": ["é"]}`) => "é{\\"k\\":[\\"é\\"]}"
        concat(`null`) => ""
    """
    texts = [text_of("concat", value) for value in values]
    check_length("concat", sum(map(len, texts)))
    return "".join(texts)


@function("lower(text: string|null) -> string|null")
def lower(text: str | None) -> str | None:
    """The text in lower case (JMESPath Community, JEP-14); null for null.

    Examples:
        lower('STRING É') => "string é"
        lower(`null`) => null
    """
    return None if text is None else bounded("lower", text.lower())


@function("upper(text: string|null) -> string|null")
def upper(text: str | None) -> str | None:
    """The text in upper case (JMESPath Community, JEP-14); null for null.

    Examples:
        upper('string é') => "STRING É"
        upper(`null`) => null
    """
    return None if text is None else bounded("upper", text.upper())


@function("trim(text: string|null, characters?: string) -> string|null")
def trim(text: str | None, characters: str = "") -> str | None:
    """The text without leading and trailing characters of a set; white space without a set or with ''.

    JMESPath Community, JEP-14; null for null.

    Examples:
        trim('  text  ') => "text"
        trim('-=text=-', '=-') => "text"
        trim(' text', '') => "text"
        trim(`null`) => null
    """
    return None if text is None else _stripped(text, characters, left=True, right=True)


@function("trim_left(text: string|null, characters?: string) -> string|null")
def trim_left(text: str | None, characters: str = "") -> str | None:
    """As `trim`, at the beginning only (JMESPath Community, JEP-14).

    Examples:
        trim_left('  text ') => "text "
        trim_left('/v1/', '/') => "v1/"
    """
    return None if text is None else _stripped(text, characters, left=True, right=False)


@function("trim_right(text: string|null, characters?: string) -> string|null")
def trim_right(text: str | None, characters: str = "") -> str | None:
    """As `trim`, at the end only (JMESPath Community, JEP-14).

    Examples:
        trim_right(' text  ') => " text"
        trim_right('/v1/', '/') => "/v1"
    """
    return None if text is None else _stripped(text, characters, left=False, right=True)


def _stripped(text: str, characters: str, left: bool, right: bool) -> str:
    """A text without characters of a set at its ends; white space for an empty set.

    Python's own methods search the complete set for each character of the text.
    """
    if len(characters) <= _FEW_CHARACTERS:
        given = characters or None
        text = text.lstrip(given) if left else text
        return text.rstrip(given) if right else text
    those = frozenset(characters)
    start, end = 0, len(text)
    while left and start < end and text[start] in those:
        start += 1
    while right and start < end and text[end - 1] in those:
        end -= 1
    return text[start:end]


@function("pad_left(text: string|null, width: number, padding?: string) -> string|null", cost=EXPANDS)
def pad_left(text: str | None, width: float, padding: str = " ") -> str | None:
    """The text padded at its start to `width` characters, with spaces or another character.

    JMESPath Community, JEP-14; null for null.

    Examples:
        pad_left('7', `3`, '0') => "007"
        pad_left('string', `3`) => "string"
        pad_left('a', `3`, 'xy') => !
        pad_left('a', `-1`) => !
    """
    columns = _width("pad_left", width, padding)
    return None if text is None else text.rjust(columns, padding)


@function("pad_right(text: string|null, width: number, padding?: string) -> string|null", cost=EXPANDS)
def pad_right(text: str | None, width: float, padding: str = " ") -> str | None:
    """As `pad_left`, at the end (JMESPath Community, JEP-14).

    Examples:
        pad_right('ab', `4`, '-') => "ab--"
        pad_right('ab', `4`) => "ab  "
    """
    columns = _width("pad_right", width, padding)
    return None if text is None else text.ljust(columns, padding)


def _width(name: str, width: float, padding: str) -> int:
    if len(padding) != 1:
        raise EvaluationError(f"{name}() takes one character as padding")
    return whole(name, "width", width, 0, MAX_TEXT)


@function("replace(text: string|null, old: string, new: string, count?: number) -> string|null", cost=EXPANDS)
def replace(text: str | None, old: str, new: str, count: float | None = None) -> str | None:
    """The text with every `old` replaced by `new`, or only the first `count` of them.

    JMESPath Community, JEP-14; null for null.

    Examples:
        replace('aabaaabaaaab', 'aa', '-') => "-b-ab--b"
        replace('aabaaabaaaab', 'aa', '-', `2`) => "-b-abaaaab"
        replace('abc', 'b', '') => "ac"
        replace('abc', 'b', 'x', `-1`) => !
    """
    most = None if count is None else whole("replace", "count", count, 0)
    if text is None:
        return None
    found = text.count(old)
    times = found if most is None else min(found, most)
    check_length("replace", len(text) + times * (len(new) - len(old)))
    return text.replace(old, new, times)


@function(
    "split(text: string|null, separator: string, count?: number) -> array|null", cost=Cost(text_bytes=True)
)
def split(text: str | None, separator: str, count: float | None = None) -> list[str] | None:
    """The parts between the first `count` separators, or all; '' splits into characters.

    JMESPath Community, JEP-14; null for null.

    Examples:
        split('a,b,c', ',') => ["a", "b", "c"]
        split('a,b,c', ',', `1`) => ["a", "b,c"]
        split('abc', '') => ["a", "b", "c"]
        split('/', '/') => ["", ""]
        split('a', ',', `-1`) => !
    """
    most = None if count is None else whole("split", "count", count, 0)
    if text is None:
        return None
    splits = len(text) if most is None else min(most, len(text))
    check_parts("split", 1 + min(splits, text.count(separator)))
    if separator:
        return text.split(separator, splits)
    return [*text[:splits], text[splits:]] if splits < len(text) else list(text)


@function("find_first(text: string|null, search: string, start?: number, end?: number) -> number|null")
def find_first(text: str | None, search: str, start: float = 0, end: float | None = None) -> int | None:
    """The position of the first `search` in the text, from `start` and before `end`; null if there is none.

    JMESPath Community, JEP-14. A negative start or end counts from the end, as in slices. An empty search is
    never found.

    Examples:
        find_first('subject string', 'string') => 8
        find_first('subject string', 's', `1`) => 8
        find_first('subject string', 'string', `0`, `13`) => null
        find_first('subject string', 'string', `-99`, `100`) => 8
        find_first(`null`, 'a') => null
    """
    low, high = _bounds("find_first", text or "", start, end)
    return _position((text or "").find(search, low, high)) if search else None


@function("find_last(text: string|null, search: string, start?: number, end?: number) -> number|null")
def find_last(text: str | None, search: str, start: float = 0, end: float | None = None) -> int | None:
    """The position of the last `search` in the text, from `start` and before `end`; null if there is none.

    JMESPath Community, JEP-14, with the `start` and `end` of `find_first`.

    Examples:
        find_last('subject string', 's') => 8
        find_last('subject string', 's', `0`, `8`) => 0
        find_last('subject string', '') => null
    """
    low, high = _bounds("find_last", text or "", start, end)
    if len(search) <= _FEW_CHARACTERS:
        return _position((text or "").rfind(search, low, high)) if search else None
    found = (text or "")[low:high][::-1].find(search[::-1])
    return None if found < 0 else high - found - len(search)


def _bounds(name: str, text: str, start: float, end: float | None) -> tuple[int, int]:
    first = whole(name, "start", start)
    last = None if end is None else whole(name, "end", end)
    low, high, _ = slice(first, last).indices(len(text))
    return low, high


def _position(found: int) -> int | None:
    return None if found < 0 else found
