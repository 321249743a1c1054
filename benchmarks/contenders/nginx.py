"""nginx with njs: the list of models, translated by a script. It has no chat."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import requests
from benchmarks.contenders.base import Contender, LaunchOptions
from benchmarks.servers import Command

_HERE = Path(__file__).parent
_MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")


def _missing() -> str | None:
    if shutil.which("nginx") is None or not _MODULE.exists():
        return "not installed; on Debian: apt install nginx-core libnginx-mod-http-js"
    return None


def _command(launch: LaunchOptions) -> Command:
    conf = (_HERE / "nginx.conf").read_text()
    values = {
        "DIRECTORY": str(launch.directory),
        "PORT": str(launch.port),
        "UPSTREAM": launch.upstream.removeprefix("http://"),
    }
    for name, value in values.items():
        conf = conf.replace(name, value)
    (launch.directory / "nginx.conf").write_text(conf)
    shutil.copy(_HERE / "remap.js", launch.directory)
    return Command(["nginx", "-e", "stderr", "-p", str(launch.directory), "-c", "nginx.conf"])


NGINX = Contender(
    "nginx",
    "nginx with an njs script; list of models only",
    requests.models("/v1/models"),
    _command,
    _missing,
)
