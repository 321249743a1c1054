"""The documents are correct: every mapping in them is valid, every command prints the output shown.

A block of `console` is run from top to bottom: lines that begin with `$ ` are commands, followed by their
exact output; a command without output in the block may print anything. `make serve`, `dragoman serve`,
`dragoman demo`, `uvicorn` and `hypercorn` run until the next one on their port or the end of the document,
each port in the text replaced by a free one. A block of `python` is a module, named in its first line. A
block of `sh` cannot be run here (installers, containers, clusters): the tests check its syntax, and that its
files, targets, extras and options exist. A block of `yaml` is a mapping, a suite or values of the chart,
depending on its name.

The blocks run in a directory outside of the checkout, or in that of the example. Those of README.md and the
tutorial also run with the package as it is installed, without the checkout; only `make` runs in it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import jsonschema
import pytest
import yaml

from cli.main import COMMANDS
from tests.support.commands import command
from tests.support.distributions import distributions
from tests.support.times import PATIENCE, START

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("examples/**/*.md")),
]
#: Documents for users who have no checkout.
FOR_USERS = [ROOT / "README.md", ROOT / "docs/guide.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: The variables of a mapping that hold keys.
SECRETS = re.compile(r"^ +(\w+_KEYS?): \{[^}]*secret: true", re.MULTILINE)
CALLED = re.compile(r"mapping:([\w-]+)")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
INLINE_COMMAND = re.compile(r"`(make|dragoman) ([a-z][a-z-]*)\b")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: Commands of `sh` blocks, and the files or targets that they need: a pattern, and a path for each match.
NEEDED_FILES = {
    r"docker build\b": "Dockerfile",
    r"docker compose\b": "docker-compose.yml",
    r"kubectl apply --kustomize (\S+)": "{0}/kustomization.yaml",
    r"helm install \S+ (\S+)": "{0}/Chart.yaml",
    r"\b(?:pip|pipx|uv tool) install '?\.": "pyproject.toml",
}
PORTS_IN_TEXT = re.compile(r"\b(8080|8090|11434)\b")
SERVERS = (["make", "serve"], ["dragoman", "serve"], ["dragoman", "demo"])
ASGI_SERVERS = ("uvicorn", "hypercorn")
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")


@dataclass(frozen=True)
class Block:
    kind: str
    text: str


def blocks(document: Path) -> list[Block]:
    return [Block(kind, text) for kind, text in FENCE.findall(document.read_text("utf-8"))]


def identify(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=identify)
def test_blocks_are_of_a_tested_kind(document: Path) -> None:
    assert {block.kind for block in blocks(document)} <= {"console", "sh", "yaml", "text", "python"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=identify)
def test_links_have_existing_targets(document: Path) -> None:
    for name, anchor in LINK.findall(document.read_text("utf-8")):
        target = document.parent / name if name else document
        assert target.exists(), f"{identify(document)} links to {name}"
        if anchor:
            assert anchor in anchors(target), f"{identify(document)} links to {name}#{anchor}"


def anchors(document: Path) -> set[str]:
    """The anchors of the headings of a document."""
    headings = HEADING.findall(FENCE.sub("", document.read_text("utf-8")))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=identify)
def test_commands_in_text_exist(document: Path) -> None:
    for program, name in INLINE_COMMAND.findall(document.read_text("utf-8")):
        assert name in (make_targets() if program == "make" else COMMANDS), f"{program} {name}"


def make_targets() -> set[str]:
    return {*TARGET.findall((ROOT / "Makefile").read_text("utf-8"))}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package without the checkout."""
    return distributions(tmp_path_factory.mktemp("distributions")).wheel_content


@pytest.mark.parametrize("document", DOCUMENTS, ids=identify)
def test_a_document_is_correct(document: Path, tmp_path: Path) -> None:
    run_document(document, tmp_path, ROOT)


@pytest.mark.parametrize("document", FOR_USERS, ids=identify)
def test_a_document_is_correct_without_the_checkout(document: Path, tmp_path: Path, installed: Path) -> None:
    run_document(document, tmp_path, installed)


def run_document(document: Path, tmp_path: Path, code: Path) -> None:
    """YAML blocks become files, named by their first line; commands run in the same folder, with `code`."""
    in_example = document.is_relative_to(ROOT / "examples")
    with ExitStack() as running:
        shell = Shell(document.parent if in_example else tmp_path, running, code)
        for number, block in enumerate(blocks(document)):
            if block.kind == "yaml":
                write_yaml(block, number, tmp_path, code)
            elif block.kind == "python":
                write_python(block, tmp_path)
            elif block.kind == "sh":
                check_shell(block.text)
            elif block.kind == "console":
                for command, expected in steps(block.text):
                    shell.run(command, expected)


def write_yaml(block: Block, number: int, folder: Path, code: Path) -> None:
    """Writes a file of a document; a mapping must be valid, unless its name contains "mistaken"."""
    named = re.match(r"# ([\w.-]+\.yaml)\n", block.text)
    file = folder / (named.group(1) if named else f"block{number}.yaml")
    file.write_text(block.text, "utf-8")
    if file.name == "values.yaml":
        schema = json.loads((ROOT / "deploy/helm/dragoman/values.schema.json").read_text())
        jsonschema.Draft7Validator(schema).validate(yaml.load(block.text, yaml.CSafeLoader))
        return
    assert "dragoman: 1" in block.text, "a YAML block is a whole mapping or suite"
    if "mistaken" not in file.name and not file.name.endswith(".test.yaml"):
        called = [f"{name}.yaml" for name in CALLED.findall(block.text)]
        called_files = [name for name in called if (folder / name).exists()]
        secrets = dict.fromkeys(SECRETS.findall(block.text), "set")
        done = dragoman(
            "validate", "--strict", file.name, *called_files, folder=folder, code=code, env=secrets
        )
        assert done.returncode == 0, done.stdout


