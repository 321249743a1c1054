"""The table of contenders, this project first."""

from benchmarks.contenders.base import Contender, LaunchOptions
from benchmarks.contenders.direct import DIRECT
from benchmarks.contenders.dragoman import DRAGOMAN, REVERSE
from benchmarks.contenders.litellm import LITELLM
from benchmarks.contenders.nginx import NGINX
from benchmarks.contenders.translators import BY_HAND, STARLETTE

CONTENDERS = (DRAGOMAN, BY_HAND, STARLETTE, NGINX, LITELLM, DIRECT, REVERSE)

__all__ = ["CONTENDERS", "DIRECT", "DRAGOMAN", "Contender", "LaunchOptions"]
