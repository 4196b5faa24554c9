"""Backup, destroy, restore, audit: what it takes, and what is found afterwards.

A plant is made: a real bucket server, a catalog with samples and their labels, a registered version in MLflow's
database, a device that inspects and uploads. It is backed up, backed up again (nothing but the databases changed),
read back, and its home directory removed. The restore goes into another home directory; the audit compares it with
what the device acknowledged, and everything else is compared with what was there: images by their bytes, labels,
versions, keys.

The limit, in the same run: reading the same objects from the bucket one after the other, and writing them and the same
database files to the same disk, each made durable, without digests, compression or encryption.

    share_of_limit   seconds of that plain copy over seconds of the first backup
    restore_share    the same copy the other way (put into the bucket) over seconds of the restore
    lost             samples, labels, versions or keys that the restored plant lacks

    python -m benchmarks.backup [--samples 2000] [--json]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from PIL import Image

from benchmarks.result import Row, tell
from data.catalog.models import LabelEventRow, SampleRow
from data.imports import import_samples
from data.sources.sample import SourceSample, Stage
from edge_client import Client
from edge_client.contract.bucket import DirectoryBucket
from infra.backup.restore import restore_backup
from infra.backup.sealing import open_identity
from infra.backup.take import take_backup
from infra.backup.verify import verify_backup
from infra.cli.main import main as andon
from infra.stack.layout import Home
from tests.integration.keep.plant import INSPECTION, Plant, enrolled, inspect, new_plant, running
from training.evaluate import Measure

PASSPHRASE = "a passphrase for a benchmark"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="images in the lake, about 25 kB each")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        seconds, lost, size = drill(Path(folder), args.samples)
    rows = [Row.of(case, "s", [value]) for case, value in seconds.items()]
    rows.append(Row.of("bytes backed up", "MB", [size / 1e6]))
    once = seconds["plain copy of the same bytes"] / seconds["first backup"]
    back = seconds["plain put of the same bytes"] / seconds["restore"]
    figures = {
        "share_of_limit": Measure(value=once, low=once, high=once, n=1),
        "restore_share": Measure(value=back, low=back, high=back, n=1),
        "lost": Measure(value=float(lost), low=float(lost), high=float(lost), n=args.samples),
    }
    tell("backup", rows, figures, as_json=args.json)


def drill(folder: Path, samples: int) -> tuple[dict[str, float], int, int]:
    """Seconds of each step, what is lost, and how many bytes the backup is of."""
    seconds: dict[str, float] = {}
    store = DirectoryBucket(folder / "backups")
    with new_plant(folder) as plant:
        bundle = enrolled(plant, "cam-1", folder / "cam-1")
        fill(plant, samples)
        with Client.from_config(bundle.config) as client:
            inspect(client, 0, 40)
        plant.ingest()
        plant.label_all()
        seconds["plain copy of the same bytes"] = timed(lambda: plain_copy(plant, folder / "plain"))
        first = take_backup(plant.home, store, passphrase=PASSPHRASE)
        seconds["first backup"] = first.seconds
        again = take_backup(plant.home, store)
        seconds["backup with nothing new"] = again.seconds
        identity = open_identity(store, passphrase=PASSPHRASE, identity=None)
        began = time.monotonic()
        found = verify_backup(store, again.manifest, identity=identity)
        seconds["verify"] = time.monotonic() - began
        assert not found.faults, found.faults
        before = inventory(plant)
        seconds["plain put of the same bytes"] = timed(lambda: plain_put(plant, folder / "plain"))
    shutil.rmtree(plant.home.path)
    home = Home(folder / "elsewhere")
    seconds["restore"] = restore_backup(home, store, again.manifest, identity).seconds
    with running(home) as plant:
        after = inventory(plant)
        began = time.monotonic()
        with redirect_stdout(sys.stderr):
            code = andon(["audit", "--home", str(home.path), "--config", str(bundle.config)])
        seconds["audit"] = time.monotonic() - began
    lost = sum(after.get(name) != value for name, value in before.items()) + (code != 0)
    return seconds, lost, again.manifest.total_bytes


def fill(plant: Plant, samples: int) -> None:
    """Samples with labels, and a registered version."""
    report = import_samples(plant.workspace.catalog(), plant.workspace.lake(), INSPECTION, pictures(samples))
    assert report.imported == samples, report
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{plant.home.mlflow / 'mlflow.db'}")
    run = client.create_run(client.create_experiment("solar", artifact_location="mlflow-artifacts:/1"))
    client.create_registered_model(INSPECTION)
    source = f"mlflow-artifacts:/1/{run.info.run_id}/artifacts"
    plant.workspace.bucket().put(f"mlflow/1/{run.info.run_id}/artifacts/engine.onnx", os.urandom(4_500_000))
    client.create_model_version(INSPECTION, source, run.info.run_id)


def pictures(samples: int) -> Iterator[SourceSample]:
    """Noise, which no format makes small."""
    random = np.random.default_rng(0)
    for number in range(samples):
        buffer = BytesIO()
        Image.fromarray(random.integers(0, 256, (96, 96, 3), np.uint8)).save(buffer, "PNG")
        yield SourceSample(
            image=buffer.getvalue(),
            media_type="image/png",
            label=("ok", "defect")[number % 10 == 0],
            path=f"{number}.png",
            stage=Stage.FACTORY,
        )


def plain_copy(plant: Plant, folder: Path) -> None:
    """The limit of a backup."""
    bucket = plant.workspace.bucket()
    plain = DirectoryBucket(folder)
    for info in bucket.list(""):
        plain.put(info.key, bucket.get(info.key, max_bytes=1 << 30))
    for path in (plant.home.path / "catalog.db", plant.home.mlflow / "mlflow.db"):
        plain.put(f"databases/{path.name}", path.read_bytes())


def plain_put(plant: Plant, folder: Path) -> None:
    """The limit of a restore."""
    bucket, plain = plant.workspace.bucket(), DirectoryBucket(folder)
    for info in plain.list(""):
        bucket.put(f"again/{info.key}", plain.get(info.key, max_bytes=1 << 30))


def inventory(plant: Plant) -> dict[str, Any]:
    """Everything that must be there afterwards, by name."""
    lake = plant.workspace.lake()
    found: dict[str, Any] = {}
    with plant.workspace.catalog().reading() as session:
        for row in session.query(SampleRow).order_by(SampleRow.lake_path, SampleRow.lake_row):
            image, _ = lake.image(row.lake_path, row.lake_row)
            found[f"sample {row.sample_id}"] = hashlib.sha256(image).hexdigest()
        for label in session.query(LabelEventRow):
            found[f"label {label.event_id}"] = (label.sample_id, tuple(label.classes), label.who, label.at)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{plant.home.mlflow / 'mlflow.db'}")
    for version in client.search_model_versions(f"name = '{INSPECTION}'"):
        engine = plant.workspace.bucket().get(f"mlflow/1/{version.run_id}/artifacts/engine.onnx", max_bytes=1 << 30)
        found[f"version {version.version}"] = hashlib.sha256(engine).hexdigest()
    for path in sorted(plant.home.keys.glob("*.*")):
        found[f"key {path.name}"] = path.read_bytes()
    return found


def timed(work: Any) -> float:
    """Seconds that it takes."""
    began = datetime.now(UTC)
    work()
    return (datetime.now(UTC) - began).total_seconds()


if __name__ == "__main__":
    main()
