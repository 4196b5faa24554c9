"""Ingest: from what devices uploaded to samples in the catalog and images in the lake.

    report = ingest_inbox(catalog, bucket, lake, identity, clock)

1. A window counts when its record (`window.json`, uploaded last) is in the inbox. Windows are taken one by one; one
   listing finds them, nothing else is ever scanned.
2. A record is believed if the device that its key names is registered, not revoked, enrolled for the inspection, and
   signed these bytes for this place. Else the whole window goes into quarantine.
3. A shard is believed if its SHA-256 is the one in the record; a sample if its sealed bytes are, it opens with the
   cloud's identity, is of that device and inspection, and its image decodes (in a bounded child process). What is not
   goes into quarantine alone; the rest of its window goes on. Where no sample at all opens, the identity is probably
   the wrong one: the whole window goes into quarantine, from where it can be restored.
4. What the manifest promises and does not arrive is non-response: counted in the window's row, never forgotten.
5. Order: images into the lake (content-addressed: the same again is the same object) and bad things into the
   quarantine; then ONE catalog transaction with the window, its samples, events and quarantine rows; then its
   shards are deleted from the inbox, its record last.
6. So a kill at any point loses nothing and doubles nothing: before the commit the next run begins anew, after it the
   next run finds the window known and deletes what is left. The same holds for two runs at once.
7. A window is known by (device, epoch, window). The same record again is a duplicate; another record in its place is
   quarantined. A sample id that the catalog has from elsewhere is quarantined.
8. A bucket that is away, a full disk or a busy database is nobody's fault: the window is deferred and stays in the
   inbox. After three such deferrals in a row the run stops, since the cause is not the windows.
9. A shard that cannot be found is waited for (`missing_grace_seconds` after its record): stores may show objects late.
10. Of each device so much a day is taken over as its quota allows (`data.quotas`); the rest waits in the inbox.
11. Memory, of each worker: one shard and 16 MiB of those that come after it, and at most five lake batches. A run's
    memory does not grow with its samples, if the catalog does not remember more and more of itself (`Catalog.lean`).
12. `workers` take windows side by side, each with a decoder of its own. The windows of one device are taken by one
    worker, in their order: so a quota is one worker's to count, and a device can block no more than one of them. They
    are threads: the decoder is a process, and opening, hashing, compressing and waiting let other threads go on.
13. What waits for others is not waited for: records and shards are fetched ahead, images are decoded while the next are
    opened, lake files are put and taken windows deleted meanwhile. Up to 16 windows share one transaction: all of them
    are in the lake before it, and none is deleted before it. If it fails because of one of them, each has its own.
"""

from data.heartbeats import HeartbeatReport, ingest_heartbeats
from data.ingest.inbox import IngestProgress, IngestReport, ingest_inbox

__all__ = ["HeartbeatReport", "IngestProgress", "IngestReport", "ingest_heartbeats", "ingest_inbox"]
