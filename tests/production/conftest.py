"""PostgreSQL and OpenStack Swift, both over TLS, as a plant has them: `make test-production` runs what is here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.data.postgres import PASSWORD, Postgres
from tests.production.plant import Plant
from tests.swift.node import running_swift


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Both servers, and the files that name them."""
    folder = tmp_path_factory.mktemp("plant")
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


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
