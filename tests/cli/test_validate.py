"""`dragoman validate`: its alias, the sources of its paths and variables, and its exit status."""

from __future__ import annotations

from pathlib import Path

from tests.support.commands import run


def test_check_is_an_alias_of_validate(shop: Path) -> None:
    keys = {"KEYS": "key"}
    checked = [run(name, str(shop), env=keys).output for name in ("check", "validate")]
    assert checked == ["1 file: no findings\n"] * 2


def test_the_environment_overrides_an_env_file(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text('# comment\nKEYS="one,two"\nexport SHOP_URL=nonsense\n')
    shown = run("validate", str(shop), "--env-file", str(tmp_path / "a.env"))
    assert "bad-url" in shown.output
    shown = run("validate", str(shop), "--env-file", str(tmp_path / "a.env"), env={"SHOP_URL": "http://h"})
    assert shown.output == "1 file: no findings\n"


def test_strict_treats_warnings_as_errors(shop: Path) -> None:
    shop.write_text(shop.read_text() + "description: sk-live-0123456789abcdef\n")
    shown = run("validate", str(shop), env={"KEYS": "key"})
    assert shown.exit_code == 0
    assert shown.output.endswith("0 errors, 1 warning in 1 file\n")
    assert run("validate", str(shop), "--strict", env={"KEYS": "key"}).exit_code == 1


def test_notes_are_not_errors_unless_the_environment_is_required(shop: Path) -> None:
    shown = run("validate", str(shop), "--strict")
    assert shown.exit_code == 0
    assert f"{shop}:5:17: note[no-key]: 'auth.bearer' has no key" in shown.output
    assert shown.output.endswith("1 file: no errors or warnings, 1 note\n")
    required = run("validate", str(shop), "--require-env")
    assert required.exit_code == 1
    assert f"{shop}:5:17: error[no-key]" in required.output


def test_errors_exit_with_1(shop: Path) -> None:
    shop.write_text(shop.read_text().replace("respond", "repsond"))
    shown = run("validate", str(shop))
    assert shown.exit_code == 1
    assert "did you mean 'respond'?" in shown.output
