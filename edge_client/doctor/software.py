"""The client's own software: whether an upgrade could be built here, and what this device has left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

from edge_client.config import Config
from edge_client.doctor.finding import Finding, ok, problem, warning
from edge_client.software.protocol import last_launch
from edge_client.software.rules import Place
from edge_client.software.store import SoftwareStore
from edge_client.software.upgrade import describe

_SECONDS = 60.0


def check_software(config: Config) -> Iterator[Finding]:
    """Look at what a launcher works on; a device that was never launched has nothing to look at."""
    folder = config.device.state / "software"
    launched = last_launch(folder)
    if launched is None:
        yield ok("software", "no launcher: the client is upgraded with whatever installs it")
        return
    store = SoftwareStore(folder)
    state = store.load()
    told = describe(state, launched)
    for place in (Place.A, Place.B):
        python = store.environment(place) / "bin" / "python"
        if state.at(place) is not None and not os.access(python, os.X_OK):
            yield warning(
                "software",
                f"environment {place.value} cannot be started: {python} is gone, or the Python under it",
                "nothing: the launcher leaves it for the base, and the release is built again",
            )
    for left in told["quarantine"]:
        yield warning(
            "software",
            f"client {left['version']} was left: {left['reason']}",
            f"publish a better one; `andon-edge upgrade --forgive {left['version']}` lets it be taken again",
        )
    try:
        asked = [str(launched.base_python), "-I", "-c", "import venv, pip"]
        able = subprocess.run(asked, capture_output=True, timeout=_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        able = False
    if not able:
        yield problem(
            "software",
            f"the base environment of {launched.base_python} has no venv or no pip: no upgrade can be built",
            "install them there, such as by `apt install python3-venv` and a new environment",
        )
        return
    yield ok("software", f"client {told['version']} in {told['active']}, {told['phase']}; upgrades can be built")
