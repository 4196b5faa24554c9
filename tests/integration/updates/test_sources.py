"""Updates without the bucket: from a stick in a process without any network, and from a mirror on the local network
while the bucket is dead. Real bucket server, real commands in processes of their own, real trials.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_client.contract.bucket import S3Bucket, S3Settings
from infra.cli.main import main as andon
from tests.integration.capture.weed import Weed, running_weed
from tests.unit.updates.release_world import INSPECTION, World, digest

ROOT = Path(__file__).parents[3]
EDGE = [sys.executable, "-m", "edge_client.cli.main"]


class Plant:
    """A real bucket with a release in it, and devices enrolled there."""

    def __init__(self, weed: Weed, folder: Path) -> None:
        self.weed = weed
        self.world = World(folder)
        self.world.cloud_clock.at = datetime.now(UTC)
        self._device = weed.enrol("line-1")

    def release(self, engine_id: str) -> bytes:
        engine = self.world.release(engine_id)
        bucket = S3Bucket.connect(self.weed.settings)
        for info in self.world.bucket.list("releases/"):
            bucket.put(info.key, self.world.bucket.get(info.key, max_bytes=1 << 24))
        return engine

    def device(self, name: str, *, mirrors: tuple[str, ...] = ()) -> Path:
        """Make a device's folder; return its configuration."""
        folder = self.world.folder / name
        folder.mkdir()
        (folder / "root.json").write_bytes(self.world.repository.root_bytes())
        (folder / "device.key").write_text("unused here")
        shutil.copy(self.world.folder / "factory.onnx", folder)
        _write_credentials(folder / "credentials.toml", self._device)
        (folder / "andon.toml").write_text(
            f"""
            [device]
            name = "line-1"
            site = "plant-a"
            station = "aoi-3"
            key = "device.key"
            [inspection]
            name = "{INSPECTION}"
            factory_engine = "factory.onnx"
            [bucket]
            name = "{self._device.bucket}"
            endpoint_url = "{self._device.endpoint_url}"
            credentials = "credentials.toml"
            [releases]
            root = "root.json"
            mirrors = {json.dumps(mirrors)}
            [capture]
            enabled = false
            """
        )
        return folder / "andon.toml"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    with running_weed(folder / "weed") as weed:
        yield Plant(weed, folder)


def edge(*words: object, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run a command of the device and return what it tells."""
    command = [*before, *EDGE, *map(str, words), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def without_network() -> tuple[str, ...]:
    """A prefix that takes every network from a process, the loopback too."""
    prefix = ("unshare", "--map-root-user", "--net", "--")
    if shutil.which(prefix[0]) is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("this system lets no process give up its network")
    return prefix


def test_a_stick_updates_a_device_that_has_no_network(plant: Plant) -> None:
    engine = plant.release("e1")
    stick = plant.world.folder / "stick"
    stick.mkdir()
    report = edge("mirror", stick, "--config", plant.device("office"))
    assert report["fetched_bytes"] >= len(engine)
    config = plant.device("cellar")
    told = edge("update", "--config", config, "--from", stick, before=without_network())
    assert (told["check"], told["engine_id"], told["source"]) == ("swapped", "e1", str(stick))
    assert digest((config.parent / "state/updates/slot-a/engine.onnx").read_bytes()) == digest(engine)


def test_the_cloud_writes_the_same_stick(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    engine = plant.release("e3")
    settings, home, stick = plant.weed.settings, plant.world.folder / "home", plant.world.folder / "cloud-stick"
    home.mkdir()
    stick.mkdir()
    about = {"urls": {"bucket": settings.endpoint_url}, "bucket": {"name": settings.bucket}}
    (home / "stack.json").write_text(json.dumps(about))
    secrets = {"access_key_id": settings.access_key_id, "secret_access_key": settings.secret_access_key}
    (home / "secrets.json").write_text(json.dumps(secrets))
    assert andon(["export-stick", str(stick), "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] > len(engine)
    assert andon(["export-stick", str(home / "none"), "--home", str(home)]) == 1
    assert "is not a folder" in capsys.readouterr().err
    told = edge("update", "--config", plant.device("cellar-2"), "--from", stick)
    assert (told["check"], told["engine_id"]) == ("swapped", "e3")


def test_a_mirror_updates_devices_while_the_bucket_is_dead(plant: Plant) -> None:
    engine = plant.release("e4")
    folder = plant.world.folder / "mirror"
    folder.mkdir()
    command = [*EDGE, "mirror", str(folder), "--config", str(plant.device("server")), "--port", "0", "--json"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}/"
        assert json.loads(server.stdout.readline())["files"] > 0
        plant.weed.kill()
        config = plant.device("line", mirrors=(url,))
        told = edge("update", "--config", config)
        assert (told["check"], told["engine_id"], told["source"]) == ("swapped", "e4", url)
        assert digest((config.parent / "state/updates/slot-a/engine.onnx").read_bytes()) == digest(engine)
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=20) == 0


def _write_credentials(path: Path, settings: S3Settings) -> None:
    path.write_text(f'access_key_id = "{settings.access_key_id}"\nsecret_access_key = "{settings.secret_access_key}"\n')
