"""Output and exit status of the commands other than `test`, `explain` and a running `serve`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cli.main import COMMANDS, main
from engine import FUNCTIONS, schema_text
from tests.support.commands import command as command_of
from tests.support.server import dragoman_server
from tests.support.times import START
from tests.support.upstream import refusing

MAPPING = """
dragoman: 1
upstreams: { shop: { url: "${ $env.SHOP_URL }" } }
env: { SHOP_URL: { default: "http://localhost:9000" }, KEYS: { secret: true } }
auth: { bearer: "${ $env.KEYS }" }
routes:
  GET /items: { summary: All items., call: GET shop /items, respond: { body: "${ items }" } }
  GET /health: { auth: none, respond: { body: ok } }
"""


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, env=env)


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    file = tmp_path / "shop.yaml"
    file.write_text(MAPPING)
    return file


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = command_of(name)
    shown = run(name, "--help")
    assert shown.exit_code == 0
    assert command.help
    assert len(command.help) > 80, "help describes what the command does"
    for parameter in command.params:
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            assert parameter.help, f"--{parameter.name} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_an_environment_variable(name: str) -> None:
    for parameter in command_of(name).params:
        if isinstance(parameter, click.Option):
            assert str(parameter.envvar).startswith("DRAGOMAN_"), f"{name} --{parameter.name}"


def test_a_usage_error_exits_with_2() -> None:
    for arguments in (
        ["validate"],
        ["serve"],
        ["nothing"],
        ["serve", "x", "--port", "70000"],
        ["schema", "x"],
    ):
        assert run(*arguments).exit_code == 2, arguments


def test_version() -> None:
    assert run("--version").output.startswith("dragoman, version ")


def test_check_is_an_alias_of_validate(mapping: Path) -> None:
    keys = {"KEYS": "key"}
    checked = [run(name, str(mapping), env=keys).output for name in ("check", "validate")]
    assert checked == ["1 file: no findings\n"] * 2


def test_routes_as_a_table(mapping: Path) -> None:
    shown = run("routes", str(mapping), env={"KEYS": "one"})
    assert shown.output == (
        "METHOD  PATH     CALLS  KEY     MAPPING  SUMMARY\n"
        "GET     /items   shop   bearer  shop     All items.\n"
        "GET     /health                 shop\n"
    )


def test_routes_as_json(mapping: Path) -> None:
    rows = json.loads(run("routes", str(mapping), "--format", "json").output)
    assert [(row["method"], row["path"], row["calls"]) for row in rows] == [
        ("GET", "/items", "shop"),
        ("GET", "/health", ""),
    ]


def test_routes_of_an_invalid_file_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("dragoman: 1\nroutes: { GET /x: { respond: { body: '${ oops( }' } } }\n")
    assert run("routes", str(file)).exit_code == 1


@pytest.mark.parametrize("name", ["mapping", "suite"])
def test_schemas_are_printed_unchanged(name: str) -> None:
    assert json.loads(run("schema", name).output) == json.loads(schema_text(name))


def test_functions_are_listed() -> None:
    lines = run("functions").output.splitlines()
    assert len(lines) == len(FUNCTIONS) + 1
    assert [line.partition("(")[0] for line in lines[1:]] == sorted(FUNCTIONS)


def test_a_function_is_explained_with_examples() -> None:
    shown = run("functions", "epoch")
    assert shown.exit_code == 0
    assert shown.output.startswith(FUNCTIONS["epoch"].signature)
    assert "epoch('2024-01-02T10:20:30Z') => 1704190830" in shown.output


def test_an_unknown_function_has_a_suggestion() -> None:
    shown = run("functions", "lenght")
    assert shown.exit_code == 1
    assert "did you mean 'length'" in shown.stderr


def test_the_environment_overrides_an_env_file(mapping: Path, tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text('# comment\nKEYS="one,two"\nexport SHOP_URL=nonsense\n')
    shown = run("validate", str(mapping), "--env-file", str(tmp_path / "a.env"))
    assert "bad-url" in shown.output
    shown = run("validate", str(mapping), "--env-file", str(tmp_path / "a.env"), env={"SHOP_URL": "http://h"})
    assert shown.output == "1 file: no findings\n"


def test_paths_can_come_from_the_environment(mapping: Path) -> None:
    env = {"DRAGOMAN_MAPPINGS": str(mapping), "KEYS": "key"}
    assert run("validate", env=env).output == "1 file: no findings\n"


def test_healthcheck(tmp_path: Path) -> None:
    with dragoman_server(MAPPING) as server:
        assert run("healthcheck", f"{server.url}/health").output == "healthy: status 200\n"
        missing = run("healthcheck", f"{server.url}/nothing")
        assert (missing.exit_code, missing.output) == (1, "unhealthy: status 404\n")
    with refusing() as url:
        refused = run("healthcheck", url, "--timeout", "2")
        assert refused.exit_code == 1
        assert "refused" in refused.output
    assert run("healthcheck", "ftp://x").exit_code == 2


LIVEZ = "dragoman: 1\nroutes: { GET /livez: { respond: { body: ok } } }\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "", "localhost"])
def test_healthcheck_uses_the_admin_address_of_the_environment(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dragoman_server(LIVEZ) as server:
        monkeypatch.setenv("DRAGOMAN_ADMIN", f"{host}:{server.address[1]}")
        assert run("healthcheck").output == "healthy: status 200\n"
        assert run("healthcheck", f"{server.url}/other").output == "unhealthy: status 404\n"
    assert run("healthcheck", "--timeout", "2").exit_code == 1
    monkeypatch.delenv("DRAGOMAN_ADMIN")
    assert run("healthcheck").exit_code == 2


def test_serve_describes_a_missing_variable(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "dragoman: 1\n"
        "env: { MODELS_KEY: { required: true, secret: true, description: the key for the models } }\n"
        "routes: { GET /x: { respond: { body: x } } }\n"
    )
    served = run("serve", str(file), "--port", "0")
    assert served.exit_code == 1
    assert "the environment variable MODELS_KEY is not set: the key for the models" in served.output
    assert run("validate", str(file)).exit_code == 0


def test_serve_reports_a_port_in_use(mapping: Path) -> None:
    with dragoman_server(MAPPING) as server:
        port = server.address[1]
        done = subprocess.run(
            [*server.process.args[:3], "serve", str(mapping), "--port", str(port)],  # type: ignore[index]
            capture_output=True,
            text=True,
            timeout=START,
            check=False,
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr
