"""The runbook of docs/keys.md, executed as it is written, against a real bucket; a real device follows each command.

Every fenced block that begins with ``sh`` is carried out line by line; after each block an engine is approved and
released with the keys that are in force, and the device takes it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from string import Template

import pytest

from edge_client.clock import SystemClock
from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import Refused
from edge_client.contract.releases import Channel, engine_target, selftest_target
from edge_client.contract.sealing import generate_identity
from edge_client.updates.outcome import Check
from edge_client.updates.rules import Limits
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from flows.releases.keyring import KeyAway, KeyRing
from flows.releases.repository import ReleaseRepository
from infra.cli.main import main
from infra.stack.foundation import lay
from tests.integration.capture.weed import Weed, running_weed
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import digest, looking_away, passing, selftest_of, serve

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "keys.md"
BLOCKS = re.findall(r"^## (.+?)$|^```sh\n(.+?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


def drills() -> list[tuple[str, str]]:
    """(heading, script) of every block, in order."""
    heading, found = "", []
    for title, script in BLOCKS:
        if title:
            heading = title
        else:
            found.append((heading, script))
    return found


@dataclass
class Plant:
    """A home directory on a real bucket, a person's two media, and a device in the field."""

    folder: Path
    weed: Weed
    number: int = 0

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        self.keys, self.safe = self.folder / "stick", self.folder / "safe"
        for name in ("pass", "safepass"):
            (self.folder / name).write_text(f"a long passphrase of {name}\n")
        self.home.mkdir()
        settings = self.weed.settings
        (self.home / "keys").mkdir(mode=0o700)
        generate_identity(self.home / "keys" / "recipient.age")
        stack = {"urls": {"bucket": settings.endpoint_url}, "bucket": {"name": settings.bucket}}
        (self.home / "stack.json").write_text(json.dumps(stack))
        secrets = {"access_key_id": settings.access_key_id, "secret_access_key": settings.secret_access_key}
        (self.home / "secrets.json").write_text(json.dumps(secrets))
        lay(self.home)
        self.root = self.repository().root_bytes()
        self.device = self.enrolled("line-1", self.root)

    def repository(self) -> ReleaseRepository:
        """The cloud's, with the person's keys brought."""
        person = self.keys if self.keys.is_dir() else None
        secret = (self.folder / "pass").read_text().strip().encode()
        ring = KeyRing(self.home / "keys", person=person, passphrase=lambda _: secret)
        bucket = S3Bucket.connect(self.weed.settings)
        return ReleaseRepository(bucket, self.home / "keys", SystemClock(), ring=ring, inspect=looking_away)

    def enrolled(self, name: str, root: bytes) -> Updater:
        """A device's real updater, with a device's rights."""
        factory = self.folder / "factory.onnx"
        factory.write_bytes(tiny_engine(engine_id="factory"))
        config = UpdaterConfig(
            device=name,
            inspection="solar-cells",
            channel="stable",
            state=self.folder / name / "updates",
            factory_engine=factory,
            root=root,
            limits=Limits(probation_frames=3),
        )
        return Updater.open(config, S3Bucket.connect(rights(self.weed, name)), random=Random(0), tries=passing)

    def sh(self, script: str) -> None:
        """Carry out a block of the document, line by line: `andon` in this process, all else by a shell."""
        places = {
            "HOME_DIR": str(self.home),
            "KEYS": str(self.keys),
            "SAFE": str(self.safe),
            "PASS": str(self.folder / "pass"),
            "SAFEPASS": str(self.folder / "safepass"),
        }
        for line in script.splitlines():
            if line.startswith("andon "):
                words = [Template(word).substitute(places) for word in shlex.split(line)[1:]]
                assert main([*words, "--home", str(self.home)]) == 0, line
            else:
                subprocess.run(["bash", "-euc", line], env={**os.environ, **places}, timeout=60, check=True)

    def release(self) -> str:
        """Approve the next engine and name it; return its digest."""
        self.number += 1
        engine_id = f"e{self.number}"
        engine = tiny_engine(engine_id=engine_id)
        repository = self.repository()
        sha256 = repository.publish_engine("solar-cells", engine_id, engine, selftest_of(engine))
        repository.set_channel(
            Channel(
                inspection="solar-cells",
                channel="stable",
                engine_path=engine_target("solar-cells", engine_id),
                engine_sha256=sha256,
                engine_bytes=len(engine),
                engine_id=engine_id,
                version=str(self.number),
                selftest_path=selftest_target("solar-cells", engine_id),
                issued_at=datetime.now(UTC),
            )
        )
        return sha256


def rights(weed: Weed, device: str) -> S3Settings:
    """A device's own rights; new IAM users take a moment to be known."""
    settings = weed.enrol(device)
    bucket = S3Bucket.connect(settings, attempts=1)
    for _ in range(200):
        try:
            bucket.get("releases/metadata/1.root.json", max_bytes=1 << 20)
        except Refused:
            continue
        return settings
    raise AssertionError(f"the rights of {device} never came into force")


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    with running_weed(tmp_path_factory.mktemp("weed")) as weed:
        yield Plant(folder, weed)


def followed(device: Updater, sha256: str) -> bool:
    """Whether a device takes what was released."""
    outcome = device.check_once()
    assert outcome.check is Check.SWAPPED, outcome
    assert serve(device, 3) == 0
    return device.slot.engine.sha256 == sha256


def test_every_documented_command_works_and_the_device_follows(plant: Plant) -> None:
    assert followed(plant.device, plant.release())
    before = plant.repository().versions()
    for heading, script in drills():
        plant.sh(script)
        sha256 = plant.release()
        assert followed(plant.device, sha256), f"after {heading!r}:\n{script}"
    assert plant.device.status().metadata_versions["root"] > 8  # it followed every root
    late = plant.enrolled("line-2", plant.root)  # enrolled before the first rotation, switched on only now
    assert followed(late, sha256)
    assert plant.repository().versions()["timestamp"] > before["timestamp"]

    # without the stick nothing is approved, and everything else goes on
    plant.keys.rename(plant.folder / "stick-in-a-pocket")
    with pytest.raises(KeyAway, match=r"waits for approval: .* `andon approve solar-cells"):
        plant.release()
    plant.repository().refresh_timestamp()
    assert plant.device.check_once().check is Check.UP_TO_DATE
    assert plant.device.slot.engine.sha256 == sha256
    assert digest(tiny_engine(engine_id=f"e{plant.number - 1}")) == sha256
    for updater in (plant.device, late):
        updater.stop()


def test_the_documented_drills_cover_rotation_loss_and_theft_of_every_role() -> None:
    text = "\n".join(script for _, script in drills())
    rotated = {role for line in text.splitlines() if "keys rotate" in line for role in line.split() if role.isalpha()}
    stolen = {role for line in text.splitlines() if "--stolen" in line for role in line.split() if role.isalpha()}
    lost = set(re.findall(r"/(\w+)\.pem", "\n".join(line for line in text.splitlines() if line.startswith("rm "))))
    roles = {"root", "targets", "engines", "rollouts", "snapshot", "timestamp"}
    assert roles <= rotated
    assert roles <= stolen
    assert roles == lost
