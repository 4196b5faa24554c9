"""Taking a backup, in the order that the package states."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data.workspace import Workspace
from edge_client.contract.bucket import Bucket
from edge_client.version import VERSION
from flows.exclusive import only_one
from infra.backup.bucket_alone import bucket_alone, export_accounts
from infra.backup.databases import copies, databases_of
from infra.backup.home_files import ACCOUNTS_FILE, pack_home
from infra.backup.manifest import Manifest, StoredObject, backup_ids, read_manifest, write_manifest
from infra.backup.objects import Copier, Report, missing_from, noted
from infra.backup.pruning import prune
from infra.backup.references import counts, dangling
from infra.backup.sealing import SealedFile, recipient_for, seal_file
from infra.backup.store import BackupError
from infra.stack.layout import Home
from infra.stack.processes import BUCKET, process_specs
from infra.stack.secrets_file import load_secrets
from infra.stack.single_instance import is_held, locked
from infra.stack.state import load_state

HOME_TAR = "home.tar"
_METADATA, _RELEASES, _INBOX = "releases/metadata/", "releases/", "inbox/"
_ELSEWHERE = (_INBOX, _RELEASES, "probe/")
_TRIES = 3  # an object may be taken away between the copy of the catalog and that of the lake
_WAIT_SECONDS = 3600.0

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A backup that was taken.

    Attributes:
        digest: Of its manifest: who notes it down can tell a changed backup.
        reused: Objects that were there already and not read again.
        pruned: Older backups that were removed.
    """

    manifest: Manifest
    digest: str
    seconds: float
    read_bytes: int
    written_bytes: int
    reused: int
    pruned: tuple[str, ...] = ()


def take_backup(
    home: Home,
    store: Bucket,
    *,
    passphrase: str | None = None,
    recipient: str | None = None,
    keep: int | None = None,
    clock: Clock = lambda: datetime.now(UTC),
    report: Report = lambda _: None,
) -> Taken:
    """Back everything up.

    Args:
        home: The installation; its stack may run.
        store: Where to.
        passphrase: For the first backup into a store.
        recipient: Instead of a passphrase.
        keep: How many backups stay; older ones are removed. None: all.
        clock: Aware time.
        report: Gets lines of progress.

    Raises:
        AndonError: Something cannot be read or written; what was copied so far is used by the next try.
    """
    began = clock()
    with only_one(home.path, "backup", wait_seconds=_WAIT_SECONDS), _bucket_of(home) as source:
        to = recipient_for(store, passphrase=passphrase, recipient=recipient)
        known = _known(store)
        copier = Copier(source=source, store=store, known=known, report=report)
        copier.look_at_store()
        if known:
            report(f"{len(known)} objects are known from an earlier backup")
        for attempt in range(1, _TRIES + 1):
            at, files, facts, lost = _once(home, store, copier, to, clock, report)
            if not lost:
                break
            report(f"{lost[0]} vanished while it was copied: copying anew, try {attempt + 1}")
        else:
            raise BackupError(
                f"the catalog names {len(lost)} objects that the bucket does not have, such as {lost[0]}: look with "
                "`andon doctor`; nothing that is missing can be backed up"
            )
        copier.note()
        if absent := missing_from(store, copier.taken):
            raise BackupError(
                f"the store lost {len(absent)} objects that were just written, such as that of {absent[0]}"
            )
        manifest = Manifest(
            id=began.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ"),
            at=at,
            version=VERSION,
            objects=tuple(copier.taken[key] for key in sorted(copier.taken)),
            files=tuple(files),
            facts=facts,
        )
        digest = write_manifest(store, manifest)
        copier.forget_notes()
        pruned = prune(store, keep) if keep is not None else []
    return Taken(
        manifest=manifest,
        digest=digest,
        seconds=(clock() - began).total_seconds(),
        read_bytes=copier.read_bytes,
        written_bytes=copier.written_bytes + sum(size for file in files for _, size in file.parts),
        reused=copier.reused,
        pruned=tuple(pruned),
    )


def _once(
    home: Home, store: Bucket, copier: Copier, to: str, clock: Clock, report: Report
) -> tuple[datetime, list[SealedFile], dict[str, object], list[str]]:
    copier.taken.clear()
    copier.copy(_INBOX)
    copier.note()
    databases = databases_of(home)
    work = home.path / "cache" / "backup"
    with copies(databases, work) as copied:
        at = clock()
        report(f"databases copied: {', '.join(copied)}")
        accounts = export_accounts(home) if _embedded(home) else None
        copier.copy(_INBOX)  # what came meanwhile
        copier.copy("", leave_out=lambda key: key.startswith(_ELSEWHERE))
        catalog = work / "catalog.sqlite"
        lost = dangling(catalog, copier.taken) if catalog.exists() else []
        if lost:
            return at, [], {}, lost
        tar = work / HOME_TAR
        with _nobody_signs(home):
            number = pack_home(home, tar, {} if accounts is None else {ACCOUNTS_FILE: accounts})
            copier.copy(_METADATA)
        copier.copy(_RELEASES, leave_out=lambda key: key.startswith(_METADATA))
        report(f"bucket copied: {len(copier.taken)} objects, {copier.reused} of them unchanged")
        files = [seal_file(store, path, name, to) for name, path in (*copied.items(), (HOME_TAR, tar))]
        rows = counts(catalog) if catalog.exists() else {}
    facts = {
        "objects": len(copier.taken),
        "home_files": number,
        "catalog_rows": rows,
    }
    return at, files, facts, []


def _known(store: Bucket) -> dict[str, StoredObject]:
    """What the newest backup has, and what an unfinished one had copied."""
    ids = backup_ids(store)
    newest = {item.key: item for item in read_manifest(store, ids[-1]).objects if item.tag} if ids else {}
    return newest | noted(store)


def _embedded(home: Home) -> bool:
    state, secrets = load_state(home), load_secrets(home)
    return state is not None and secrets is not None and process_specs(home, state, secrets)[0].name == BUCKET


@contextmanager
def _bucket_of(home: Home) -> Iterator[Bucket]:
    """The bucket; run for this alone where the stack is down."""
    workspace = Workspace.open(home.path)
    if not _embedded(home) or is_held(home.supervisor_lock):
        yield workspace.bucket()
        return
    with locked(home.up_lock, what="`andon backup`"), bucket_alone(home) as bucket:
        yield bucket


@contextmanager
def _nobody_signs(home: Home) -> Iterator[None]:
    """Hold the lock of whoever signs releases or changes keys (`flows.releases.signed`)."""
    home.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Path(home.keys / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
