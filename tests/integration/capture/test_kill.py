"""Real processes, killed with SIGKILL: what was acknowledged is there."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from edge_client.contract.inclusion import counts_for_estimates
from edge_client.figures import read_ledger
from edge_client.spool import Spool
from tests.unit.capture.device import Bundle

# Captures and uploads as fast as it can, and prints every acknowledged id once its commit returned.
_CHILD = """
import sys
from edge_client import Config
from edge_client.client import Client
from tests.unit.capture.device import noise

client = Client(Config.load(sys.argv[1]))
spool = client._loop.spool
commit = spool.commit
def telling(steps):
    done = commit(steps)
    for sample_id in done.kept:
        sys.stdout.write(sample_id + "\\n")
    sys.stdout.flush()
    return done
spool.commit = telling
n = 0
while True:
    client.predict(noise(n), part_id=str(n))
    n += 1
"""


def test_a_device_killed_again_and_again_loses_nothing_that_it_acknowledged(tmp_path: Path):
    bundle = Bundle(
        tmp_path / "device",
        capture="byte_budget = 40000\nwindow_seconds = 0.3\nspool_bytes = 150000\nduplicate_distance = 0.0",
    )
    random_ = random.Random(7)
    acknowledged: set[str] = set()
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(bundle.config)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        target = random_.randint(5, 120)
        for seen, line in enumerate(process.stdout, start=1):
            acknowledged.add(line.strip())
            if seen >= target:
                break
        process.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in process.stdout if len(line) == 33}
        process.wait(timeout=10)

        folder = bundle.folder / "state" / "spool"
        ledger = {e.sample_id: e for e in read_ledger(folder)}
        lost = acknowledged - set(ledger)
        assert lost == set()
        assert {e.state for e in ledger.values()} <= {"kept", "evicted", "uploaded"}
        spool = Spool(folder, limit_bytes=150_000)
        try:
            for entry in ledger.values():
                if entry.state == "kept" and spool.blob_path(entry.sample_id).exists():
                    sealed = spool.blob_path(entry.sample_id).read_bytes()
                    assert hashlib.sha256(sealed).hexdigest() == entry.sha256
            assert not [e for e in read_ledger(folder) if e.state == "damaged"]
            assert spool.sampler.total_bytes <= 150_000
            for window, tau in spool.thresholds().items():
                rows = spool.db.execute(
                    "SELECT weight, u FROM entries WHERE window = ? AND state = 'kept' AND released = 0", (window,)
                )
                if (
                    json.loads(spool.db.execute("SELECT tally FROM windows WHERE window = ?", (window,)).fetchone()[0])[
                        "overload"
                    ]
                    == 0
                ):
                    assert all(counts_for_estimates(w, u, tau) for w, u in rows)
        finally:
            spool.close()

    last = subprocess.run(
        [
            sys.executable,
            "-m",
            "edge_client.cli.main",
            "export",
            "--config",
            str(bundle.config),
            "--json",
            str(tmp_path),
        ],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(last.stdout)["windows"] >= 1
    # As the help says: what the stick holds goes into the bucket, which has the shards that were already sent.
    (bundle.folder / "bucket").mkdir(exist_ok=True)
    shutil.copytree(tmp_path / "inbox", bundle.folder / "bucket" / "inbox", dirs_exist_ok=True)
    arrived = [sample_id for record in bundle.records() for sample_id in bundle.blobs(record)]
    assert len(arrived) == len(set(arrived))  # double: 0
    uploaded = {e.sample_id for e in read_ledger(bundle.folder / "state" / "spool") if e.state == "uploaded"}
    assert set(arrived) == uploaded  # lost: 0
    assert {e.state for e in read_ledger(bundle.folder / "state" / "spool")} <= {"uploaded", "evicted"}
