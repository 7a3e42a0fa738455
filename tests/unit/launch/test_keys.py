"""Secrets are made once, stay private, and give way to the environment."""

import stat
from pathlib import Path

from scripts.launch.keys import NAMES, load_keys


def test_secrets_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    first = load_keys(path, {})
    assert set(first) == set(NAMES)
    assert len(set(first.values())) == len(NAMES)
    assert all(len(value) >= 32 for value in first.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys(path, {}) == first


def test_the_environment_wins_and_is_not_written_down(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    assert load_keys(path, {"SAUDA_SECRET_KEY": "mine"})["SAUDA_SECRET_KEY"] == "mine"
    assert "mine" not in path.read_text()


def test_a_secret_that_is_missing_is_added_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    path.write_text("# a remark\nSAUDA_SECRET_KEY=kept\n")
    keys = load_keys(path, {})
    assert keys["SAUDA_SECRET_KEY"] == "kept"
    assert load_keys(path, {}) == keys
