"""Sealing, manifests, copying and pruning, on folders; the numbers are those of the package's rules."""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from edge_client.contract.bucket import DirectoryBucket, ObjectInfo
from edge_client.contract.errors import ConfigError
from infra.backup.databases import copies, databases_of
from infra.backup.home_files import pack_home, unpack_home
from infra.backup.manifest import Manifest, read_manifest, write_manifest
from infra.backup.objects import Copier, missing_from, noted
from infra.backup.pruning import prune
from infra.backup.references import dangling
from infra.backup.sealing import open_file, open_identity, recipient_for, seal_file
from infra.backup.store import OBJECTS, BackupError, PrefixBucket, open_store
from infra.backup.verify import verify_backup
from infra.stack.layout import Home

AT = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def source(tmp_path: Path) -> DirectoryBucket:
    bucket = DirectoryBucket(tmp_path / "bucket")
    for number in range(5):
        bucket.put(f"lake/{number}", f"content {number % 4}".encode())
    return bucket


@pytest.fixture
def store(tmp_path: Path) -> DirectoryBucket:
    return DirectoryBucket(tmp_path / "store")


def copied(source: DirectoryBucket, store: DirectoryBucket, known=None) -> Copier:
    copier = Copier(source=source, store=store, known=known or {})
    copier.look_at_store()
    copier.copy("")
    return copier


def manifest_of(copier: Copier, backup_id: str) -> Manifest:
    objects = tuple(copier.taken[key] for key in sorted(copier.taken))
    return Manifest(id=backup_id, at=AT, version="1", objects=objects, files=())


def test_a_content_is_stored_once_and_what_did_not_change_is_not_read_again(source, store) -> None:
    first = copied(source, store)
    assert len(list(store.list(OBJECTS))) == 4
    assert (first.reused, len(first.taken)) == (0, 5)
    source.put("lake/9", b"new")
    again = copied(source, store, first.taken)
    assert (again.reused, again.read_bytes) == (5, 3)
    # What the store lost is copied anew, although it did not change.
    lost = next(iter(store.list(OBJECTS)))
    store.delete(lost.key)
    assert missing_from(store, again.taken)
    assert not missing_from(store, copied(source, store, again.taken).taken)


def test_an_object_that_changed_under_its_key_is_read_again(source, store) -> None:
    first = copied(source, store)
    source.put("lake/0", b"content X")  # of the same size
    assert copied(source, store, first.taken).taken["lake/0"].sha256 != first.taken["lake/0"].sha256


def test_notes_tell_what_a_killed_backup_had_copied(source, store) -> None:
    copier = copied(source, store)
    copier.note()
    assert set(noted(store)) == set(copier.taken)
    store.put("progress/000009.json", b"cut off in the mid")
    assert set(noted(store)) == set(copier.taken)
    copier.forget_notes()
    assert noted(store) == {}


def test_pruning_keeps_what_any_backup_that_stays_names(source, store) -> None:
    one = copied(source, store)
    write_manifest(store, manifest_of(one, "1"))
    source.put("lake/0", b"other")
    source.delete("lake/1")
    two = copied(source, store, one.taken)
    write_manifest(store, manifest_of(two, "2"))
    assert prune(store, 1) == ["1"]
    kept = read_manifest(store)
    assert kept.id == "2"
    assert not verify_backup(store, kept).faults
    assert len(list(store.list(OBJECTS))) == len({item.sha256 for item in kept.objects}) == 4


def test_a_manifest_is_read_as_it_was_written_and_a_changed_one_is_named(source, store) -> None:
    written = manifest_of(copied(source, store), "1")
    digest = write_manifest(store, written)
    assert read_manifest(store, digest=digest) == written
    with pytest.raises(BackupError, match=r"backups/1/manifest\.json was changed"):
        read_manifest(store, digest="0" * 64)
    store.put("backups/1/manifest.json", b'{"format": 1}')
    with pytest.raises(BackupError, match=r"backups/1/manifest\.json is damaged"):
        read_manifest(store)


