"""Where packaged files lie: the schemas and the shipped mappings.

Contract: in a checkout they stand at its top level, in an installed wheel inside this package. No other
module knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: As in pyproject.toml; to ask for what is installed takes as long as loading a mapping.
_VERSION: Final = "0.1.0"

_PACKAGE: Final = Path(__file__).parent
_ROOT: Final = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent


def schema_text(name: str) -> str:
    """The text of a JSON Schema: "mapping" or "suite"."""
    return (_ROOT / "schema" / f"{name}.schema.json").read_text("utf-8")


def shipped_mappings() -> dict[str, Path]:
    """The mappings that come with Dragoman, by name."""
    files = sorted((_ROOT / "mappings").glob("*.yaml"))
    return {file.stem: file for file in files if not file.name.endswith(".test.yaml")}


def distribution_version() -> str:
    """Dragoman's own version."""
    return _VERSION
