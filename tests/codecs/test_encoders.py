"""The cases of `tests/suites/encoders`: one file per framing, with the exact bytes that its encoder writes.

A file names its `framing`, its `media_type` and the bytes of a `comment`. A case has `data`, optionally a
`name`, and the bytes `written`; texts are bytes in ASCII, with the escapes of a bytes literal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.codecs import FRAMINGS

from .chunks import unescaped

FOLDER = Path(__file__).parents[1] / "suites" / "encoders"
SUITES = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.yaml"))]
CASES = [
    pytest.param(suite["framing"], case, id=f"{suite['framing']}-{case['case']}")
    for suite in SUITES
    for case in suite["cases"]
]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite["framing"])
def test_the_media_type_and_the_comment(suite: dict[str, Any]) -> None:
    framing = FRAMINGS[suite["framing"]]
    assert framing.media_type == suite["media_type"]
    assert framing.encoder().comment() == unescaped(suite["comment"])


@pytest.mark.parametrize(("framing", "case"), CASES)
def test_case(framing: str, case: dict[str, Any]) -> None:
    name = unescaped(case["name"]).decode("utf-8", "surrogatepass") if "name" in case else None
    assert FRAMINGS[framing].encoder().encode(unescaped(case["data"]), name) == unescaped(case["written"])
