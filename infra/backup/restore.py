"""Restoring a backup into an empty home directory.

1. The home directory is empty, or a restore of the same backup into it was killed: then that one goes on.
2. While `restoring.json` is there `andon up` refuses to start: half a restore is never taken for a whole one.
3. Every object and file is checked before it is put in its place; a changed one ends the restore and is named.
4. The ports are those that devices know, where they are free; else they are chosen anew, and that is told.
5. The release metadata goes above every version that a device can have seen (`flows.releases.raised`): devices never go
   back. What a person signs waits for that person's key, where it is elsewhere.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from data.workspace import Workspace
from edge_client.contract.bucket import Bucket
from flows.releases.raised import least_after_restore
from flows.stack import repository_of
from infra.backup.bucket_alone import bucket_alone, import_accounts
from infra.backup.databases import Database, databases_of, put_back
from infra.backup.home_files import ACCOUNTS_FILE, STACK_FILE, unpack_home
from infra.backup.manifest import Manifest, StoredObject
from infra.backup.objects import Report
from infra.backup.sealing import open_file
from infra.backup.store import BackupError
from infra.backup.take import HOME_TAR
from infra.backup.verify import read_object
from infra.stack.atomic_json import write_json
from infra.stack.bring_up import prepare
from infra.stack.layout import RESTORING_FILE, Home
from infra.stack.ports import PORT_NAMES, choose_ports, is_free
from infra.stack.single_instance import locked
from infra.stack.state import StackState, load_state

if TYPE_CHECKING:
    import pyrage

JOURNAL_FILE = "restore.journal"
_THREADS = 4
_BATCH = 64
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored.

    Attributes:
        moved: Ports that are not what they were: name -> (before, now).
        waiting: Roles whose person must sign before devices take new releases.
    """

    manifest: Manifest
    seconds: float
    objects: int
    skipped: int
    moved: dict[str, tuple[int, int]]
    waiting: tuple[str, ...]
    versions: dict[str, int]


def restore_backup(
    home: Home,
    store: Bucket,
    manifest: Manifest,
    identity: pyrage.x25519.Identity,
    *,
    clock: Clock = lambda: datetime.now(UTC),
    report: Report = lambda _: None,
) -> Restored:
    """Put everything of a backup into `home`. Afterwards `andon up` starts it.

    Raises:
        BackupError: The home directory is not empty, or something of the backup was changed.
    """
    began = clock()
    _begin(home, manifest)
    with locked(home.up_lock, what="`andon restore`"):
        moved = _home_files(home, store, manifest, identity)
        report("keys, secrets, policy and settings are in place")
        for database in databases_of(home):
            _database(home, store, manifest, identity, database)
        report("databases are in place")
        prepare(home, restoring=True)
        with bucket_alone(home) as bucket:
            done, skipped = _objects(home, store, manifest, bucket, report)
            accounts = home.path / ACCOUNTS_FILE
            if accounts.exists():
                import_accounts(home, accounts.read_bytes())
                report("accounts of the devices are in place")
            workspace = Workspace.open(home.path)
            waiting, versions = _releases(workspace, clock)
        _finish(home, manifest, began)
    return Restored(
        manifest=manifest,
        seconds=(clock() - began).total_seconds(),
        objects=done,
        skipped=skipped,
        moved=moved,
        waiting=waiting,
        versions=versions,
    )


def _begin(home: Home, manifest: Manifest) -> None:
    marker = home.path / RESTORING_FILE
    if marker.exists():
        try:
            under_way = json.loads(marker.read_text(encoding="utf-8"))["id"]
        except (ValueError, KeyError, OSError) as error:
            raise BackupError(f"{marker} cannot be read ({error}): empty {home.path} and restore again") from error
        if under_way != manifest.id:
            raise BackupError(
                f"{home.path} holds a part of backup {under_way}: go on with --id {under_way}, or empty it first"
            )
        return
    if home.path.exists() and (not home.path.is_dir() or any(home.path.iterdir())):
        raise BackupError(f"{home.path} is not empty: a backup is restored into a new home directory, never over one")
    home.path.mkdir(parents=True, exist_ok=True)
    home.path.chmod(0o700)
    write_json(marker, {"id": manifest.id, "at": manifest.at.isoformat()})
    home.create()


