"""A fine-tuning killed in the middle of an epoch goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.flows.stack import ROOT


def start(folder: Path) -> subprocess.Popen[str]:
    module = "tests.integration.training.finetune.tune_in_child"
    return subprocess.Popen(
        [sys.executable, "-m", module, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def to_the_end(folder: Path) -> tuple[int, str]:
    """Returns how many epochs were done before, and the digest of the weights."""
    out, _ = start(folder).communicate(timeout=240)
    done, digest = out.splitlines()[-1].removeprefix("done ").split()
    return int(done), digest


def test_a_kill_in_the_middle_of_an_epoch_costs_that_epoch_and_no_bit(tmp_path: Path) -> None:
    _, whole = to_the_end(tmp_path / "whole")
    for epoch, step in ((2, 3), (4, 1)):  # twice: what was gone on from is killed again
        child = start(tmp_path / "killed")
        assert child.stdout is not None
        for line in child.stdout:
            assert not line.startswith("done")
            if line.strip() == f"step {epoch} {step}":
                os.killpg(child.pid, signal.SIGKILL)
                break
        assert child.wait(timeout=60) == -signal.SIGKILL
        child.stdout.close()
    assert to_the_end(tmp_path / "killed") == (4, whole)
