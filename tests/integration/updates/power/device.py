"""A device as a process: serves at once, looks for a release, and serves on until that is confirmed.

    python -m tests.integration.updates.power.device FOLDER INSPECTION

``FOLDER`` has ``factory.onnx``, ``root.json``, ``cloud/`` and ``state/``. Tells a line of JSON when the first frame is
answered (``serving``: the engine's digest), and one at the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import BadEngine
from edge_client.updates.rules import Limits
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig

_FRAME = np.full((300, 300, 3), 120, np.uint8)


def main() -> None:
    """Play the device."""
    folder = Path(sys.argv[1])
    config = UpdaterConfig(
        device="line-1",
        inspection=sys.argv[2],
        channel="stable",
        state=folder / "state" / "updates",
        factory_engine=folder / "factory.onnx",
        root=(folder / "root.json").read_bytes(),
        limits=Limits(probation_frames=3),
    )
    device = Updater.open(config, DirectoryBucket(folder / "cloud"))
    lost = _serve(device, 1)
    print(json.dumps({"serving": device.slot.engine.sha256}), flush=True)
    for _ in range(2):
        device.check_once()
        lost += _serve(device, 3)
    status = device.status()
    device.stop()
    told = {"engine": status.engine_sha256, "phase": status.phase, "lost": lost}
    print(json.dumps({**told, "quarantined": [q.engine_sha256 for q in status.quarantined]}), flush=True)


def _serve(device: Updater, n: int) -> int:
    """Answer n frames as a client would; return how many were lost."""
    lost = 0
    for _ in range(n):
        with device.slot.lease() as engine:
            try:
                engine.run(_FRAME)
            except BadEngine:
                lost += 1
                device.observe(False, 1.0, engine.sha256)
            else:
                device.observe(True, 1.0, engine.sha256)
    return lost


if __name__ == "__main__":
    main()
