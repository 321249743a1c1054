"""nginx with njs: the list of models, remapped by a script. It has no chat."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import requests
from benchmarks.contenders.base import Contender, Place
from benchmarks.servers import Command

_HERE = Path(__file__).parent
_MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")


def _missing() -> str | None:
    if shutil.which("nginx") is None or not _MODULE.exists():
        return "not installed; on Debian: apt install nginx-core libnginx-mod-http-js"
    return None


def _command(place: Place) -> Command:
    conf = (_HERE / "nginx.conf").read_text()
    values = {
        "DIRECTORY": str(place.directory),
        "PORT": str(place.port),
        "UPSTREAM": place.upstream.removeprefix("http://"),
    }
    for name, value in values.items():
        conf = conf.replace(name, value)
    (place.directory / "nginx.conf").write_text(conf)
    shutil.copy(_HERE / "remap.js", place.directory)
    return Command(["nginx", "-e", "stderr", "-p", str(place.directory), "-c", "nginx.conf"])


NGINX = Contender(
    "nginx", "nginx with an njs script; models alone", requests.models("/v1/models"), _command, _missing
)
