"""The image: the steps of its Dockerfile run in a plain tree, and the result runs as a container."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.support.commands import variables
from tests.support.image import (
    Container,
    Image,
    as_user,
    build,
    context,
    described,
    global_arguments,
    instructions,
    running,
)
from tests.support.times import PATIENCE, START
from tests.support.upstream import Upstream, eventually, json_response

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "deploy/kubernetes"
LOCKS = (
    "deploy/requirements.lock",
    "deploy/requirements-build.lock",
    "deploy/requirements-release.lock",
    "tests/requirements.lock",
)
_PINNED = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The built image, in a folder that its user can access."""
    tree = Path(tempfile.mkdtemp(prefix="dragoman-image-"))
    tree.chmod(0o755)
    try:
        yield build(tree)
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(tree)], check=True, timeout=START)
        shutil.rmtree(tree)


@pytest.fixture
def volume() -> Iterator[Path]:
    """A folder that every user can read."""
    with tempfile.TemporaryDirectory(prefix="dragoman-volume-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, target: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", target, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# The contents of the files


def test_the_image_has_its_metadata() -> None:
    image = described()
    assert image.user == "65532:65532"
    assert image.volumes == ["/mappings"] == [image.env["DRAGOMAN_MAPPINGS"]] == [image.folder]
    admin = int(image.env["DRAGOMAN_ADMIN"].rpartition(":")[2])
    assert image.ports == [int(image.env["DRAGOMAN_PORT"]), admin]
    assert image.env["DRAGOMAN_ADMIN"].startswith("127.0.0.1:"), "metrics are shown to this container alone"
    assert image.signal == "SIGTERM"
    assert image.entrypoint + image.command == ["dragoman", "serve"]


def test_the_labels_of_the_image_are_those_of_the_project() -> None:
    project, prefix = PROJECT["project"], "org.opencontainers.image."
    labels = {name.removeprefix(prefix): value for name, value in described().labels.items()}
    assert labels == {
        "title": "Dragoman",
        "description": project["description"],
        "version": project["version"],
        "revision": "unknown",
        "licenses": project["license"],
        "vendor": project["authors"][0]["name"],
        "url": project["urls"]["Homepage"],
        "source": project["urls"]["Source"],
        "documentation": project["urls"]["Documentation"],
        "base.name": global_arguments()["BASE"],
    }


def test_make_passes_the_version_of_the_project_to_the_image() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "image", "ENGINE=podman", "BASE=a:b", "BUILD_FLAGS=--secret=x"],
        cwd=ROOT,
        # The options of a make that runs these tests would print more.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        timeout=START,
        check=True,
    )
    words = done.stdout.replace("\\\n", " ").split()
    version = PROJECT["project"]["version"]
    assert words[:4] == ["podman", "build", "--format", "docker"], "HEALTHCHECK needs Docker's format"
    assert {f"VERSION={version}", "BASE=a:b", "--secret=x", f"dragoman:{version}"} <= set(words)


def test_the_build_fails_if_the_version_is_not_that_of_the_wheel() -> None:
    installing = [value for name, value in instructions() if name == "RUN" and "dist/" in value]
    assert any("dist/dragoman-${VERSION}-py3-none-any.whl" in value for value in installing)


def test_secrets_of_the_build_are_in_no_layer() -> None:
    """pip's settings are mounted where packages are downloaded, and nowhere else."""
    for name, value in instructions():
        downloads = name == "RUN" and "--require-hashes" in value
        assert ("--mount=type=secret,id=pip.conf" in value) is downloads
        assert not (name == "ARG" and re.search(r"INDEX|PROXY|TOKEN|CERT", value))


def test_the_last_stage_only_copies_from_the_build_stage() -> None:
    steps = instructions()
    last = max(number for number, (name, _) in enumerate(steps) if name == "FROM")
    assert "RUN" not in [name for name, _ in steps[last:]], "it needs no build tool"
    bases = [value for name, value in steps if name == "FROM"]
    assert len(bases) == 2
    assert [base.split()[0] for base in bases] == ["${BASE}", "${BASE}"]
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", global_arguments()["BASE"])


def test_the_build_context_contains_only_sources() -> None:
    tops = {name.partition("/")[0] for name in context()}
    assert tops == {"pyproject.toml", "README.md", "LICENSE", "engine", "cli", "schema", "mappings", "deploy"}
    assert [name for name in context() if name.startswith("deploy")] == [
        "deploy/requirements-build.lock",
        "deploy/requirements.lock",
    ]
    assert not [name for name in context() if name.endswith((".pyc", ".env"))]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, set[str]]:
    """Returns the versions that a lock pins, by package; there may be one for each Python version."""
    pinned: dict[str, set[str]] = {}
    for package, version in _PINNED.findall((ROOT / name).read_text()):
        pinned.setdefault(normalized(package), set()).add(version)
    return pinned


