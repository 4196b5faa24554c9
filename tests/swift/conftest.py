"""One node for each module: its tests kill parts of it, and change rights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.swift.node import Swift, running_swift


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with running_swift(tmp_path_factory.mktemp("swift")) as node:
        yield node