def _home_files(
    home: Home, store: Bucket, manifest: Manifest, identity: pyrage.x25519.Identity
) -> dict[str, tuple[int, int]]:
    """Keys, secrets and settings; on going on the ports stay what the first try made them."""
    chosen = load_state(home)
    file = manifest.file(HOME_TAR)
    if file is None:
        raise BackupError(f"backup {manifest.id} has no {HOME_TAR}: it is not one that Andon made")
    draft = home.path / "cache" / "restored"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with _opened(home, store, manifest, identity, HOME_TAR) as tar:
            unpack_home(tar, draft)
        known = load_state(Home(draft))
        if known is None:
            raise BackupError(f"{HOME_TAR} of backup {manifest.id} has no {STACK_FILE}: it is not one that Andon made")
        state = chosen or replace(known, ports=_ports(known), supervisor=None, processes={})
        if chosen is None:
            state.save(home)  # before anything else: what is done again later finds the same ports
        (draft / STACK_FILE).unlink()
        for path in sorted(draft.rglob("*")):
            if path.is_file():
                target = home.path / path.relative_to(draft)
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {name: (known.ports[name], port) for name, port in state.ports.items() if known.ports[name] != port}


def _ports(known: StackState) -> dict[str, int]:
    kept = {name: port for name, port in known.ports.items() if is_free(port)}
    new = choose_ports([n for n in PORT_NAMES if n not in kept], random.Random(), avoid=list(kept.values()))
    return {name: kept.get(name) or new[name] for name in PORT_NAMES}


def _database(
    home: Home, store: Bucket, manifest: Manifest, identity: pyrage.x25519.Identity, database: Database
) -> None:
    if manifest.file(database.file_name) is None:
        held = [file.name for file in manifest.files if file.name.startswith(f"{database.name}.")]
        if held:
            raise BackupError(
                f"the backup holds {held[0]}, but {database.name} is to be a {database.kind} database here: name a "
                "database of the same kind (ANDON_CATALOG_URL, ANDON_MLFLOW_DATABASE_URL)"
            )
        return
    with _opened(home, store, manifest, identity, database.file_name) as copy:
        put_back(database, copy)


@contextmanager
def _opened(
    home: Home, store: Bucket, manifest: Manifest, identity: pyrage.x25519.Identity, name: str
) -> Iterator[Path]:
    file = manifest.file(name)
    assert file is not None
    path = home.path / "cache" / f"restoring-{name}"
    try:
        open_file(store, file, identity, path)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _objects(home: Home, store: Bucket, manifest: Manifest, bucket: Bucket, report: Report) -> tuple[int, int]:
    """Put what is not there yet (rule 3)."""
    journal = home.path / JOURNAL_FILE
    there = {info.key: info.bytes for info in bucket.list("")}
    noted = set(journal.read_text(encoding="utf-8").splitlines()) if journal.exists() else set()
    todo = [item for item in manifest.objects if item.key not in noted or there.get(item.key) != item.bytes]
    skipped, done, items = len(manifest.objects) - len(todo), 0, iter(todo)
    with journal.open("a", encoding="utf-8") as notes, ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(islice(items, _BATCH)):
            list(pool.map(lambda item: _put(store, bucket, item), batch))
            _note(notes, batch)
            done += len(batch)
            if done % (16 * _BATCH) == 0:
                report(f"{skipped + done} of {len(manifest.objects)} objects are in place")
    lacking = {item.key: item.bytes for item in manifest.objects}
    for info in bucket.list(""):
        if lacking.get(info.key) == info.bytes:
            del lacking[info.key]
    if lacking:
        raise BackupError(
            f"the bucket does not show {len(lacking)} objects that were put, such as {next(iter(lacking))}"
        )
    report(f"{len(manifest.objects)} objects are in place")
    return done, skipped


def _put(store: Bucket, bucket: Bucket, item: StoredObject) -> None:
    bucket.put(item.key, read_object(store, item))


def _note(notes: TextIO, batch: list[StoredObject]) -> None:
    notes.writelines(f"{item.key}\n" for item in batch)
    notes.flush()


def _releases(workspace: Workspace, clock: Clock) -> tuple[tuple[str, ...], dict[str, int]]:
    """Rule 5."""
    repository = repository_of(workspace, clock)
    if not repository.exists():
        return (), {}
    least = least_after_restore(workspace, repository.versions())
    return tuple(repository.rise_above(least)), repository.versions()


def _finish(home: Home, manifest: Manifest, began: datetime) -> None:
    (home.path / ACCOUNTS_FILE).unlink(missing_ok=True)
    state = load_state(home)
    assert state is not None
    restored: dict[str, Any] = {"backup": manifest.id, "of": manifest.at.isoformat(), "at": began.isoformat()}
    replace(state, extra={**state.extra, "restored": restored}).save(home)
    (home.path / JOURNAL_FILE).unlink(missing_ok=True)
    (home.path / RESTORING_FILE).unlink()
