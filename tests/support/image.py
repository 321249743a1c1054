"""The image without an engine for containers: a Dockerfile's own steps, done in a plain directory tree.

Contract: `build` parses the Dockerfile, copies the files that .dockerignore does not exclude, and runs each
RUN line with the image's absolute paths mapped below one folder. `running` starts ENTRYPOINT and CMD with the
image's environment alone, in a read-only tree, as the user of USER if the tests may change users. All stages
share one tree, so a COPY from a stage must not move its files: a virtual environment cannot be moved anyway.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser

from tests.support.times import PATIENCE, START
from tests.support.upstream import eventually

ROOT = Path(__file__).parents[2]
#: The folders of the image that a Dockerfile of ours may write to.
_ABSOLUTE = re.compile(r"(?<![\w./~-])/(src|opt|mappings|usr/local)(?=[/:\s\"']|$)")


@dataclass(slots=True)
class Image:
    """A built image. `tree` is its root folder."""

    tree: Path
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0"
    ports: list[int] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    signal: str = ""
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)

    def inside(self, text: str) -> str:
        """Returns a text with the image's paths replaced by those in the tree."""
        return _ABSOLUTE.sub(lambda match: f"{self.tree}{match.group()}", text)

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Returns the complete environment of a process in the image: no HOME, no variable of the tests."""
        return {name: self.inside(value) for name, value in (self.env | dict(extra)).items()}


def instructions(dockerfile: Path = ROOT / "Dockerfile") -> list[tuple[str, str]]:
    """Returns the instructions without comments."""
    parser = DockerfileParser(fileobj=io.BytesIO(dockerfile.read_bytes()))
    return [
        (step["instruction"], step["value"]) for step in parser.structure if step["instruction"] != "COMMENT"
    ]


def described(tree: Path = Path("/nowhere")) -> Image:
    """Returns the image as its last stage describes it, without building anything."""
    image = Image(tree)
    known = global_arguments()
    for name, value in instructions():
        if name == "FROM":
            image = Image(tree)
        _describe(image, name, value, known)
    return image


def global_arguments() -> dict[str, str]:
    """Returns the arguments in front of the first stage with their defaults."""
    steps = instructions()
    first = next(number for number, (name, _) in enumerate(steps) if name == "FROM")
    return dict(_argument(value) for name, value in steps[:first] if name == "ARG")


def _argument(value: str) -> tuple[str, str]:
    name, _, default = value.partition("=")
    return name, default


def build(tree: Path) -> Image:
    """Runs all steps of all stages below `tree`."""
    bin_folder = tree / "usr/local/bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to(Path(sys._base_executable))  # type: ignore[attr-defined]
    image = Image(tree)
    known = global_arguments()
    for name, value in instructions():
        if name == "FROM":
            image = Image(tree, env={"PATH": "/usr/local/bin:/usr/bin:/bin"})
        elif name == "RUN":
            _run(image, value)
        elif name == "COPY":
            _copy(image, value)
        _describe(image, name, value, known)
    (tree / image.folder.strip("/")).mkdir(exist_ok=True)
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(tree)], check=True, timeout=120)
    return image


def _describe(image: Image, name: str, value: str, known: Mapping[str, str]) -> None:
    """Applies an instruction to the description of a stage. `known` has the arguments above all stages."""
    match name:
        case "ARG":
            argument, default = _argument(value)
            image.arguments[argument] = default or known.get(argument, "")
        case "ENV":
            image.env |= _pairs(value)
        case "LABEL":
            image.labels |= _pairs(_substituted(value, image.arguments))
        case "WORKDIR":
            image.folder = value
        case "USER":
            image.user = value
        case "EXPOSE":
            image.ports += map(int, value.split())
        case "VOLUME":
            image.volumes += json.loads(value)
        case "STOPSIGNAL":
            image.signal = value
        case "ENTRYPOINT":
            image.entrypoint = json.loads(value)
        case "CMD":
            image.command = json.loads(value)
        case "HEALTHCHECK":
            image.health = json.loads(value.partition("CMD ")[2])


def _substituted(value: str, arguments: Mapping[str, str]) -> str:
    """Returns a value with the arguments of its stage; an unknown one is an error."""
    return re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], value)


def _pairs(value: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(value))


def _run(image: Image, value: str) -> None:
    """Runs a RUN line. It inherits the tests' pip settings, such as the package index."""
    settings = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    folder = Path(image.inside(image.folder))
    folder.mkdir(parents=True, exist_ok=True)
    # Secrets are pip's settings, which are inherited here.
    command = re.sub(r"^(--mount=type=secret,\S+\s+)+", "", value)
    done = subprocess.run(
        ["sh", "-euc", image.inside(command)],
        cwd=folder,
        env=settings | image.arguments | image.environment({"HOME": str(image.tree)}),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{value}\n{done.stdout}{done.stderr}"


def _copy(image: Image, value: str) -> None:
    words = value.split()
    if words[0].startswith("--from="):
        assert words[1] == words[2], "what another stage made stays where it was"
        assert Path(image.inside(words[1])).is_dir()
        return
    folder = Path(image.inside(image.folder))
    included = context()
    *sources, target = words
    for source in sources:
        found = [file for file in included if file == source or file.startswith(f"{source}/")]
        assert found, f"{source} is not in the build's context"
        for file in found:
            below = Path(file).name if file == source else file.removeprefix(f"{source}/")
            to = folder / target / below
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, to)


