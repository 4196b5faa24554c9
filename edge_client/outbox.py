"""The upload side of the spool: which shard is next, what a window's record says, what may be removed.

1. Windows go oldest first. Inside one: events, then extras, then samples by priority q, highest first.
2. A shard's members and digest are stored before it is put. The tar is made of sealed blobs that never change, so a
   repeated put is the same object. A member that the pool evicts meanwhile unmakes a shard that is not yet
   acknowledged.
3. When every kept sample is in an acknowledged shard, the record is made once, signed and stored: from then on τ is
   final and the window is out of the pool (its bytes stay charged). A repeated put of the record is the same object
   too.
4. Only when the record is up are blobs removed and the bytes given back.
5. A window belongs to the epoch in which it was handed out: when the spool begins anew meanwhile (damaged, removed),
   nothing of the new one is touched in its name.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.contract.record import ManifestEntry, ShardEntry, WindowRecord
from edge_client.contract.shard import write_shard
from edge_client.spool import Spool
from edge_client.spool_database import SpoolError
from edge_client.tally import Tally

_MEMBERS = 2000  # of one shard; the reader's bound is 4096
_TAR_MEMBER = 1024  # header and padding of one member, about


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard ready to be put."""

    window: int
    n: int
    sha256: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who signs the records."""

    device: str
    site: str
    station: str
    inspection: str
    key: Ed25519PrivateKey


class Outbox:
    """Hands out what is to be uploaded.

    Args:
        spool: The spool.
        sender: Who signs.
        shard_bytes: Most bytes of a shard.
    """

    def __init__(self, spool: Spool, sender: Sender, *, shard_bytes: int = 8_000_000) -> None:
        self._spool = spool
        self._sender = sender
        self.shard_bytes = shard_bytes
        self._epoch = spool.epoch

    @property
    def device(self) -> str:
        """Name of the device whose records these are."""
        return self._sender.device

    @property
    def epoch(self) -> int:
        """The epoch of the window that was handed out last."""
        return self._epoch

    def next_window(self) -> int | None:
        """Return the oldest window that waits for upload."""
        with self._spool.lock:
            self._epoch = self._spool.epoch
            row = self._spool.db.execute(
                "SELECT min(window) FROM windows WHERE state IN ('sealed', 'settled')"
            ).fetchone()
        return None if row[0] is None else int(row[0])

    def next_shard(self, window: int) -> Shard | None:
        """Return the next shard to put, or None when all that is kept is in the bucket (rules 1 and 2)."""
        while True:
            chosen = self._choose(window)
            if chosen is None:
                return None
            n, rows = chosen
            members: list[tuple[str, bytes]] = []
            for sample_id, sha256 in rows:
                sealed = _read(self._spool.blob_path(sample_id))
                if sealed is None or hashlib.sha256(sealed).hexdigest() != sha256:
                    self._damaged(window, sample_id)
                    break
                members.append((f"{sample_id}.age", sealed))
            if len(members) < len(rows):
                continue
            data = write_shard(members)
            shard = Shard(window=window, n=n, sha256=hashlib.sha256(data).hexdigest(), data=data)
            if self._freeze(shard, [sample_id for sample_id, _ in rows]):
                return shard

    def acknowledge(self, shard: Shard) -> bool:
        """Note that the bucket has a shard; False when an eviction unmade it meanwhile (it will be made anew)."""
        with self._transaction(shard.window) as db:
            done = db.execute(
                "UPDATE shards SET acknowledged = 1 WHERE window = ? AND n = ? AND sha256 = ?",
                (shard.window, shard.n, shard.sha256),
            ).rowcount
            if done:
                db.execute(
                    "UPDATE entries SET acknowledged = 1 WHERE window = ? AND shard = ?", (shard.window, shard.n)
                )
        return bool(done)

    def record(self, window: int) -> bytes | None:
        """Return the window's signed record, made now or before (rule 3); None if something is kept but not yet
        uploaded.
        """
        with self._transaction(window) as db:
            state, opened_at, closed_at, budget, tally_json, made = db.execute(
                "SELECT state, opened_at, closed_at, byte_budget, tally, record FROM windows WHERE window = ?",
                (window,),
            ).fetchone()
            if state == "settled":
                return bytes(made)
            waiting = db.execute(
                "SELECT count(*) FROM entries WHERE window = ? AND state = 'kept' AND acknowledged = 0", (window,)
            ).fetchone()[0]
            if waiting:
                return None
            tally = Tally.from_json(tally_json)
            manifest = tuple(
                _manifest_entry(row)
                for row in db.execute(
                    "SELECT sample_id, sequence, shard, sha256, bytes, weight, u, run, reasons, extra FROM entries "
                    "WHERE window = ? AND state = 'kept' ORDER BY shard, sequence",
                    (window,),
                )
            )
            lengths = dict(db.execute("SELECT run, length FROM runs WHERE window = ?", (window,)).fetchall())
            shards = db.execute(
                "SELECT n, sha256, bytes FROM shards WHERE window = ? AND acknowledged = 1 ORDER BY n", (window,)
            )
            record = WindowRecord(
                device=self._sender.device,
                site=self._sender.site,
                station=self._sender.station,
                inspection=self._sender.inspection,
                epoch=self._spool.epoch,
                window=window,
                opened_at=datetime.fromisoformat(opened_at),
                closed_at=datetime.fromisoformat(closed_at),
                engine_ids=tuple(sorted(tally.engine_ids)),
                frames=tally.frames,
                weight_total=tally.weight_total,
                threshold=self._spool.sampler.threshold(window),
                byte_budget=budget,
                excluded=tally.excluded,
                overload=tally.overload,
                class_counts=dict(tally.classes),
                verdict_counts=dict(tally.verdicts),
                histograms=tally.histograms(),
                runs=tuple((run, lengths.get(run, 1)) for run in sorted({e.run for e in manifest if e.run >= 0})),
                manifest=manifest,
                shards=tuple(ShardEntry(n=n, sha256=sha256, bytes=size) for n, sha256, size in shards),
            )
            signed = record.sign(self._sender.key)
            self._spool.sampler.settle(window)
            db.execute(
                "UPDATE windows SET state = 'settled', tau = ?, record = ? WHERE window = ?",
                (record.threshold, signed, window),
            )
            return signed

    def close(self, window: int) -> int:
        """Note that the record is up and remove what it covers (rule 4).

        Returns:
            How many samples were uploaded with it.
        """
        with self._transaction(window) as db:
            rows = db.execute("SELECT sample_id FROM entries WHERE window = ? AND state = 'kept'", (window,)).fetchall()
            db.execute("UPDATE entries SET state = 'uploaded' WHERE window = ? AND state = 'kept'", (window,))
            db.execute("UPDATE windows SET state = 'closed', record = NULL WHERE window = ?", (window,))
            db.execute("DELETE FROM runs WHERE window = ?", (window,))
            db.execute("DELETE FROM shards WHERE window = ?", (window,))
            self._spool.sampler.release(window)
            self._spool.extras.count()
            self._spool.forget_old()
        self._spool.unlink_blobs([sample_id for (sample_id,) in rows])
        return len(rows)

    @contextmanager
    def _transaction(self, window: int) -> Iterator[sqlite3.Connection]:
        with self._spool.lock, self._spool.transaction() as db:
            self._check_epoch(window)
            yield db

    def _check_epoch(self, window: int) -> None:
        """Rule 5."""
        if self._spool.epoch != self._epoch:
            raise SpoolError(
                f"the spool began anew while window {window} of epoch {self._epoch} was being sent: what was sent of "
                "it stays without a record; the new one goes on"
            )

    def _choose(self, window: int) -> tuple[int, list[tuple[str, str]]] | None:
        """Return (n, [(sample_id, sha256)]) of a shard that is made but not acknowledged, or of a new one."""
        with self._spool.lock:
            self._check_epoch(window)
            db = self._spool.db
            row = db.execute("SELECT min(n) FROM shards WHERE window = ? AND acknowledged = 0", (window,)).fetchone()
            if row[0] is not None:
                rows = db.execute(_MEMBERS_OF_SHARD, (window, row[0])).fetchall()
                if rows:
                    return int(row[0]), rows
            taken = {r[0] for r in db.execute("SELECT n FROM shards WHERE window = ? AND acknowledged = 1", (window,))}
            n = next(i for i in range(len(taken) + 1) if i not in taken)
            chosen: list[tuple[str, str]] = []
            total = 0
            for sample_id, sha256, size in db.execute(_WAITING, (window,)):
                total += size + _TAR_MEMBER
                if chosen and (total > self.shard_bytes or len(chosen) >= _MEMBERS):
                    break
                chosen.append((sample_id, sha256))
        return (n, chosen) if chosen else None

    def _freeze(self, shard: Shard, sample_ids: list[str]) -> bool:
        """Store a shard's members and digest; False when one of them was evicted meanwhile."""
        with self._transaction(shard.window) as db:
            members = json.dumps(sample_ids)
            here = db.execute(
                "SELECT count(*) FROM entries WHERE sample_id IN (SELECT value FROM json_each(?)) AND state = 'kept' "
                "AND acknowledged = 0 AND (shard IS NULL OR shard = ?)",
                (members, shard.n),
            ).fetchone()[0]
            if here < len(sample_ids):
                return False
            db.execute(
                "UPDATE entries SET shard = ? WHERE sample_id IN (SELECT value FROM json_each(?))", (shard.n, members)
            )
            db.execute(
                "INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, 0)",
                (shard.window, shard.n, shard.sha256, len(shard.data)),
            )
        return True

    def _damaged(self, window: int, sample_id: str) -> None:
        with self._transaction(window) as db:
            row = db.execute("SELECT state, extra FROM entries WHERE sample_id = ?", (sample_id,)).fetchone()
            if row is None or row[0] != "kept":
                return  # evicted between choosing and reading
            self._spool.mark_damaged(sample_id)
            if row[1] is None:
                self._spool.sampler.forget(window, sample_id)


