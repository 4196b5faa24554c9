"""The drill: a cloud is backed up while it works, destroyed, restored elsewhere, audited; its devices go on."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pyrage
import pytest

from data.catalog.models import LabelEventRow, SampleRow
from edge_client import Client
from edge_client.contract.bucket import DirectoryBucket
from infra.backup.manifest import backup_ids, read_manifest
from infra.backup.objects import noted
from infra.backup.references import dangling
from infra.backup.sealing import open_file, open_identity
from infra.backup.store import BACKUPS, PROGRESS, SEALED, BackupError, object_key
from infra.backup.take import take_backup
from infra.cli.main import main
from infra.stack.layout import RESTORING_FILE, Home
from tests.integration.keep.plant import (
    INSPECTION,
    Plant,
    Writer,
    enrolled,
    inspect,
    new_plant,
    running,
    start_andon,
    wait_until,
)

PASSPHRASE = "as long as it takes"
ARTIFACTS = 300  # small objects: more than one note of a backup, so that a kill comes between two


def test_a_cloud_is_backed_up_destroyed_restored_and_its_devices_go_on(tmp_path: Path, capsys) -> None:
    secret, recipient = an_identity(tmp_path)
    place = tmp_path / "backups"
    with new_plant(tmp_path) as plant:
        bundle = enrolled(plant, "cam-1", tmp_path / "cam-1")
        with Client.from_config(bundle.config) as client:
            inspect(client, 0, 20)
            plant.ingest()
            plant.label_all()
            register(plant)
            plant.publish("e2", "7")
            wait_until(lambda: client.engine_metadata.engine_id == "e2", "the released engine")

            a_killed_backup_leaves_notes(plant, place, recipient)
            with Writer(plant, client) as writer:
                taken = take_backup(plant.home, DirectoryBucket(place))
                rounds = writer.rounds
                wait_until(lambda: writer.rounds > rounds or writer.problem, "another round")
            assert taken.reused > 0
            assert not list(DirectoryBucket(place).list(PROGRESS))
            it_is_of_one_moment(plant, place, taken.manifest.id, secret)
        # What came after that backup is in the next.
        inspect_again(bundle, plant)
        assert main(["backup", str(place), "--home", str(plant.home.path), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["unchanged"] >= ARTIFACTS
        nothing_secret_lies_open(plant, place)
        before = what_is_there(plant)
        versions = versions_of(plant)
        # Signed after the backup: the devices see what the backup does not know.
        plant.publish("e3", "8")
        with Client.from_config(bundle.config) as client:
            wait_until(lambda: client.engine_metadata.engine_id == "e3", "a release after the backup")
        later = versions_of(plant)
        assert later["timestamp"] > versions["timestamp"]

    shutil.rmtree(plant.home.path)  # its processes were killed with it
    assert main(["backup", str(place), "--verify", "--identity-file", str(secret), "--json"]) == 0
    capsys.readouterr()

    home = Home(tmp_path / "elsewhere")
    a_killed_restore_is_no_installation(home, place, secret, capsys)
    assert main(["restore", str(place), "--home", str(home.path), "--identity-file", str(secret), "--json"]) == 0
    restored = json.loads(capsys.readouterr().out)
    assert restored["put"] < restored["objects"]  # what the killed one did was not done again
    assert restored["waiting_for_a_person"] == []
    assert restored["metadata_versions"]["timestamp"] > later["timestamp"]
    with running(home) as plant:
        assert what_is_there(plant) == before
        with Client.from_config(bundle.config) as client:
            # e3 went down with its cloud: the signed channel names e2 again, newer than all that the device has seen.
            wait_until(lambda: client.engine_metadata.engine_id == "e2", "the restored release")
            inspect(client, 5000, 10)
            plant.ingest()
            plant.publish("e4", "9")
            wait_until(lambda: client.engine_metadata.engine_id == "e4", "a release after the restore")
        assert main(["audit", "--home", str(home.path), "--config", str(bundle.config), "--json"]) == 0
        audit = json.loads(capsys.readouterr().out)
        assert audit["clean"]
        assert audit["in_catalog"] >= 30


def a_killed_backup_leaves_notes(plant: Plant, place: Path, recipient: str) -> None:
    store = DirectoryBucket(place)
    process = start_andon(plant.home, "backup", str(place), "--recipient", recipient)
    try:
        wait_until(lambda: noted(store) or process.poll() is not None, "a note of the backup")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not list(store.list(BACKUPS))
    with pytest.raises(BackupError, match="no finished backup"):
        read_manifest(store)


def it_is_of_one_moment(plant: Plant, place: Path, backup_id: str, secret: Path) -> None:
    """All that was in the catalog then is in the copy, and all that the copy names is in the backup."""
    store = DirectoryBucket(place)
    manifest = read_manifest(store, backup_id)
    copy = secret.with_name("copy.sqlite")
    file = manifest.file("catalog.sqlite")
    assert file is not None
    open_file(store, file, open_identity(store, passphrase=None, identity=secret), copy)
    assert dangling(copy, {item.key for item in manifest.objects}) == []
    with closing(sqlite3.connect(copy)) as connection:
        held = {i for (i,) in connection.execute("SELECT sample_id FROM samples")}
    with plant.workspace.catalog().reading() as session:
        earlier = {row.sample_id for row in session.query(SampleRow) if row.ingested_at < manifest.at}
        assert len(earlier) < session.query(SampleRow).count()  # it was written to meanwhile
    assert earlier <= held


def an_identity(folder: Path) -> tuple[Path, str]:
    """An age identity of the person's own, and its recipient. A passphrase costs a second each time, on purpose."""
    identity = pyrage.x25519.Identity.generate()
    path = folder / "identity.txt"
    path.write_text(f"# kept in a safe\n{identity}\n")
    return path, str(identity.to_public())