def context() -> list[str]:
    """Returns the files of the build context: all that .dockerignore does not exclude."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    files = [str(path.relative_to(ROOT)) for path in _files(ROOT)]
    return sorted(file for file in files if not _is_ignored(file, patterns))


def _files(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".venv", ".hypothesis", ".mypy_cache")]
        yield from (Path(path, name) for name in names)


def _is_ignored(file: str, patterns: Sequence[str]) -> bool:
    """Whether a file is ignored: the last pattern that matches it or one of its parent folders decides."""
    parts = file.split("/")
    names = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    ignored = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        if any(_fits(name, wanted) for name in names):
            ignored = not pattern.startswith("!")
    return ignored


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatch(name.rpartition("/")[2], pattern[3:])
    return name.count("/") == pattern.count("/") and fnmatch.fnmatch(name, pattern)


@dataclass(slots=True)
class Container:
    """A process started as the image specifies, with its output so far (both streams)."""

    image: Image
    process: subprocess.Popen[str]
    environment: dict[str, str]
    lines: list[str] = field(default_factory=list)

    def text(self) -> str:
        return "\n".join(self.lines)

    def is_ready(self, seconds: float = START) -> bool:
        """Waits for the line with the address."""
        eventually(lambda: "Dragoman serves" in self.text() or self.process.poll() is not None, seconds)
        return "Dragoman serves" in self.text()

    def check_health(self) -> subprocess.CompletedProcess[str]:
        """Runs the image's HEALTHCHECK next to the process."""
        return _spawned(self.image, self.image.health, self.environment)


@contextlib.contextmanager
def running(
    image: Image, mappings: Path, env: Mapping[str, str], command: Sequence[str] | None = None
) -> Iterator[Container]:
    """Starts the image with a folder of mappings as its volume; stops it with its stop signal at the end."""
    environment = image.environment(env)
    environment["DRAGOMAN_MAPPINGS"] = environment["DRAGOMAN_MAPPINGS"].replace(
        image.inside(image.volumes[0]), str(mappings)
    )
    words = [*image.entrypoint, *(image.command if command is None else command)]
    process = subprocess.Popen(
        _found(words, environment),
        cwd=mappings,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **as_user(image),
    )
    container = Container(image, process, environment)
    reader = threading.Thread(target=_collect, args=(process, container.lines), daemon=True)
    reader.start()
    try:
        yield container
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()


def _collect(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - readers need each line at once


def _spawned(
    image: Image, words: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _found(words, environment),
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
        **as_user(image),
    )


def _found(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Finds a command in the image's own PATH, not the tests'."""
    found = shutil.which(words[0], path=environment["PATH"])
    assert found is not None, f"{words[0]} is not on the image's PATH"
    return [found, *words[1:]]


def as_user(image: Image) -> dict[str, Any]:
    """Returns the image's user if the tests may change users and that user can reach the interpreter."""
    user, _, group = image.user.partition(":")
    other: dict[str, Any] = {"user": int(user), "group": int(group), "extra_groups": []}
    if os.getuid() != 0:
        return {}
    python = image.tree / "opt/dragoman/bin/python"
    try:
        subprocess.run([str(python), "-c", ""], check=True, timeout=START, capture_output=True, **other)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return other
