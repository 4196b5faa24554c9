"""The challenger's process keeps off the core on which the line's frame was inspected, where there is another."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from edge_client.shadow.cores import current_core, keep_off

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems tell no core")


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as running:
        yield running
        running.kill()


def test_the_core_of_a_thread_that_may_use_one_only_is_that_one() -> None:
    found: list[tuple[int, int]] = []

    def look() -> None:
        for core in os.sched_getaffinity(0):
            os.sched_setaffinity(threading.get_native_id(), {core})
            found.append((core, current_core()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found
    assert all(asked == told for asked, told in found)


def test_a_process_gets_every_core_but_that_one_and_all_if_it_is_the_only_one(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = os.sched_getaffinity(0)
    keep_off(process.pid, -1)
    assert os.sched_getaffinity(process.pid) == mine
    core = min(mine)
    keep_off(process.pid, core)
    assert os.sched_getaffinity(process.pid) == ((mine - {core}) or mine)
    keep_off(process.pid, max(mine))
    assert os.sched_getaffinity(process.pid) == ((mine - {max(mine)}) or mine)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {core})
    keep_off(process.pid, core)
    monkeypatch.undo()
    assert os.sched_getaffinity(process.pid) == ((mine - {max(mine)}) or mine)


def test_a_process_that_has_ended_is_no_error(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    keep_off(process.pid, min(os.sched_getaffinity(0)))
