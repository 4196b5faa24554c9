"""The disk under the spool does not answer for a while: inspection goes on, what could not wait is accounted for."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.integration.capture.crash.held import FRAMES


def test_inspection_never_waits_for_the_disk_and_what_it_cannot_take_raises_the_threshold(shim: Path, tmp_path: Path):
    """The disk answers only after every frame is inspected: had one waited, this would never end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.capture.crash.held", tmp_path / "device"],
        cwd=Path(__file__).parents[4],
        env={**os.environ, "LD_PRELOAD": str(shim), "SHIM_ROOT": str(tmp_path / "device" / "state" / "spool")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert told["same"]
    assert told["acknowledged_while_held"] == 0
    assert told["frames"] == FRAMES  # none went uncounted
    assert told["overload"] > 4  # the queue holds four
    (tau,) = told["taus"]
    assert tau > 0  # what was turned away raised it; what was on its way before may lie below, and does not count
    assert [q for q in told["priorities"] if q > tau]