def write_python(block: Block, folder: Path) -> None:
    """Writes a module of a document, whose name is in its first line."""
    named = re.match(r"# (\w+\.py)\n", block.text)
    assert named is not None, "a block of Python begins with the name of its file"
    (folder / named[1]).write_text(block.text, "utf-8")


def check_shell(text: str) -> None:
    """Checks commands that are not run: valid syntax, existing files, known options of `dragoman`."""
    assert subprocess.run(["sh", "-nc", text], check=False, timeout=START).returncode == 0, text
    lines = text.replace("\\\n", " ").splitlines()
    for line in lines:
        for name in re.findall(r"(?<![\w/.-])(?:\./)?((?:deploy|mappings|docs|examples)\b[\w./-]*)", line):
            assert (ROOT / name).exists(), f"{name} is not there: {line}"
        for pattern, path in NEEDED_FILES.items():
            for match in re.finditer(pattern, line):
                assert (ROOT / path.format(*match.groups())).is_file(), line
        for extras in re.findall(r"\.\[([\w,]+)]", line):
            assert {*extras.split(",")} <= {*PROJECT["optional-dependencies"]}, line
        words = shlex.split(line, comments=True)
        assert words[:1] != ["make"] or {*words[1:2]} <= make_targets(), line
        if words[:1] == ["dragoman"] and words[1:2] and not words[1].startswith("-"):
            known = {option for p in command(words[1]).params for option in p.opts}
            unknown = {word for word in words[2:] if word.startswith("--")} - known
            assert not unknown, f"{line}: no options {unknown}"


def steps(text: str) -> Iterator[tuple[str, str]]:
    for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        yield command, expected


def dragoman(
    *arguments: str, folder: Path, code: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search_path(code), **(env or {})},
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )


class Shell:
    """Runs the commands of one document in `folder`, with the package in `code`."""

    def __init__(self, folder: Path, running: ExitStack, code: Path) -> None:
        self.folder = folder
        self.code = code
        self.running = running
        self.servers: dict[str, ExitStack] = {}
        self.ports: dict[str, str] = {}

    def run(self, command: str, expected: str) -> None:
        words = shlex.split(PORTS_IN_TEXT.sub(lambda found: self.port(found.group()), command))
        env = dict(word.split("=", 1) for word in takewhile(_ASSIGNMENT.match, words))
        words = words[len(env) :]
        if words[:2] in SERVERS or words[0] in ASGI_SERVERS:
            given = next((word for word in words if word.rpartition(":")[2] in self.ports.values()), None)
            port = given.rpartition(":")[2] if given else self.port(self.usual_port())
            server = self.servers.setdefault(port, self.running.enter_context(ExitStack()))
            server.close()
            server.enter_context(serving(words, self.folder, int(port), env, self.code))
        else:
            assert not env, "set for servers alone"
            run = curl if words[0] == "curl" else self.dragoman
            output = run(words)
            if expected:
                assert output.rstrip("\n") == expected.rstrip("\n"), command

    def port(self, in_text: str) -> str:
        """Returns the free port that replaces one of the text."""
        return self.ports.setdefault(in_text, str(free_port()))

    def usual_port(self) -> str:
        """Returns the port in the settings of an example."""
        settings = self.folder / "example.env"
        named = PORTS_IN_TEXT.search(settings.read_text()) if settings.exists() else None
        return named.group() if named else "8080"

    def dragoman(self, words: list[str]) -> str:
        assert words[0] == "dragoman"
        done = dragoman(*words[1:], folder=self.folder, code=self.code)
        assert done.stderr == ""
        return done.stdout


def curl(words: list[str]) -> str:
    """Runs curl if it is installed, else sends the same request."""
    assert words[1] == "-s"
    if shutil.which("curl"):
        return subprocess.run(words, capture_output=True, text=True, timeout=START, check=True).stdout
    data = words[words.index("-d") + 1].encode() if "-d" in words else None
    headers = [words[number + 1].split(": ", 1) for number, word in enumerate(words) if word == "-H"]
    (url,) = [word for word in words if word.startswith("http")]
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, dict(headers)), timeout=PATIENCE
        ) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


@contextmanager
def serving(words: list[str], folder: Path, port: int, env: dict[str, str], code: Path) -> Iterator[None]:
    """Starts a server of a document until the document ends. `make serve` runs the recipe of the Makefile."""
    if words[0] == "make":
        code = ROOT
        command, folder = ["make", "-s", "serve", f"PORT={port}", *prepared_environment()], ROOT
    elif words[0] in ASGI_SERVERS:
        command = [sys.executable, "-m", *words]
    else:
        command = [sys.executable, "-P", "-m", "cli", *words[1:]]
    environment = {**os.environ, "PYTHONPATH": search_path(code), "DRAGOMAN_PORT": str(port), **env}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def search_path(code: Path) -> str:
    """Returns a PYTHONPATH with `code` first."""
    return os.pathsep.join(filter(None, (str(code), os.environ.get("PYTHONPATH"))))


def prepared_environment() -> list[str]:
    """Returns arguments that make `make` use the tests' environment, if that has the command."""
    if Path(sys.prefix, "bin", "dragoman").exists():
        return [f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.serve"]
    return []


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not begin to serve")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
