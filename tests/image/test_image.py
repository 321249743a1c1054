"""The image, built and run by a container engine: `make image-test`.

ENGINE is docker, podman or buildah; by default the first of these that works. If none works, the tests are
skipped. BASE is another base image. With buildah and without BASE, deploy/base-image.sh builds one from the
packages of MIRROR, so that no registry is needed.
"""

from __future__ import annotations

import ast
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.engines import Buildah, Engine, EngineError, call, find_engine, wait_for
from tests.support.image import described
from tests.support.repository import ROOT
from tests.support.times import PATIENCE, START

IMAGE = "localhost/dragoman:image-test"
BASE_IMAGE = "localhost/dragoman-base:image-test"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: Settings of pip that a build needs to reach the package index of this machine.
INDEX_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def given(name: str) -> str | None:
    """A setting of `make image-test`; an empty one counts as absent."""
    return os.environ.get(f"DRAGOMAN_IMAGE_{name}") or None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that the user of the image can read."""
    with tempfile.TemporaryDirectory(prefix="dragoman-image-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    try:
        return find_engine(folder, given("ENGINE"))
    except EngineError as error:
        if given("ENGINE"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def base(engine: Engine) -> str | None:
    """The base image, if it is not that of the Dockerfile."""
    if given("BASE") or not isinstance(engine, Buildah) or shutil.which("debootstrap") is None:
        return given("BASE")
    mirror = given("MIRROR")
    options = ("--mirror", mirror) if mirror else ()
    call("deploy/base-image.sh", *options, "--engine", "buildah", BASE_IMAGE, env=engine.env, timeout=1800)
    return BASE_IMAGE


@pytest.fixture(scope="module")
def image(engine: Engine, base: str | None, folder: Path) -> Iterator[str]:
    """The built image."""
    engine.build(IMAGE, base, index_secrets(folder))
    yield IMAGE
    engine.remove(IMAGE)


def index_secrets(folder: Path) -> list[str]:
    """Returns options that pass pip's settings of this machine to the build, as secrets."""
    settings = pip_settings()
    lines = [f"{name} = {settings[name]}" for name in INDEX_SETTINGS if name in settings]
    options = []
    if "cert" in settings:
        options.append(f"--secret=id=ca.crt,src={settings['cert']}")
        lines.append("cert = /run/secrets/ca.crt")
    if lines:
        file = folder / "pip.conf"
        file.touch(0o600)
        file.write_text("\n".join(["[global]", *lines, ""]), "utf-8")
        options.append(f"--secret=id=pip.conf,src={file}")
    return options


def pip_settings() -> dict[str, str]:
    """pip's settings by name; those of the environment have precedence over files."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        timeout=START,
        check=True,
    )
    lines = [line.partition("=") for line in done.stdout.splitlines() if "=" in line]
    lines.sort(key=lambda line: line[0].startswith(":env:"))
    return {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, _, value in lines}


@pytest.fixture
def mappings(folder: Path) -> Path:
    """A folder with one mapping, that every user can read."""
    name = Path(tempfile.mkdtemp(dir=folder))
    name.chmod(0o755)
    (name / "hello.yaml").write_text(
        "dragoman: 1\nauth: none\nroutes: { GET /hello: { respond: { body: hello } } }\n", "utf-8"
    )
    return name


def get(port: int, target: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def serves(port: int) -> bool:
    try:
        return get(port, "/hello") == (200, b"hello")
    except OSError:
        return False


def test_its_configuration_is_that_of_the_dockerfile(engine: Engine, image: str, base: str | None) -> None:
    config, stated = engine.config(image), described()
    assert config["User"] == stated.user
    assert (config["Entrypoint"], config["Cmd"]) == (stated.entrypoint, stated.command)
    assert (config["WorkingDir"], list(config["Volumes"])) == (stated.folder, stated.volumes)
    assert sorted(config["ExposedPorts"]) == [f"{port}/tcp" for port in stated.ports]
    assert config["StopSignal"] == stated.signal
    assert config["Healthcheck"]["Test"] == ["CMD", *stated.health]
    assert set(config["Env"]) >= {f"{name}={value}" for name, value in stated.env.items()}


def test_its_labels_are_those_of_the_project(engine: Engine, image: str, base: str | None) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in engine.config(image)["Labels"].items()
    }
    assert labels["version"] == PROJECT["version"]
    assert labels["licenses"] == PROJECT["license"]
    assert labels["description"] == PROJECT["description"]
    assert labels["source"] == PROJECT["urls"]["Source"]
    assert labels["base.name"] == (base or described().labels["org.opencontainers.image.base.name"])
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert labels["revision"] == (head.stdout.strip() or "unknown")


def test_its_command_has_the_version(engine: Engine, image: str) -> None:
    assert engine.run(image, "--version").split()[-1] == PROJECT["version"]


def test_its_shipped_mappings_are_found(engine: Engine, image: str) -> None:
    assert "no findings" in engine.run(image, "validate", "demo")


def test_it_serves_mounted_mappings_until_its_stop_signal(engine: Engine, image: str, mappings: Path) -> None:
    with engine.running(image, mappings) as container:
        wait_for(lambda: serves(container.port), container)
        assert get(container.port, "/missing")[0] == 404
        assert container.execute(*described().health)[0] == 0
        assert container.stop() == 0, container.log()
        assert '"event":"admin_listening"' in container.log(), "the log is JSON"


def test_it_is_not_healthy_without_a_server(engine: Engine, image: str) -> None:
    with pytest.raises(EngineError, match="unhealthy"):
        engine.run(image, "healthcheck")


def test_it_runs_without_privileges(engine: Engine, image: str, mappings: Path) -> None:
    with engine.running(image, mappings) as container:
        wait_for(lambda: serves(container.port), container)
        assert container.execute("id", "-u") == (0, "65532\n")
        for path in ("/opt/dragoman/new", "/opt/dragoman/bin/dragoman", "/etc/passwd"):
            assert container.execute("sh", "-c", f"echo x >> {path}")[0] != 0, f"{path} can be written to"


def test_it_has_no_build_tools_and_no_settings_of_the_build(
    engine: Engine, image: str, mappings: Path
) -> None:
    with engine.running(image, mappings) as container:
        wait_for(lambda: serves(container.port), container)
        for path in ("/opt/build", "/src", "/opt/dragoman/bin/pip", "/run/secrets/ca.crt", "/etc/pip.conf"):
            assert container.execute("test", "-e", path)[0] != 0, f"{path} is in the image"
