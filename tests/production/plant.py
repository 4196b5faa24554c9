"""The plant's own servers, and `andon` as it is run beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.data.postgres import PASSWORD, Postgres
from tests.swift.node import Swift, running_swift

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plant:
    """PostgreSQL, Swift, and a folder with their secrets as files."""

    folder: Path
    postgres: Postgres
    swift: Swift
    secrets: Path

    def services(self, database: str, *, bucket: str | None = None) -> str:
        """services.toml with the servers of this plant."""
        settings, secrets = self.swift.settings, self.secrets
        return f"""\
[database]
url = "{self.postgres.url_over_tls(database)}"
password_file = "{secrets}/database-password"
[bucket]
name = "{bucket or settings.bucket}"
endpoint_url = "{settings.endpoint_url}"
ca_bundle = "{settings.ca_bundle}"
access_key_id_file = "{secrets}/bucket-access-key"
secret_access_key_file = "{secrets}/bucket-secret-key"
device_access_key_id_file = "{secrets}/bucket-access-key"
device_secret_access_key_file = "{secrets}/bucket-secret-key"
"""

    def new_home(self, home: Path, database: str) -> Path:
        """A home directory that uses them."""
        home.mkdir(mode=0o700)
        (home / "services.toml").write_text(self.services(database))
        return home


@contextmanager
def running_plant(folder: Path) -> Iterator[Plant]:
    """Start both servers, with the files that name them, and end them."""
    postgres = Postgres()
    try:
        postgres.start_on_loopback()
        with running_swift(folder / "swift") as swift:
            secrets = folder / "secrets"
            secrets.mkdir(mode=0o700)
            settings = swift.settings
            for name, value in (
                ("database-password", PASSWORD),
                ("bucket-access-key", settings.access_key_id),
                ("bucket-secret-key", settings.secret_access_key),
            ):
                (secrets / name).write_text(value + "\n")
                os.chmod(secrets / name, 0o600)
            yield Plant(folder=folder, postgres=postgres, swift=swift, secrets=secrets)
    finally:
        postgres.stop()


def andon(home: Path, *words: str, timeout: float = 900, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `andon`."""
    return subprocess.run(
        [sys.executable, "-m", "infra.cli.main", words[0], *words[1:], "--home", str(home)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
