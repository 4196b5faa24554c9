"""Backup and restore of one installation.

What a backup holds, in the order in which it is taken, so that nothing it holds refers to what it has not:

1. The inbox: ingest commits to the catalog and then deletes there. Taken first and looked at again after the catalog,
   a window is in the one or the other, or in both, which ingest takes for a repeat.
2. The catalog and MLflow's database, of one moment: both are opened for reading before either is copied, the catalog
   first, since what it says of a model is written after MLflow knows it.
3. The rest of the bucket. An image, a snapshot's table, a model's file are stored before a database names them and are
   immutable, so what the copied databases name is still there. Whether that is so is looked at before the backup
   counts; what vanished in between makes the copy of the databases begin anew.
4. Keys and the release metadata, under the lock of whoever signs, so that they fit together; then the targets.
5. The manifest. It makes the backup count; before it there is none.

Rules:

6. A bucket object is stored once, under its SHA-256 (`objects/`), however many backups have it. What did not change
   since it was last read, by its key, size and tag, is not read again.
7. All that lies in the home directory (databases, keys, secrets, devices' bundles, policy) and the devices' accounts
   are sealed with age: what the store holds of them opens with the passphrase or the identity alone.
8. Killed anywhere, the next run goes on: what was copied is noted in the store every few hundred objects.
9. Not kept, since it is made anew or is history alone: Prefect's database, caches, logs, rehearsals, certificates with
   which the bucket's parts know each other, and what a device keeps for itself.
"""
