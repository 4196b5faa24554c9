"""A real PostgreSQL in a folder of its own, ended by its pid: on a unix socket, or over TLS with a password."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.integration.capture.bad_line import self_signed
from tests.integration.capture.weed import free_port

_USER = "postgres"  # PostgreSQL refuses to run as root
OWNER, PASSWORD = "andon", "p@ss:w/rd %20'ü"  # whatever a password may hold must survive in a URL


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

    def start_on_loopback(self) -> None:
        """Listen on a TCP port, for an account with a password that may make databases, and over TLS alone."""
        certificate, key = self_signed(self.folder)
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            for path in (certificate, key):
                os.chown(path, user.pw_uid, user.pw_gid)
        key.chmod(0o600)
        self.port, self.certificate = free_port(), certificate
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", _USER, "--no-sync", "-E", "UTF8")
        (self.folder / "data" / "pg_hba.conf").write_text(
            "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        self._begin()
        quoted = PASSWORD.replace("'", "''")
        self._run("psql", "-h", str(self.folder), "-p", str(self.port), "-U", _USER, "-v", "ON_ERROR_STOP=1", "-c",
                  f"CREATE ROLE {OWNER} LOGIN CREATEDB PASSWORD '{quoted}'")  # fmt: skip

    def _begin(self) -> None:
        options = (
            f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -c ssl=on "
            f"-c ssl_cert_file={self.folder}/{self.certificate.name} -c ssl_key_file={self.folder}/key.pem"
        )
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", log, "-w", "-t", "60", "start")

    def restart_at_once(self) -> None:
        """Cut every connection and transaction, as a crash of the server does, and start it again."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "-t", "60", "stop")
        self._begin()

    def url_over_tls(self, name: str, *, password: bool = False) -> str:
        """URL of a database of that name, which need not be there; the server's certificate is verified."""
        who = f"{OWNER}:{quote(PASSWORD, safe='')}" if password else OWNER
        return (
            f"postgresql://{who}@127.0.0.1:{self.port}/{name}"
            f"?sslmode=verify-ca&sslrootcert={quote(str(self.certificate), safe='')}"
        )

    def new_database(self) -> str:
        """URL of an empty database."""
        self.databases += 1
        name = f"andon{self.databases}"
        self._run("createdb", "-h", str(self.folder), "-U", _USER, name)
        return f"postgresql://{_USER}@/{name}?host={quote(str(self.folder), safe='')}"

    def ask(self, statement: str) -> None:
        """Run a statement as the server's own user, over the socket."""
        with psycopg.connect(f"postgresql://{_USER}@/postgres?host={self.folder}", autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]  # tests say what they like

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