def inspect_again(bundle, plant: Plant) -> None:
    with Client.from_config(bundle.config) as client:
        inspect(client, 3000, 5)
    plant.ingest()
    plant.label_all()


def nothing_secret_lies_open(plant: Plant, place: Path) -> None:
    secrets = json.loads(plant.home.secrets_file.read_text())
    wanted = [*secrets.values(), "PRIVATE KEY", "AGE-SECRET-KEY", "SQLite format 3", "secretKey"]
    for path in place.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [word for word in wanted if word.encode() in data], path


def registry_of(plant: Plant) -> mlflow.MlflowClient:
    """Both addresses are named: a test before this one may have set the process's own."""
    database = f"sqlite:///{plant.home.mlflow / 'mlflow.db'}"
    return mlflow.MlflowClient(tracking_uri=database, registry_uri=database)


def register(plant: Plant) -> None:
    """A registered version in MLflow's own database, its artifacts in the bucket."""
    client = registry_of(plant)
    run = client.create_run(client.create_experiment("solar", artifact_location="mlflow-artifacts:/1"))
    client.create_registered_model(INSPECTION)
    version = client.create_model_version(
        INSPECTION, f"mlflow-artifacts:/1/{run.info.run_id}/artifacts", run.info.run_id
    )
    client.set_registered_model_alias(INSPECTION, "champion", version.version)
    bucket = plant.workspace.bucket()
    for number in range(ARTIFACTS):
        bucket.put(f"mlflow/1/{run.info.run_id}/artifacts/{number}.txt", f"artifact {number}".encode())


def what_is_there(plant: Plant) -> dict[str, object]:
    """Samples, labels, versions, artifacts, keys and the policy, as they are read."""
    lake, bucket = plant.workspace.lake(), plant.workspace.bucket()
    with plant.workspace.catalog().reading() as session:
        samples = {
            row.sample_id: lake.image(row.lake_path, row.lake_row)[0]
            for row in session.query(SampleRow).order_by(SampleRow.sample_id)
        }
        labels = [(row.event_id, row.sample_id, row.classes, row.who, row.at) for row in session.query(LabelEventRow)]
    client = registry_of(plant)
    return {
        "samples": samples,
        "labels": labels,
        "version": client.get_model_version_by_alias(INSPECTION, "champion").run_id,
        "artifacts": {info.key: bucket.get(info.key, max_bytes=1000) for info in bucket.list("mlflow/")},
        "keys": {p.name: p.read_bytes() for p in plant.home.keys.glob("*.*") if p.name != "least-versions.json"},
        "policy": plant.home.policy_file.read_text(),
        "secrets": json.loads(plant.home.secrets_file.read_text()),
    }


def versions_of(plant: Plant) -> dict[str, int]:
    from datetime import UTC, datetime

    from flows.stack import repository_of

    return repository_of(plant.workspace, lambda: datetime.now(UTC)).versions()


def a_killed_restore_is_no_installation(home: Home, place: Path, secret: Path, capsys) -> None:
    process = start_andon(home, "restore", str(place), "--identity-file", str(secret))
    journal = home.path / "restore.journal"
    try:
        wait_until(
            lambda: (journal.exists() and journal.stat().st_size) or process.poll() is not None, "a part of the restore"
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert (home.path / RESTORING_FILE).exists()
    assert main(["up", "--home", str(home.path)]) == 1
    assert "andon restore" in capsys.readouterr().err


def test_a_changed_file_is_refused_by_its_name(tmp_path: Path, capsys) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE)
    place = tmp_path / "backups"
    with new_plant(tmp_path) as plant:
        plant.workspace.bucket().put("lake/solar-cells/images/2026-01-01/aa.parquet", b"an image")
        taken = take_backup(plant.home, DirectoryBucket(place), passphrase=PASSPHRASE)
    item = next(o for o in taken.manifest.objects if o.key.endswith("aa.parquet"))
    path = place / object_key(item.sha256)
    path.write_bytes(b"an imagE")
    assert main(["backup", str(place), "--verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert len(found["faults"]) == 1
    assert item.key in found["faults"][0]
    words = ["restore", str(place), "--home", str(tmp_path / "new"), "--passphrase-file", str(secret)]
    assert main(words) == 1
    assert item.key in capsys.readouterr().err
    path.write_bytes(b"an image")
    for part in sorted((place / SEALED).glob("*")):
        data = part.read_bytes()
        part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert main(["backup", str(place), "--verify", "--json"]) == 1
        assert part.name in json.loads(capsys.readouterr().out)["faults"][0]
        part.write_bytes(data)
    assert main([*words[:-1], str(tmp_path / "passphrase"), "--digest", "0" * 64]) == 1
    assert "was changed" in capsys.readouterr().err
    assert backup_ids(DirectoryBucket(place)) == [taken.manifest.id]