def test_a_sealed_file_opens_with_the_identity_alone_and_later_backups_need_only_the_place(
    tmp_path: Path, store
) -> None:
    secret, mine = tmp_path / "secret", pyrage.x25519.Identity.generate()
    secret.write_bytes(b"the key" * 1000)
    with pytest.raises(BackupError, match="--passphrase-file"):
        recipient_for(store, passphrase=None, recipient=None)
    recipient = recipient_for(store, passphrase=None, recipient=str(mine.to_public()))
    assert recipient_for(store, passphrase=None, recipient=None) == recipient
    sealed = seal_file(store, secret, "secret", recipient)
    assert all(b"the key" not in path.read_bytes() for path in store.path.rglob("*") if path.is_file())
    (tmp_path / "mine.age").write_text(f"# a comment\n{mine}\n")
    identity = open_identity(store, passphrase=None, identity=tmp_path / "mine.age")
    open_file(store, sealed, identity, tmp_path / "opened")
    assert (tmp_path / "opened").read_bytes() == secret.read_bytes()
    assert (tmp_path / "opened").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupError, match="not with a passphrase"):
        open_identity(store, passphrase="open sesame", identity=None)
    (tmp_path / "other.age").write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(BackupError, match="these backups are for"):
        open_identity(store, passphrase=None, identity=tmp_path / "other.age")


def test_a_copy_of_the_databases_is_of_the_moment_at_which_the_first_was_opened(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    for path in (home.path / "catalog.db", home.mlflow / "mlflow.db"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE samples (lake_path TEXT)")
            connection.execute("INSERT INTO samples VALUES ('lake/a')")
            connection.commit()
    databases = databases_of(home, {})
    with copies(databases, tmp_path / "work") as made:
        assert sorted(made) == ["catalog.sqlite", "mlflow.sqlite"]
        assert dangling(made["catalog.sqlite"], {"lake/a"}) == []
        assert dangling(made["catalog.sqlite"], set()) == ["lake/a"]
        assert made["mlflow.sqlite"].stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "work").exists()


def test_a_home_is_packed_without_what_a_device_keeps_for_itself(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    wanted = {"keys/root.pem": 0o600, "devices/cam/andon.toml": 0o644, "policy.toml": 0o644, "secrets.json": 0o600}
    for name in (*wanted, "devices/cam/state/spool/spool.db", "cache/x", "logs/bucket.log", "keys/.lock"):
        path = home.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(wanted.get(name, 0o600))
    assert pack_home(home, tmp_path / "home.tar", {"accounts.json": b"{}"}) == len(wanted) + 1
    names = unpack_home(tmp_path / "home.tar", tmp_path / "out")
    assert sorted(names) == sorted([*wanted, "accounts.json"])
    assert (tmp_path / "out/keys/root.pem").stat().st_mode & 0o777 == 0o600


def test_a_tar_that_reaches_out_of_the_home_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        info = tarfile.TarInfo("../outside")
        tar.addfile(info)
    with pytest.raises(BackupError, match="outside"):
        unpack_home(tmp_path / "evil.tar", tmp_path / "out")


def test_places_for_backups() -> None:
    assert isinstance(open_store("somewhere", environ={}), DirectoryBucket)
    account = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert isinstance(open_store("s3://bucket/plant-a", environ=account), PrefixBucket)
    for where, environ, says in (
        ("s3://bucket", {}, "AWS_ACCESS_KEY_ID"),
        ("s3:///x", account, "names no bucket"),
        ("ftp://x", account, "expected a folder or s3://"),
    ):
        with pytest.raises(ConfigError, match=says):
            open_store(where, environ=environ)


def test_a_prefix_is_a_bucket(tmp_path: Path) -> None:
    inner = DirectoryBucket(tmp_path)
    below = PrefixBucket(inner, "plant-a/")
    below.put("objects/1", b"one")
    assert inner.get("plant-a/objects/1", max_bytes=10) == b"one"
    assert [info.key for info in below.list("objects/")] == ["objects/1"]
    assert isinstance(found := below.head("objects/1"), ObjectInfo)
    assert found.key == "objects/1"
    below.delete("objects/1")
    assert below.head("objects/1") is None
