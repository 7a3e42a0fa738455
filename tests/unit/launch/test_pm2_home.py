"""PM2's home fits its sockets and belongs to us."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from scripts.launch.console import LaunchError
from scripts.launch.pm2 import LONGEST_SOCKET, SOCKET_PATH_MAX, pm2_home


def test_it_lies_in_the_project_and_is_private() -> None:
    with tempfile.TemporaryDirectory() as root:
        home = pm2_home(Path(root))
        assert home == Path(root) / "data" / "pm2"
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_deep_project_gets_a_short_home_that_is_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        deep = tmp_path / ("long" * 25)
        home = pm2_home(deep)
        assert home.parent == Path(short)
        assert len(os.fsencode(home / LONGEST_SOCKET)) <= SOCKET_PATH_MAX
        assert pm2_home(deep) == home
        assert pm2_home(tmp_path / ("else" * 25)) != home


def test_a_short_home_that_is_a_strangers_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        deep = tmp_path / ("long" * 25)
        home = pm2_home(deep)
        home.rmdir()
        home.symlink_to(tmp_path)
        with pytest.raises(LaunchError, match="belongs to another user"):
            pm2_home(deep)
