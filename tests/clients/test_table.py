"""docs/clients.md has the clients and checks of the scripts, the locked versions, and no failed check."""

from __future__ import annotations

import ast
import json
import re

import pytest

from tests.clients.table import CELLS, CHECKS, CLIENTS, FOLDER, PAGE, Client, section, table

_PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def locked(client: Client) -> dict[str, str]:
    """Returns the versions of a client's packages in its lock."""
    if client.install == "npm":
        packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
        return {name: packages[f"node_modules/{name}"]["version"] for name in client.packages}
    pins = dict(_PIN.findall((FOLDER / f"{client.install}.lock").read_text()))
    return {name: pins[name] for name in client.packages}


def defined(client: Client) -> list[str]:
    """Returns the checks that a script, or a module of it, defines."""
    text = client.file.read_text()
    if client.install != "npm":
        names = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    else:
        if "aiSdkChecks(" in text:
            text = (FOLDER / "javascript" / "ai_sdk.mjs").read_text()
        names = set(re.findall(r"^ +async (\w+)\(\) \{$", text, re.MULTILINE))
    return [check for check in CHECKS if check in names]


def rows() -> list[list[str]]:
    lines = [line for line in section(PAGE.read_text()).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_table_has_the_clients_and_checks() -> None:
    head, rule, *body = rows()
    assert head == ["Client", "Version", "Base URL", *CHECKS.values()]
    assert set(rule) == {"---"}
    assert [row[0] for row in body] == [client.name for client in CLIENTS]
    assert {cell for row in body for cell in row[3:]} <= {*CELLS}


def test_the_table_is_that_of_a_run_with_the_locked_versions() -> None:
    assert section(PAGE.read_text()) == table({client: locked(client) for client in CLIENTS})


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_script_defines_the_checks_of_its_client(client: Client) -> None:
    assert {*client.absent, *client.limits} <= CHECKS.keys()
    assert not client.absent.keys() & client.limits.keys()
    assert defined(client) == client.checks


def test_every_script_belongs_to_a_client() -> None:
    scripts = {str(path.relative_to(FOLDER)) for path in FOLDER.glob("[pj]*/use_*.*")}
    assert scripts == {client.script for client in CLIENTS}


def test_the_scripts_share_the_names_of_the_checks() -> None:
    module = ast.parse((FOLDER / "python" / "checks.py").read_text())
    (names,) = [
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CHECKS"
    ]
    assert list(names) == list(CHECKS)
    listed = re.search(r"CHECKS = \[(.*?)\]", (FOLDER / "javascript" / "checks.mjs").read_text(), re.DOTALL)
    assert listed is not None
    assert re.findall(r'"(\w+)"', listed[1]) == list(CHECKS)


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_script_uses_the_base_url_of_the_table(client: Client) -> None:
    text = client.file.read_text()
    used = re.findall(r"checks\.server(?:\(\))?(?:\}(/\w+))?", text)
    assert set(used) == {client.path}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-openai-2.lock", "package-lock.json"])
def test_a_lock_has_hashes_and_no_address_of_a_registry(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert "resolved" not in text
    assert not re.search(r"--(index-url|find-links|extra-index-url)|\bfiles\.|/simple\b", text)
    if name == "package-lock.json":
        packages = json.loads(text)["packages"]
        assert all("integrity" in package for path, package in packages.items() if path)
    else:
        assert "://" not in text
        assert text.count("--hash=sha256:") > len(_PIN.findall(text))