@pytest.mark.parametrize("name", LOCKS)
def test_locked_packages_are_pinned_with_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=[^\s#])", text)[1:]
    packages = {normalized(entry.partition("==")[0]) for entry in entries}
    assert packages == set(locked(name)), "a package may have a version for each Python version"
    assert len(packages) > 3
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text, "the package index is chosen at build time"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("deploy/requirements.lock", PROJECT["project"]["dependencies"]),
        ("deploy/requirements.lock", PROJECT["project"]["optional-dependencies"]["http2"]),
        ("deploy/requirements-build.lock", PROJECT["build-system"]["requires"]),
        ("deploy/requirements-release.lock", PROJECT["build-system"]["requires"]),
        ("deploy/requirements-release.lock", PROJECT["dependency-groups"]["release"]),
        ("tests/requirements.lock", PROJECT["project"]["dependencies"]),
        ("tests/requirements.lock", PROJECT["project"]["optional-dependencies"]["dev"]),
        ("tests/requirements.lock", PROJECT["build-system"]["requires"]),
    ],
)
def test_the_locks_contain_all_dependencies_of_the_project(name: str, wanted: list[str]) -> None:
    """After a dependency is added or its minimum version raised, run `make lock`."""
    pinned = locked(name)
    for requirement in map(Requirement, wanted):
        versions = pinned.get(normalized(requirement.name), {"none"})
        fitting = [version for version in versions if version in requirement.specifier]
        assert fitting, f"{requirement} is {versions} in {name}: make lock"


def test_development_uses_the_versions_of_the_image() -> None:
    """The tests run with the versions that the image installs."""
    development = locked("tests/requirements.lock")
    for name in ("deploy/requirements.lock", "deploy/requirements-build.lock"):
        for package, versions in locked(name).items():
            assert development[package] == versions, f"{package}: make lock"


def test_a_release_is_built_as_the_image_is() -> None:
    release = locked("deploy/requirements-release.lock")
    assert locked("deploy/requirements-build.lock").items() <= release.items(), "make lock"


def test_every_variable_of_the_image_is_an_option() -> None:
    named = {name for name in described().env if name.startswith("DRAGOMAN_")}
    assert named <= variables("serve")


# The running container


def test_it_holds_the_locked_packages_and_no_tools(image: Image) -> None:
    found = image.tree / "opt/dragoman/bin"
    listing = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    done = subprocess.run([str(found / "python"), "-Ic", listing], capture_output=True, text=True, check=True)
    pinned = locked("deploy/requirements.lock")
    installed = dict(entry.split("==") for entry in done.stdout.split())
    assert installed.pop("dragoman") == PROJECT["project"]["version"]
    assert not {"pip", "hatchling"} & {normalized(name) for name in installed}
    for name, version in installed.items():
        if normalized(name) != "setuptools":  # part of virtual environments before Python 3.12
            assert version in pinned[normalized(name)]


def test_it_serves_its_volume_and_ends_on_its_stop_signal(image: Image, volume: Path) -> None:
    (volume / "hello.yaml").write_text(
        "dragoman: 1\nauth: none\nroutes: { GET /hello: { respond: { body: hello } } }\n"
    )
    before = sorted(image.tree.rglob("*"))
    with started(image, volume, {}) as (container, port):
        if options := as_user(image):
            assert_cannot_write(image, options)
        assert get(port, "/hello") == (200, b"hello")
        container.process.send_signal(getattr(signal, image.signal))
        assert container.process.wait(PATIENCE) == 0
    assert sorted(image.tree.rglob("*")) == before
    assert [line for line in container.lines if line.startswith("{")], "the log is JSON"


def assert_cannot_write(image: Image, options: dict[str, Any]) -> None:
    for folder in ("opt/dragoman", "mappings", "opt/dragoman/bin"):
        done = subprocess.run(
            ["touch", str(image.tree / folder / "new")], capture_output=True, check=False, **options
        )
        assert done.returncode != 0, f"{folder} can be written to"


def test_it_is_not_exposed_without_keys(image: Image, volume: Path) -> None:
    (volume / "open.yaml").write_text("dragoman: 1\nroutes: { GET /hello: { respond: { body: hello } } }\n")
    with running(image, volume, ports()) as container:
        assert container.process.wait(START) == 1
        eventually(lambda: "no key is set" in container.text())
    assert "no key is set for 'open'" in container.text()


def test_an_empty_volume_is_reported(image: Image, volume: Path) -> None:
    with running(image, volume, ports()) as container:
        assert container.process.wait(START) == 1
        eventually(lambda: bool(container.lines))
    assert str(volume) in container.text() or "no routes to serve" in container.text()


def test_its_health_check_reports_its_state(image: Image, volume: Path) -> None:
    assert "DRAGOMAN_ADMIN" in variables("serve")
    (volume / "hello.yaml").write_text(
        "dragoman: 1\nauth: none\nroutes: { GET /hello: { respond: { body: hello } } }\n"
    )
    with started(image, volume, {}) as (container, _):
        assert eventually(lambda: container.check_health().returncode == 0)
        container.process.terminate()
        container.process.wait(PATIENCE)
        assert container.check_health().returncode == 1


def ports() -> dict[str, str]:
    return {"DRAGOMAN_PORT": str(free_port()), "DRAGOMAN_ADMIN": f"127.0.0.1:{free_port()}"}


@contextlib.contextmanager
def started(
    image: Image, volume: Path, env: Mapping[str, str], command: Sequence[str] | None = None
) -> Iterator[tuple[Container, int]]:
    """Yields a ready container and its port."""
    chosen = ports() | dict(env)
    with running(image, volume, chosen, command) as container:
        assert container.is_ready(), container.text()
        yield container, int(chosen["DRAGOMAN_PORT"])


# The composition, and the manifests' own mapping, in that image


def composition() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["dragoman"])


def test_the_composition_grants_only_required_privileges() -> None:
    service, image = composition(), described()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"] == f"dragoman:{PROJECT['project']['version']}"
    (volume,) = service["volumes"]
    assert volume == f"./mappings:{image.volumes[0]}:ro"
    assert service["ports"] == [f"127.0.0.1:8080:{image.env['DRAGOMAN_PORT']}"], "shown to this machine alone"
    assert {name for name in service["environment"] if name.startswith("DRAGOMAN_")} <= (
        variables("serve") | {"DRAGOMAN_API_KEYS"}
    )
    assert int(service["stop_grace_period"].removesuffix("s")) > 30


def test_the_composition_is_a_demo_without_an_account(image: Image, volume: Path) -> None:
    shutil.copytree(ROOT / "mappings", volume, dirs_exist_ok=True)
    service = composition()
    given = service["environment"].items()
    env = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in given}
    with started(image, volume, env, service["command"]) as (_, port):
        assert get(port, "/ollama/v1/models")[0] == 401
        key = {"authorization": f"Bearer {env['DRAGOMAN_API_KEYS']}"}
        for target in ("/ollama/v1/models", "/api/tags"):
            status, body = get(port, target, key)
            assert status == 200
            assert b"llama3:latest" in body


def mount(volume: Path, name: str, files: Mapping[str, str]) -> None:
    """Writes a ConfigMap's files as a kubelet does: links into a folder, through a link that is swapped."""
    (volume / f"..{name}").mkdir()
    for file, text in files.items():
        (volume / f"..{name}" / file).write_text(text)
        if not (volume / file).is_symlink():
            (volume / file).symlink_to(f"..data/{file}")
    (volume / "..data_tmp").symlink_to(f"..{name}")
    (volume / "..data_tmp").rename(volume / "..data")


def test_the_manifests_mapping_is_served_as_a_kubelet_mounts_it(image: Image, volume: Path) -> None:
    mount(volume, "first", yaml.safe_load((MANIFESTS / "configmap.yaml").read_text())["data"])
    with Upstream() as upstream:
        upstream.on("/stock", json_response({"articles": [{"article_no": 4711, "label": "Samovar"}]}))
        env = {"WAREHOUSE_URL": upstream.url, "WAREHOUSE_KEY": "w1", "DRAGOMAN_API_KEYS": "k1"}
        with started(image, volume, env) as (_, port):
            assert get(port, "/products")[0] == 401
            status, body = get(port, "/products", {"authorization": "Bearer k1"})
            assert (status, body) == (200, b'{"products":[{"id":"4711","name":"Samovar"}]}')
        assert upstream.requests[-1].header("authorization") == "Bearer w1"


HELLO = 'dragoman: 1\nauth: none\nroutes: {{ GET /hello: {{ respond: {{ body: "{0}" }} }} }}\n'


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_changed_configmap_is_reloaded_and_an_invalid_one_is_not(
    image: Image, volume: Path, workers: str
) -> None:
    """As in the manifests: watched, in a read-only tree, with the paths of the probes."""
    mount(volume, "first", {"hello.yaml": HELLO.format("one")})
    env = {"DRAGOMAN_WATCH": "true", "DRAGOMAN_WORKERS": workers, "DRAGOMAN_GRACE": "5"}
    with started(image, volume, env) as (container, port):
        admin = int(container.environment["DRAGOMAN_ADMIN"].rpartition(":")[2])
        for path in ("/livez", "/readyz", "/metrics"):
            assert get(admin, path)[0] == 200
        mount(volume, "second", {"hello.yaml": HELLO.format("two")})
        assert eventually(lambda: get(port, "/hello") == (200, b"two"))
        mount(volume, "third", {"hello.yaml": HELLO.format("${ lenght(@) }")})
        assert eventually(lambda: "unknown-function" in container.text())
        assert [get(port, "/hello") for _ in range(10)] == [(200, b"two")] * 10
        assert get(admin, "/readyz")[0] == 200
        container.process.terminate()
        assert container.process.wait(PATIENCE) == 0
