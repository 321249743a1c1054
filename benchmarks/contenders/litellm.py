"""LiteLLM's proxy, in a virtual environment of its own in the user's cache.

It forwards chats to an OpenAI-compatible server without translating them, and lists its own models. It does
not start without a client key, so it alone receives one. `python -m benchmarks --install` creates the
environment.
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
from benchmarks.contenders.base import Contender, LaunchOptions
from benchmarks.servers import Command

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragoman-bench" / "litellm"
_BINARY = _CACHE / "bin" / "litellm"
_MODELS = ("plain", "short", "burst")
_REQUESTS = ("models", "chat", "first", "burst")
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
    """Create the environment, if it does not exist."""
    if not _BINARY.exists():
        subprocess.run([sys.executable, "-m", "venv", str(_CACHE)], check=True)
        subprocess.run([str(_CACHE / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"], check=True)


def _missing() -> str | None:
    return None if _BINARY.exists() else "not installed; run `python -m benchmarks --install`"


def _command(launch: LaunchOptions) -> Command:
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": f"{launch.upstream}/v1",
                "api_key": "none",
            },
        }
        for name in _MODELS
    ]
    file = launch.directory / "litellm.yaml"
    file.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}))
    options = ["--config", str(file), "--host", "127.0.0.1", "--port", str(launch.port), "--num_workers", "1"]
    return Command([str(_BINARY), *options], _ENV)


def _requests() -> requests.Requests:
    known = requests.models("/v1/models", requests.check_json) | requests.openai_chats()
    key = (("authorization", f"Bearer {_KEY}"),)
    return {name: dataclasses.replace(known[name], headers=key) for name in _REQUESTS}


LITELLM = Contender(
    "litellm",
    "LiteLLM's proxy: chats forwarded untranslated, its own list of models",
    _requests(),
    _command,
    _missing,
    slice_factor=8.0,
)
