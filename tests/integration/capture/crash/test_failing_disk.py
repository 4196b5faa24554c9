"""Every change that the spool makes to its disk fails in turn: full or read-only from then on, or broken once."""

import json
import os
import subprocess
import sys
from pathlib import Path

from edge_client.contract.signing import generate_private_key


def test_whichever_change_fails_nothing_that_was_promised_is_lost(shim: Path, fast: Path):
    root, key = fast / "disk", fast / "device.key"
    root.mkdir()
    generate_private_key(key)
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.capture.crash.failing", root, key],
        cwd=Path(__file__).parents[4],
        env={**os.environ, "LD_PRELOAD": str(shim), "SHIM_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert told["failures"] > 200
    assert told["refused"] > 100  # an error of the disk is said, not swallowed
    assert told["promised"] > 1000
