"""One at a time, by the kernel's lock."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.exclusive import Busy, only_one


def test_a_second_one_is_told_who_is_at_it(tmp_path: Path) -> None:
    with (
        only_one(tmp_path, "ingest", wait_seconds=0),
        pytest.raises(Busy, match=r"ingest: another process \(pid \d+\)"),
        only_one(tmp_path, "ingest", wait_seconds=0.3),
    ):
        pass


def test_the_lock_ends_with_the_process_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from flows.exclusive import only_one\n"
        "with only_one(pathlib.Path(sys.argv[1]), 'retrain', wait_seconds=0):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(Busy, match=str(holder.pid)), only_one(tmp_path, "retrain", wait_seconds=0):
        pass
    holder.kill()
    holder.communicate()
    with only_one(tmp_path, "retrain", wait_seconds=0):
        pass


def test_different_flows_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with only_one(tmp_path, "ingest", wait_seconds=0), only_one(tmp_path, "watch", wait_seconds=0):
        pass
