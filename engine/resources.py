"""The paths of packaged files: the schemas and the shipped mappings.

Contract: in a checkout they are at its top level, in an installed wheel inside this package. No other module
depends on that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: As in pyproject.toml; reading the metadata of the installed package takes as long as loading a mapping.
_VERSION: Final = "0.1.0"

_PACKAGE: Final = Path(__file__).parent
_ROOT: Final = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent


def schema_text(name: str) -> str:
    """The text of a JSON Schema: "mapping" or "suite"."""
    return (_ROOT / "schema" / f"{name}.schema.json").read_text("utf-8")


def shipped_mappings() -> dict[str, Path]:
    """The mappings shipped with Dragoman, by name."""
    files = sorted((_ROOT / "mappings").glob("*.yaml"))
    return {file.stem: file for file in files if not file.name.endswith(".test.yaml")}


def distribution_version() -> str:
    """The version of Dragoman."""
    return _VERSION
