"""The folder in which the documentation is executed: what its pages take for granted lies there.

.andon/           the home directory of a real stack
.venv/            the environment that this runs in
user/images/      ~/images: made-up plates and tiles, in folders by class, and a stream of them
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from tests.docs.blocks import ROOT

SECONDS = 900  # a block may train; alone none takes more than a tenth of this


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A folder, and commands executed in it."""

    path: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What commands find."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("ANDON_", "PREFECT_", "MLFLOW_"))
        }
        return {
            **kept,
            "HOME": str(self.path / "user"),
            "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "DO_NOT_TRACK": "1",
            "PORT": str(self.port),
            "SOON": str(datetime.now(UTC).date() + timedelta(days=8)),
        }

    def bash(self, script: str, folder: Path | None = None) -> str:
        """Execute a script; return what it printed.

        Raises:
            AssertionError: It ended with another code than 0.
        """
        return self._run(["bash", "-c", script], script, folder)

    def python(self, program: str) -> str:
        """Execute a program; return what it printed."""
        return self._run([sys.executable, "-c", program], program, None)

    def _run(self, command: list[str], text: str, folder: Path | None) -> str:
        process = subprocess.Popen(
            command,
            cwd=folder or self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        assert process.returncode == 0, f"{text}\n--- exit code {process.returncode}\n{out[-4000:]}\n{err[-6000:]}"
        return out


def build(path: Path) -> World:
    """Make the folder. The stack is started by the pages themselves."""
    images = path / "user" / "images"
    for inspection, classes in {
        "plates": {"ok": 48, "scratch": 40, "dent": 16},  # as many as fine-tuning needs: twenty of two classes
        "tiles": {"free": 48, "crack": 16, "hole": 16},
    }.items():
        for seed, (name, count) in enumerate(classes.items()):
            draw(images / inspection / name, name, count, seed)
    for seed, (name, count) in enumerate({"ok": 60, "scratch": 10, "dent": 10}.items()):
        draw(images / "stream", name, count, 100 + seed, first=seed * 60)
    (path / ".venv").symlink_to(sys.prefix)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return World(path=path, port=probe.getsockname()[1])


def draw(folder: Path, kind: str, count: int, seed: int, first: int = 0) -> None:
    """Made-up parts: brushed metal with light that varies, perhaps a bright line or a dark blot on it."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:160, 0:160]
    for number in range(count):
        grain = random.normal(0, 12, (160, 1)) + random.normal(0, 6, (160, 160))
        picture = 128 + random.normal(0, 8) + grain
        x, y = random.uniform(40, 120, 2)
        if kind in ("scratch", "crack"):
            slope = random.uniform(-1, 1)
            line = np.abs(rows - y - slope * (columns - x)) < random.uniform(1.5, 3)
            picture[line & (np.abs(columns - x) < 45)] += 90
        if kind in ("dent", "hole"):
            picture[(rows - y) ** 2 + (columns - x) ** 2 < random.uniform(8, 16) ** 2] -= 80
        pixels = np.repeat(picture.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
        Image.fromarray(pixels).save(folder / f"p{first + number:03}.png")
