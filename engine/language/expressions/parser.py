"""Text → syntax tree: jmespath's lexer and parser, extended by variables and offsets.

Contract: `parse` returns jmespath's tree, in which each node has its offset in the text under `start` and
`$name` is a node of type `variable`. Every error is an `ExpressionSyntaxError` with an offset.
The only importer of jmespath. Must not know what a tree means.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from jmespath import exceptions, lexer, parser

from engine.language.expressions.syntax_hints import syntax_hint

MAX_LENGTH: Final = 4096
MAX_DEPTH: Final = 64

#: Mappings repeat the same expressions, so trees are cached.
_MAX_CACHED_TREES: Final = 256

Tree = dict[str, Any]

#: Quoted text of JMESPath, in which `$`, `{` and `}` have no meaning.
QUOTED: Final = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`"
_VARIABLE = re.compile(rf"{QUOTED}|\$([A-Za-z_][A-Za-z0-9_]*)", re.DOTALL)


class ExpressionSyntaxError(Exception):
    """Text that is not a valid expression.

    Attributes:
        offset: the position of the first invalid character.
        hint: what to write instead, if that is known.
    """

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


@lru_cache(maxsize=_MAX_CACHED_TREES)
def parse(text: str) -> Tree:
    """Parse an expression; every node of the tree has its offset under `start`.

    The tree must not be changed, because it is cached.

    Raises:
        ExpressionSyntaxError: the text is not a valid expression, or is too long or too deep.
    """
    if not text.strip():
        raise ExpressionSyntaxError("the expression is empty", 0)
    start = len(text) - len(text.lstrip())
    if len(text) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"the expression is longer than {MAX_LENGTH} characters", start)
    try:
        tree = _Parser().read(text)
    except RecursionError:
        raise ExpressionSyntaxError("the expression is nested too deeply", start) from None
    except exceptions.LexerError as error:
        hint = syntax_hint(text, error.lexer_position)
        raise ExpressionSyntaxError(_sentence(error.message), error.lexer_position, hint) from None
    except exceptions.ParseError as error:
        offset = min(error.lex_position, len(text.rstrip()))
        raise ExpressionSyntaxError(_unexpected(error), offset, syntax_hint(text, offset)) from None
    if _depth(tree) > MAX_DEPTH:
        raise ExpressionSyntaxError(f"the expression is nested deeper than {MAX_DEPTH} levels", start)
    return tree


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]


def _unexpected(error: Any) -> str:
    if error.token_type == "EOF":
        return "the expression ends too early"
    if str(error.msg).startswith("Quoted identifier"):
        return "a function name cannot be quoted"
    if str(error.msg).startswith("Invalid function name"):
        return "only a name can be called as a function"
    sigil = "$" if error.token_type == "variable" else ""
    return f"'{sigil}{error.token_value}' is not expected here"


def _depth(tree: Tree) -> int:
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for node in level for child in node["children"] if isinstance(child, dict)]
    return deepest


def _tokens(text: str) -> Iterator[dict[str, Any]]:
    """The tokens of jmespath for the text between variables, and a token for each variable."""
    start = 0
    for match in _VARIABLE.finditer(text):
        if match.group(1) is None:
            continue
        yield from _plain_tokens(text[start : match.start()], start)
        yield {"type": "variable", "value": match.group(1), "start": match.start(), "end": match.end()}
        start = match.end()
    yield from _plain_tokens(text[start:], start)
    yield {"type": "eof", "value": "", "start": len(text), "end": len(text)}


def _plain_tokens(text: str, shift: int) -> Iterator[dict[str, Any]]:
    if not text.strip():
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokens = list(lexer.Lexer().tokenize(text))
    except exceptions.LexerError as error:
        error.lexer_position += shift
        raise
    for token in tokens[:-1]:
        if token["type"] == "literal" and not _is_json(token["value"]):
            message = "invalid JSON in a literal: NaN, Infinity or a number beyond the range of a double"
            raise ExpressionSyntaxError(message, token["start"] + shift)
        yield {**token, "start": token["start"] + shift, "end": token["end"] + shift}


def _is_json(value: Any) -> bool:
    """Whether all numbers of a literal are finite; Python's parser accepts others."""
    level = [value]
    while level:
        if any(isinstance(item, float) and not math.isfinite(item) for item in level):
            return False
        level = [inner for item in level for inner in _inner(item)]
    return True


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


class _Parser(parser.Parser):  # type: ignore[misc]
    """jmespath's parser with variables and with an offset in each node."""

    BINDING_POWER: Final = {**parser.Parser.BINDING_POWER, "variable": 0}

    def read(self, text: str) -> Tree:
        self._tokens = list(_tokens(text))
        self._index = 0
        tree: Tree = self._expression()
        if self._current_token() != "eof":
            self._error_led_token(self._lookahead_token(0))
        return tree

    def _expression(self, binding_power: int = 0) -> Tree:
        start = self._lookahead_token(0)["start"]
        tree: Tree = super()._expression(binding_power)
        tree.setdefault("start", start)
        return tree

    def _token_nud_variable(self, token: dict[str, Any]) -> Tree:
        return {"type": "variable", "children": [], "value": token["value"], "start": token["start"]}

    def _token_nud_literal(self, token: dict[str, Any]) -> Tree:
        return {**super()._token_nud_literal(token), "start": token["start"]}

    def _token_nud_not(self, token: dict[str, Any]) -> Tree:
        return {**super()._token_nud_not(token), "start": token["start"]}

    def _token_nud_lparen(self, token: dict[str, Any]) -> Tree:
        return {**super()._token_nud_lparen(token), "grouped": True}

    def _token_led_dot(self, left: Tree) -> Tree:
        return self._ended(left, super()._token_led_dot(left))

    def _token_led_flatten(self, left: Tree) -> Tree:
        return self._ended(left, super()._token_led_flatten(left))

    def _token_led_filter(self, left: Tree) -> Tree:
        return self._ended(left, super()._token_led_filter(left))

    def _ended(self, left: Tree, tree: Tree) -> Tree:
        """The parsed tree with its start and end offsets."""
        if "start" in left:
            tree["start"] = left["start"]
        tree["end"] = self._lookahead_token(-1)["end"]
        return tree

    def _token_nud_unquoted_identifier(self, token: dict[str, Any]) -> Tree:
        return {**super()._token_nud_unquoted_identifier(token), "start": token["start"]}

    def _token_nud_quoted_identifier(self, token: dict[str, Any]) -> Tree:
        if self._current_token() == "lparen":
            text = "Quoted identifier not allowed for function names."
            raise exceptions.ParseError(token["start"], token["value"], token["type"], text)
        return {**super()._token_nud_quoted_identifier(token), "quoted": True}

    def _parse_slice_expression(self) -> Tree:
        start = self._lookahead_token(0)["start"]
        return {**super()._parse_slice_expression(), "start": start}

    def _token_led_lparen(self, left: Tree) -> Tree:
        """A call; unlike jmespath's own parser, it requires commas between arguments."""
        if left["type"] != "field":
            self._raise_parse_error_for_token(self._lookahead_token(-1), "Invalid function name")
        arguments: list[Tree] = []
        while arguments or self._current_token() != "rparen":
            arguments.append(self._expression())
            if self._current_token() == "rparen":
                break
            self._match("comma")
        self._match("rparen")
        call = {"type": "function_expression", "value": left["value"], "children": arguments}
        return {**call, "start": left["start"]}
