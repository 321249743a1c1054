"""One name for one thing: words for which the field has a standard term do not appear in code or documents.

The search covers names (split at capitals and underscores), comments, docstrings, messages, help, log fields,
documents and mappings. In suites of the shipped mappings, only the names of cases and comments are searched:
the rest is conversations. A phrase may continue in the next line. `ALLOWED` contains exceptions, each for the
files below a path. To list the uses below a path:

    python tests/test_vocabulary.py engine/codecs docs README.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Folders with everything below them, and single files.
SOURCES = (
    *("engine", "cli", "benchmarks", "schema", "tests", "deploy", "docs", "examples", "mappings"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md"),
    *("Makefile", "Dockerfile", "docker-compose.yml", "pyproject.toml"),
)
SUFFIXES = (".py", ".json", ".yaml", ".yml", ".toml", ".expect", ".txt", ".md", ".env", "")

#: Patterns of words to avoid, and the terms to use.
TERMS = {
    r"answer(s|ed|ing|able)?|unanswered": "response, respond, return",
    r"repl(y|ies|ied|ying)": "response, respond",
    r"asks?|asked|asking": "request, call, query",
    r"told|tells?|telling|says?|said": "report, return, receive, contain",
    r"figures?": "metric, result, number",
    r"kept|keeping": "cached, stored, retained",
    r"dialects?": "error format, API, wire format",
    r"canned": "stub",
    r"closing words?": "end marker",
    r"(break|breaks|broke|broken|breaking) off|cut( off)?|cuts( off)?": "truncated, disconnected, closed",
    r"anew|taken up|takes? up": "again, reload",
    r"whole (answer|response|reply|body|bodies)": "complete response",
    r"as (it|they) comes?|as it came": "streaming, raw",
    r"longest ago": "LRU",
    r"places?": "location, position, slot",
    r"beside": "next to, with, besides",
    r"stands?|stood|lies|goes|comes|came": "is, appears, follows",
    r"whoever": "the client, the caller",
    r"walk(s|ed|ing)? through": "trace, step through",
    r"misfits?|(do|does) not fit": "validation error, does not match",
    r"mend(s|ed|ing)?": "fix",
    r"houses?|rooms?": "package layout, layer, capacity",
    r"lets? go|letting go": "release, disconnect",
    r"client (has )?(left|leaves)|(who|that) leaves?": "disconnects",
    r"(is|are|be|was) (well|up)(?! to)": "healthy, available",
    r"exposures?|cautions?": "warning",
    r"as (had|given)": "unchanged",
}

#: The start of a path, and patterns of phrases that are allowed there.
ALLOWED: dict[str, tuple[str, ...]] = {
    "": (r"in[- ]place", r"decimal places?"),
    "CONTRIBUTING.md": (r"\| place \|",),
    "docs/language.md": (r"\brooms?\b",),
    "tests/suites/requests.yaml": (r"answers",),
    "tests/suites/secrets/server.yaml": (r"DIALECT",),
    "tests/test_vocabulary.py": (r"[^\n]+",),
}

#: What separates two words of a phrase: also a line break, with the `#` of a comment that continues.
_SPACE = r"\\s+(?:#:? +)?"
_WORDS = re.compile("|".join(rf"\b(?:{re.sub(' +', _SPACE, pattern)})\b" for pattern in TERMS), re.IGNORECASE)
#: The lines of a suite that are text of ours.
_PROSE = re.compile(r" *(- name:|#)")
_CAPITALS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def files(part: str = "") -> Iterator[Path]:
    """Files of `SOURCES` whose path starts with `part`."""
    for source in SOURCES:
        root = ROOT / source
        for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
            name = str(file.relative_to(ROOT))
            is_text = file.suffix in SUFFIXES and file.is_file() and "node_modules" not in name
            if is_text and name.startswith(part):
                yield file


def found(file: Path) -> Iterator[str]:
    """Each use of an avoided word: file, line and the text around it."""
    name = str(file.relative_to(ROOT))
    allowed = [pattern for part, patterns in ALLOWED.items() if name.startswith(part) for pattern in patterns]
    original = file.read_text("utf-8", "replace")
    lines = original.split("\n")
    if name.startswith("mappings/") and name.endswith(".test.yaml"):
        original = "\n".join(line if _PROSE.match(line) else "" for line in lines)
    text = _CAPITALS.sub(" ", original).replace("_", " ")
    for pattern in allowed:
        text = re.sub(pattern, lambda match: "·" * len(match[0]), text, flags=re.IGNORECASE)
    for match in _WORDS.finditer(text):
        line = text.count("\n", 0, match.start())
        yield f"{name}:{line + 1}: {match[0]!r} in {lines[line].strip()[:100]}"


@pytest.mark.parametrize("source", SOURCES)
def test_names_and_texts_use_standard_terms(source: str) -> None:
    searched = list(files(source if (ROOT / source).is_file() else f"{source}/"))
    assert searched, f"{source} is searched"
    uses = [use for file in searched for use in found(file)]
    assert not uses, "\n".join(uses)


@pytest.mark.parametrize(
    "line",
    [
        "def json_answer(value):",
        "class UpstreamReply:",
        '"""What the client is told."""',
        "figures = []  # of one run",
        "keptAnswers = {}",
        "raise Error('the upstream broke off')",
        "# Read the body as it comes.",
        "#: The closing word of a stream.",
        "# The upstream is well.",
        "# Where the text stands.",
        "It passes each piece on as it\ncomes.",
        "# A stream that breaks\n# off.",
    ],
)
def test_uses_are_found(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "module.py"
    file.write_text(f"# The upstream is up to date.\n{line}\n")
    assert [use.split(":")[1] for use in found(file)][:1] == ["2"]


if __name__ == "__main__":
    for each in sys.argv[1:] or [""]:
        for use in (use for file in files(each) for use in found(file)):
            print(use)
