"""Exchanging engines does not cost memory (edge_client/memory.py, rule 1)."""

import json
import subprocess
import sys


def test_a_process_that_exchanges_engines_does_not_grow():
    command = [sys.executable, "-m", "tests.integration.serving.swapping_process", "15"]
    ended = subprocess.run([*command, "mapped"], check=True, capture_output=True, text=True, timeout=120)
    megabytes = json.loads(ended.stdout)
    assert len(megabytes) == 15
    # without fixed mapping of large blocks, about 40 MB
    assert max(megabytes[10:]) - min(megabytes[4:8]) < 12, megabytes
