from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.data.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()
