"""LiteLLM's proxy, in a virtual environment of its own in the user's cache.

It passes chats through to an OpenAI-compatible server, without translating them, and lists its own models.
It does not start without a key of its own, so it alone is asked with one. `python -m benchmarks --install`
makes the environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

from benchmarks import requests
from benchmarks.contenders.base import Contender, Place
from benchmarks.servers import Command

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragoman-bench" / "litellm"
_BINARY = _CACHE / "bin" / "litellm"
_MODELS = ("plain", "short", "burst")
_ASKS = ("models", "chat", "first", "burst")
_KEY = f"sk-{secrets.token_hex(16)}"
_ENV = {
    "LITELLM_MASTER_KEY": _KEY,
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_DOCS": "True",
    "PYTHONPATH": "",
}


def install() -> None:
    """Make the environment, if it is not there."""
    if not _BINARY.exists():
        subprocess.run([sys.executable, "-m", "venv", str(_CACHE)], check=True)
        subprocess.run([str(_CACHE / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"], check=True)


def _missing() -> str | None:
    return None if _BINARY.exists() else "not installed; `python -m benchmarks --install` does it"


def _command(place: Place) -> Command:
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": f"{place.upstream}/v1",
                "api_key": "none",
            },
        }
        for name in _MODELS
    ]
    file = place.directory / "litellm.yaml"
    file.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}))
    options = ["--config", str(file), "--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1"]
    return Command([str(_BINARY), *options], _ENV)


def _asks() -> requests.Asks:
    known = requests.models("/v1/models", requests.any_json) | requests.openai_chats()
    key = (("authorization", f"Bearer {_KEY}"),)
    return {name: dataclasses.replace(known[name], headers=key) for name in _ASKS}


LITELLM = Contender(
    "litellm",
    "LiteLLM's proxy: chats passed through untranslated, a list of its own",
    _asks(),
    _command,
    _missing,
    patience=8.0,
)
