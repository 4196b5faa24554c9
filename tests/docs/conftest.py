"""One stack for all pages; they start it themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.stack.bring_up import end_leftovers
from infra.stack.layout import Home
from infra.stack.process_identity import kill_all
from infra.stack.single_instance import holder
from infra.stack.state import load_state
from tests.docs.world import World, build


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = build(tmp_path_factory.mktemp("docs") / "clone")
    try:
        yield made
    finally:
        for name in (".andon", "elsewhere"):
            _end(Home(made.path / name))


def _end(home: Home) -> None:
    """End what a failed test left; the last page ends the stack itself."""
    daemon = holder(home.supervisor_lock) if Path(home.supervisor_lock).exists() else None
    if daemon is not None:
        kill_all([daemon])
    state = load_state(home) if home.path.exists() else None
    if state is not None:
        end_leftovers(state)
