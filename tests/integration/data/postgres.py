"""A real PostgreSQL in a folder of its own, on a unix socket, ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

_USER = "postgres"  # PostgreSQL refuses to run as root


class PostgresMissing(Exception):
    """PostgreSQL's server programs are not installed."""


def programs() -> Path:
    """Debian keeps them out of PATH, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise PostgresMissing("PostgreSQL's server is not installed: run `apt-get install postgresql`")
    return Path(on_path).parent


class Postgres:
    def __init__(self) -> None:
        self.bin = programs()
        # Below /tmp: a unix socket's path has at most 107 bytes, and the server's user must be able to reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="andon-pg-", dir="/tmp"))
        self.databases = 0
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)

    def start(self) -> None:
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", _USER, "--no-sync")
        # Lost on a power cut, which a test does not survive either.
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off -c max_connections=40"
        log = self.folder / "log"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", str(log), "-w", "-t", "60", "start")

    def new_database(self) -> str:
        """URL of an empty database."""
        self.databases += 1
        name = f"andon{self.databases}"
        self._run("createdb", "-h", str(self.folder), "-U", _USER, name)
        return f"postgresql://{_USER}@/{name}?host={quote(str(self.folder), safe='')}"

    def stop(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "-t", "30", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.bin / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _USER, "--", *command]
        # Output to a file: a server that inherits a pipe would keep it open.
        with open(self.folder / "commands", "a+b") as output:
            done = subprocess.run(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/", timeout=120, check=False
            )
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{program} failed:\n{output.read().decode(errors='replace')}")
