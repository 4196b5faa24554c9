"""One real stack for all tests of this folder: started by `andon up`, ended by `andon down`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.stack.bring_up import end_leftovers
from infra.stack.layout import Home
from infra.stack.process_identity import kill_all
from infra.stack.single_instance import holder
from infra.stack.state import ProcessState, load_state

UP_SECONDS = 300  # an `andon up` on a machine that is busy with other things; alone it takes about 20


@dataclass
class Stack:
    home: Home
    up: subprocess.CompletedProcess[str]

    def andon(self, *words: str) -> subprocess.CompletedProcess[str]:
        return andon(self.home.path, *words)

    def processes(self) -> dict[str, ProcessState]:
        state = load_state(self.home)
        assert state is not None
        return dict(state.processes)

    def until(
        self, met: Callable[[dict[str, ProcessState]], bool], seconds: float = UP_SECONDS
    ) -> dict[str, ProcessState]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.processes()
            if met(found):
                return found
            time.sleep(0.05)
        raise AssertionError(
            f"not met within {seconds} s: {json.dumps({n: p.to_json() for n, p in self.processes().items()})}"
        )


def andon(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.cli.main", words[0], "--home", str(home), *words[1:]]
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=UP_SECONDS + 30, check=False
    )


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = Home(tmp_path_factory.mktemp("stack") / "home")
    up = andon(home.path, "up", "--json", "--timeout", str(UP_SECONDS))
    try:
        yield Stack(home=home, up=up)
    finally:
        daemon = holder(home.supervisor_lock)  # a test that failed before the last one, which takes it down
        if daemon is not None:
            kill_all([daemon])
        state = load_state(home)
        if state is not None:
            end_leftovers(state)
