"""Who runs PostgreSQL: ourselves, or as root an unprivileged account, because PostgreSQL refuses to run as root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.infra.embedded.processes import EmbeddedServerError

SERVER_USERS = ("postgres", "nobody")
"""Unprivileged accounts that nearly every machine has, best first."""

PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The account that owns the database files and runs the server. `other` is false when that is ourselves."""

    name: str
    uid: int
    gid: int
    other: bool

    @classmethod
    def choose(cls, cluster: Path) -> "ServerUser":
        """Return who runs the server of this cluster; its owner, if it exists already and we are root.

        Raises:
            EmbeddedServerError: we are root and the machine has no unprivileged account.
        """
        if os.geteuid() != 0:
            return cls(name=str(os.geteuid()), uid=os.geteuid(), gid=os.getegid(), other=False)
        if cluster.exists():
            owner = cluster.stat()
            return cls(name=str(owner.st_uid), uid=owner.st_uid, gid=owner.st_gid, other=True)
        for name in SERVER_USERS:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name=name, uid=entry.pw_uid, gid=entry.pw_gid, other=True)
        message = (
            f"PostgreSQL refuses to run as root and there is no user {' or '.join(SERVER_USERS)}: "
            "create one (useradd --system postgres), or set SAUDA_DATABASE_URL to a server of your own"
        )
        raise EmbeddedServerError(message)

    def run(
        self,
        command: list[str],
        *,
        timeout_s: float,
        text_in: str = "",
        stderr: IO[bytes] | int = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this user in a session of its own, from a folder that every user can enter.

        The environment is not passed on: PGPORT, PGDATA, LC_ALL and the like would steer the server.

        Raises:
            PermissionError: the user cannot reach the program.
            subprocess.TimeoutExpired: it ran longer than allowed.
        """
        return subprocess.run(
            command,
            input=text_in,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            user=self.uid if self.other else None,
            group=self.gid if self.other else None,
            extra_groups=[] if self.other else None,
        )

    def can(self, command: list[str]) -> bool:
        """Whether the command runs and succeeds as this user; a program that cannot be reached does not."""
        try:
            return self.run(command, timeout_s=PROBE_TIMEOUT_S).returncode == 0
        except (PermissionError, FileNotFoundError):
            return False

    def own(self, path: Path) -> None:
        """Give this user a file or folder of ours."""
        if self.other:
            os.chown(path, self.uid, self.gid)