# Events are small and people wait for them; then what a person sent; then by priority.
_ORDER = (
    "ORDER BY CASE WHEN extra = 'events' THEN 0 WHEN extra IS NOT NULL THEN 1 ELSE 2 END, weight / u DESC, sequence"
)
_WAITING = f"""
    SELECT sample_id, sha256, bytes FROM entries WHERE window = ? AND state = 'kept' AND shard IS NULL {_ORDER}
"""  # noqa: S608 -- a constant
_MEMBERS_OF_SHARD = f"""
    SELECT sample_id, sha256 FROM entries WHERE window = ? AND shard = ? {_ORDER}
"""  # noqa: S608 -- a constant


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _manifest_entry(row: Sequence[object]) -> ManifestEntry:
    """Build a manifest entry from (sample_id, sequence, shard, sha256, bytes, weight, u, run, reasons, extra)."""
    sample_id, sequence, shard, sha256, size, weight, u, run, reasons, extra = row
    return ManifestEntry(
        sample_id=str(sample_id),
        sequence=int(str(sequence)),
        shard=int(str(shard)),
        name=f"{sample_id}.age",
        sha256=str(sha256),
        bytes=int(str(size)),
        weight=float(str(weight)),
        u=float(str(u)),
        run=int(str(run)),
        reasons=json.loads(str(reasons)),
        extra=None if extra is None else str(extra),
    )
