"""Ingest of the fleet's signed heartbeats, `fleet/<device>/status.json`.

1. A heartbeat is believed if the registered, unrevoked device that its key names signed it, for itself.
2. What is not believed is noted in the quarantine (one row for each key, the newest reason) and changes nothing
   else; the object stays where it is, since the device will write over it.
3. A status only moves forward; a replayed one is `stale`, which is no error.
4. The listing is read shard by shard (`data.fleet.shards`), and of a shard only the objects that changed since: some at
   a time, in parallel, each batch in one transaction. Ten thousand devices need ten listings and as many reads as
   there are new heartbeats, and never more memory than one batch.
5. A shard is remembered after its heartbeats are committed: a run that is cut reads some again, and finds them stale.
6. Once all shards were looked at, silence is judged (`data.fleet.silence`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import DeviceRow, FleetShardRow
from data.devices import PublicKeys, verified_by
from data.fleet.rows import reconcile
from data.fleet.shards import PREFIX, Seen, Shard, belonging, changed, continues_after, device_of, end_of, in_turn
from data.fleet.silence import log_silences, raise_silences
from data.fleet.taking import take_heartbeats
from data.policy import FleetPolicy, RetentionPolicy
from data.quarantine import Kind, Quarantined, record_quarantined
from edge_client.contract.bucket import Bucket, ObjectInfo
from edge_client.contract.conditional import page_of
from edge_client.contract.errors import AndonError, BadRecord, BadSignature, BucketError, InvalidName, NotFound
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.names import check_name

_log = logging.getLogger("andon.fleet")
_MOST_BYTES = 256 * 1024
_PAGE = 1000
_BATCH = 200  # heartbeats read and committed together
_READERS = 8
_MOST_SECONDS = 60.0  # of one run; the rest comes first in the next
_REVOKED = "revoked"


@dataclass(slots=True, kw_only=True)
class HeartbeatReport:
    """What one run did.

    Attributes:
        new: Devices whose status is new.
        stale: Devices whose object changed but not their status: a replay.
        unchanged: Objects that are as they were and were not read.
        rejected: (key, reason) of what is not believed.
        deferred: (key, reason) of what could not be read now.
        silent: Devices whose silence is an alarm since this run.
        heard_again: Devices whose alarm is closed since this run.
        shards: Pages of the listing that were looked at.
    """

    new: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    unchanged: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    deferred: list[tuple[str, str]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    heard_again: list[str] = field(default_factory=list)
    shards: int = 0


class _Disbelieved(AndonError):
    """A heartbeat that is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One object that was read: a heartbeat, or what kept it from being one."""

    info: ObjectInfo
    device: str
    seen: Seen
    beat: Heartbeat | None = None
    disbelieved: str = ""
    deferred: str = ""


def ingest_heartbeats(
    catalog: Catalog,
    bucket: Bucket,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    *,
    fleet: FleetPolicy | None = None,
    retention: RetentionPolicy | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    most_seconds: float = _MOST_SECONDS,
    page: int = _PAGE,
) -> HeartbeatReport:
    """Read what the fleet says since the last run, and judge its silence.

    Args:
        catalog: the catalog.
        bucket: the bucket.
        clock: aware time of the cloud.
        fleet: when silence is an alarm.
        retention: how much history is kept.
        monotonic: seconds, for `most_seconds`.
        most_seconds: no further shard is begun after so long.
        page: keys of one shard, at most.

    Raises:
        BucketError: the fleet cannot be listed.
    """
    reader = _Reader(catalog, bucket, clock, fleet or FleetPolicy(), retention or RetentionPolicy(), page)
    begun = monotonic()
    reader.run(lambda: monotonic() - begun > most_seconds)
    return reader.report


class _Reader:
    """One run."""

    def __init__(
        self,
        catalog: Catalog,
        bucket: Bucket,
        clock: Callable[[], datetime],
        fleet: FleetPolicy,
        retention: RetentionPolicy,
        page: int,
    ) -> None:
        self._catalog, self._bucket, self._clock = catalog, bucket, clock
        self._fleet, self._retention, self._page = fleet, retention, page
        self.report = HeartbeatReport()

    def run(self, over: Callable[[], bool]) -> None:
        """Look at each shard, in turn, and then at who is silent."""
        reconcile(self._catalog, self._fleet, at=self._clock())
        shards = {shard.after: shard for shard in _load(self._catalog)} or {"": Shard()}
        waiting = in_turn(shards.values())
        with ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="andon-heartbeats") as pool:
            while waiting and not (self.report.shards and over()):
                shard = waiting.pop(0)
                looked, beyond = self._read(shard, end_of(shard, shards.values()), pool)
                shards[shard.after] = looked
                if beyond is not None:
                    shards[beyond] = Shard(after=beyond)
                    waiting.insert(0, shards[beyond])
        looked_at = [shard.listed_at for shard in shards.values()]
        if all(at is not None for at in looked_at):
            self._judge(min(at for at in looked_at if at is not None))

    def _read(self, shard: Shard, end: str | None, pool: ThreadPoolExecutor) -> tuple[Shard, str | None]:
        """Read one shard; returns it as it is now, and where a new one begins behind it."""
        at = self._clock()
        page = page_of(self._bucket, PREFIX, after=shard.after, most=self._page)
        infos = belonging(page, end)
        keys = self._keys([device_of(info.key) or "" for info in infos])
        judged = {name: _REVOKED if revoked else public[0][:16] for name, (public, revoked) in keys.items()}
        todo = changed(infos, shard, judged)
        self.report.unchanged += len(infos) - len(todo)
        seen = {info.key: shard.seen[info.key] for info in infos if info.key in shard.seen}
        for start in range(0, len(todo), _BATCH):
            batch = todo[start : start + _BATCH]
            reads = list(pool.map(lambda one: self._open(one[0], one[1], one[2], keys.get(one[1])), batch))
            self._commit(reads)
            seen |= {read.info.key: read.seen for read in reads if not read.deferred}
        beyond = continues_after(page, end)
        looked = Shard(after=shard.after, seen=seen, listed_at=at)
        _store(self._catalog, looked)
        self.report.shards += 1
        return looked, beyond

    def _open(self, info: ObjectInfo, name: str, seen: Seen, key: tuple[PublicKeys, bool] | None) -> _Read:
        """Fetch and verify one heartbeat; on one of several threads."""
        try:
            return _Read(info=info, device=name, seen=seen, beat=self._believe(info, name, key))
        except _Disbelieved as error:
            return _Read(info=info, device=name, seen=seen, disbelieved=str(error))
        except NotFound:
            return _Read(info=info, device=name, seen=seen)
        except BucketError as error:
            return _Read(info=info, device=name, seen=seen, deferred=str(error))

    def _believe(self, info: ObjectInfo, name: str, key: tuple[PublicKeys, bool] | None) -> Heartbeat:
        """Rule 1."""
        try:
            check_name(name, "device")
        except InvalidName as error:
            raise _Disbelieved(str(error)) from error
        if key is None:
            raise _Disbelieved(f"device {name!r} is not registered; enrol it with `andon enroll`")
        public, revoked = key
        if revoked:
            raise _Disbelieved(f"device {name!r} was revoked")
        if info.bytes > _MOST_BYTES:
            raise _Disbelieved(f"the heartbeat has {info.bytes} bytes, at most {_MOST_BYTES} are read")
        try:
            document = self._bucket.get(info.key, max_bytes=_MOST_BYTES)
            heartbeat = verified_by(public, lambda public_key: Heartbeat.verify(document, public_key))
        except (BadSignature, BadRecord) as error:
            raise _Disbelieved(str(error)) from error
        if heartbeat.device != name:
            raise _Disbelieved(f"the heartbeat is of device {heartbeat.device!r}, but lies in the place of {name!r}")
        return heartbeat

    def _commit(self, reads: Sequence[_Read]) -> None:
        """Write one batch, and note it in the report."""
        now = self._clock()
        beats = [(read.beat, min(read.info.modified or now, now)) for read in reads if read.beat is not None]
        with self._catalog.session() as session:
            taken = take_heartbeats(
                session,
                beats,
                policy=self._fleet,
                keep=self._retention.heartbeats_per_device,
                every=timedelta(minutes=self._retention.heartbeat_minutes),
                at=now,
            )
            for read in reads:
                if read.disbelieved:
                    item = Quarantined(
                        kind=Kind.HEARTBEAT,
                        key=read.info.key,
                        device=read.device[:63],
                        reason=read.disbelieved,
                        bytes=read.info.bytes,
                    )
                    record_quarantined(session, item, at=now)
        fresh = set(taken.fresh)
        self.report.new += taken.fresh
        self.report.heard_again += taken.heard_again
        self.report.stale += [read.device for read in reads if read.beat is not None and read.device not in fresh]
        self.report.rejected += [(read.info.key, read.disbelieved) for read in reads if read.disbelieved]
        self.report.deferred += [(read.info.key, read.deferred) for read in reads if read.deferred]

    def _judge(self, looked_at: datetime) -> None:
        """Rule 6."""
        unread = {device_of(key) or "" for key, _ in self.report.deferred}
        raised = raise_silences(self._catalog, looked_at=looked_at, at=self._clock(), unknown=unread)
        self.report.silent = [alarm.device for alarm in raised]
        log_silences(raised, self.report.heard_again)

    def _keys(self, names: Sequence[str]) -> dict[str, tuple[PublicKeys, bool]]:
        """Device → its public keys, and whether it is revoked."""
        found: dict[str, tuple[PublicKeys, bool]] = {}
        with self._catalog.reading() as session:
            query = select(
                DeviceRow.name, DeviceRow.public_key_hex, DeviceRow.previous_public_key_hex, DeviceRow.revoked_at
            )
            for name, key, before, revoked_at in session.execute(query.where(DeviceRow.name.in_(names))):
                found[name] = ((key, before), revoked_at is not None)
        return found


def _load(catalog: Catalog) -> Iterator[Shard]:
    with catalog.reading() as session:
        for row in session.scalars(select(FleetShardRow)):
            seen = {key: (str(tag), str(judged)) for key, (tag, judged) in row.seen.items()}
            yield Shard(after=row.after, seen=seen, listed_at=row.listed_at)


def _store(catalog: Catalog, shard: Shard) -> None:
    with catalog.session() as session:
        seen = {key: list(value) for key, value in shard.seen.items()}
        session.merge(FleetShardRow(after=shard.after, seen=seen, listed_at=shard.listed_at))
