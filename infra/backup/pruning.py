"""Removing old backups, and what only they hold.

Manifests go first: killed in between, what is left is content that no backup names, and the next pruning removes it.
"""

from __future__ import annotations

from edge_client.contract.bucket import Bucket
from infra.backup.manifest import backup_ids, read_manifest
from infra.backup.store import OBJECTS, SEALED, manifest_key, object_key, sealed_key


def prune(store: Bucket, keep: int) -> list[str]:
    """Remove all but the newest `keep` backups; the ids of those that were removed.

    Run it only while no backup is being taken: what an unfinished one copied is named by no manifest.
    """
    ids = backup_ids(store)
    removed = ids[: max(0, len(ids) - max(1, keep))]
    for backup_id in removed:
        store.delete(manifest_key(backup_id))
    needed = set()
    for backup_id in backup_ids(store):
        manifest = read_manifest(store, backup_id)
        needed |= {object_key(item.sha256) for item in manifest.objects}
        needed |= {sealed_key(digest) for file in manifest.files for digest, _ in file.parts}
    for prefix in (OBJECTS, SEALED):
        for info in list(store.list(prefix)):
            if info.key not in needed:
                store.delete(info.key)
    return removed
