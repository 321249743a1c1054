"""Container engines: docker and podman, and buildah, which needs no daemon.

Contract: `find_engine` returns the first one that works; `make image` builds with it. A running container has
the image's ENTRYPOINT and CMD, a folder of mappings at /mappings, and an address on this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.repository import ROOT
from tests.support.times import PATIENCE, START
from tests.support.upstream import eventually

NAMES = ("docker", "podman", "buildah")
#: Seconds for a build, which downloads the base image and all dependencies.
BUILD = 1800.0
_SERVED_PORT = 8080


class EngineError(Exception):
    """A command of an engine failed, or no engine works."""


def call(*words: str, env: Mapping[str, str] | None = None, timeout: float = START) -> str:
    """Runs a command; returns its output.

    Raises:
        EngineError: the command failed.
    """
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise EngineError(
            f"{' '.join(words)}: status {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


@dataclass(frozen=True, slots=True)
class Running:
    """A running container.

    Attributes:
        port: the port on 127.0.0.1 that leads to the one that the image serves.
        execute: runs a command in the container; returns its exit status and output.
        stop: sends the stop signal; returns the exit status.
        log: returns what it has written so far.
    """

    port: int
    execute: Callable[..., tuple[int, str]]
    stop: Callable[[], int]
    log: Callable[[], str]


@dataclass(slots=True)
class Engine:
    """docker or podman."""

    name: str
    env: dict[str, str] = field(default_factory=dict)

    def call(self, *words: str, timeout: float = START) -> str:
        return call(self.name, *words, env=self.env, timeout=timeout)

    def build(self, image: str, base: str | None, flags: Sequence[str]) -> None:
        """Builds the image by `make image`."""
        settings = [f"ENGINE={self.name}", f"IMAGE={image}", f"BUILD_FLAGS={' '.join(flags)}"]
        call("make", "image", *settings, *([f"BASE={base}"] if base else []), env=self.env, timeout=BUILD)

    def config(self, image: str) -> dict[str, Any]:
        """Returns the configuration of the image, as the OCI names its parts."""
        return dict(json.loads(self.call("image", "inspect", image))[0]["Config"])

    def run(self, image: str, *words: str) -> str:
        """Runs ENTRYPOINT with other arguments; returns its output."""
        return self.call("run", "--rm", image, *words)

    @contextlib.contextmanager
    def running(self, image: str, mappings: Path) -> Iterator[Running]:
        hardened = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
        mounted = ("--volume", f"{mappings}:/mappings:ro", "--publish", f"127.0.0.1::{_SERVED_PORT}")
        name = self.call("run", "--detach", *hardened, *mounted, image).strip()
        try:
            port = int(self.call("port", name, str(_SERVED_PORT)).splitlines()[0].rpartition(":")[2])
            yield Running(
                port,
                lambda *words: self._execute(name, words),
                lambda: self._stop(name),
                lambda: subprocess.getoutput(f"{self.name} logs {name}"),
            )
        finally:
            self.call("rm", "--force", name)

    def _execute(self, name: str, words: Sequence[str]) -> tuple[int, str]:
        done = subprocess.run(
            [self.name, "exec", name, *words], capture_output=True, text=True, timeout=START, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def _stop(self, name: str) -> int:
        self.call("stop", "--time", "60", name)
        return int(self.call("inspect", "--format", "{{.State.ExitCode}}", name))

    def remove(self, image: str) -> None:
        self.call("rmi", "--force", image)


@dataclass(slots=True)
class Buildah(Engine):
    """buildah with chroot isolation: processes of this machine, on its network, in the files of the image."""

    def config(self, image: str) -> dict[str, Any]:
        return dict(json.loads(self.call("inspect", "--type", "image", image))["Docker"]["config"])

    def run(self, image: str, *words: str) -> str:
        with self._container(image) as container:
            return self.call("run", container, "--", *self.config(image)["Entrypoint"], *words)

    @contextlib.contextmanager
    def running(self, image: str, mappings: Path) -> Iterator[Running]:
        config = self.config(image)
        ports = {"DRAGOMAN_PORT": str(free_port()), "DRAGOMAN_ADMIN": f"127.0.0.1:{free_port()}"}
        options = [word for name, value in ports.items() for word in ("--env", f"{name}={value}")]
        with self._container(image) as container:
            words = ["buildah", "run", *options, "--volume", f"{mappings}:/mappings:ro", container, "--"]
            log = mappings.parent / f"{mappings.name}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [*words, *config["Entrypoint"], *config["Cmd"]],
                    env={**os.environ, **self.env},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            try:
                yield Running(
                    int(ports["DRAGOMAN_PORT"]),
                    lambda *command: self._execute_in(container, options, command),
                    lambda: _stop_process(process, getattr(signal, config.get("StopSignal") or "SIGTERM")),
                    lambda: log.read_text("utf-8", "replace"),
                )
            finally:
                if process.poll() is None:
                    _stop_process(process, signal.SIGKILL)

    def _execute_in(self, container: str, options: Sequence[str], words: Sequence[str]) -> tuple[int, str]:
        done = subprocess.run(
            ["buildah", "run", *options, container, "--", *words],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=START,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @contextlib.contextmanager
    def _container(self, image: str) -> Iterator[str]:
        container = self.call("from", "--pull-never", image).strip()
        try:
            # With chroot isolation, a volume of the image would hide a folder that is mounted there.
            self.call("config", "--volume", "/mappings-", container)
            yield container
        finally:
            self.call("rm", container)


def _stop_process(process: subprocess.Popen[bytes], number: int) -> int:
    """Sends a signal to the innermost process: buildah does not forward signals. Returns its exit status."""
    innermost = process.pid
    while children := _children(innermost):
        (innermost,) = children
    os.kill(innermost, number)
    return process.wait(PATIENCE)


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, timeout=START, check=False
    )
    return [int(word) for word in listed.stdout.split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_engine(folder: Path, wanted: str | None = None) -> Engine:
    """Returns the first engine that works, or the wanted one.

    Args:
        folder: where buildah stores images, unless CONTAINERS_STORAGE_CONF names its settings.

    Raises:
        EngineError: no engine works; the message has the reason for each.
    """
    reasons = []
    for name in (wanted,) if wanted else NAMES:
        assert name in NAMES, f"ENGINE is one of {', '.join(NAMES)}"
        if shutil.which(name) is None:
            reasons.append(f"{name} is not installed")
            continue
        engine = Buildah(name, _buildah_settings(folder)) if name == "buildah" else Engine(name)
        try:
            engine.call("info")
        except EngineError as error:
            reasons.append(f"{name} does not work ({str(error).strip().splitlines()[-1]})")
            continue
        return engine
    raise EngineError("no container engine: " + "; ".join(reasons))


def _buildah_settings(folder: Path) -> dict[str, str]:
    """Returns variables for buildah: no daemon, no user namespace, no overlay file system."""
    settings = {"BUILDAH_ISOLATION": "chroot"}
    if "CONTAINERS_STORAGE_CONF" not in os.environ:
        storage = {"driver": "vfs", "graphroot": str(folder / "images"), "runroot": str(folder / "run")}
        lines = [f"{name} = {json.dumps(value)}" for name, value in storage.items()]
        (folder / "storage.conf").write_text("\n".join(["[storage]", *lines, ""]), "utf-8")
        settings["CONTAINERS_STORAGE_CONF"] = str(folder / "storage.conf")
    return settings


def wait_for(condition: Callable[[], bool], running: Running) -> None:
    assert eventually(condition, START), running.log()
