"""The upload side: order, repetition, outages. Numbers in the docstrings are those of `outbox` and `uploader`."""

import hashlib
import shutil
from pathlib import Path

import pytest

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import Refused, Unavailable
from edge_client.contract.inclusion import counts_for_estimates
from edge_client.contract.record import WindowRecord
from edge_client.contract.shard import read_shard
from edge_client.contract.signing import generate_private_key, load_private_key
from edge_client.figures import read_ledger
from edge_client.outbox import Outbox, Sender
from edge_client.spool import Spool
from edge_client.spool_database import SpoolError
from edge_client.steps import Seal
from edge_client.uploader import Uploader
from tests.unit.capture.device import TroubledBucket, records_in, sealed_of
from tests.unit.capture.test_spool import CLOCK, extra, offer, opening, seen, spool


class Sending:
    """A spool with its uploader, which can be closed and opened as a process would."""

    def __init__(self, folder: Path, **changes) -> None:
        self.folder = folder
        self.public_key = generate_private_key(folder / "device.key")
        self.bucket = TroubledBucket(DirectoryBucket(folder / "bucket"))
        self.changes = changes
        self.start()

    def start(self) -> None:
        self.spool: Spool = spool(self.folder / "spool", **self.changes)
        sender = Sender(
            device="line-1",
            site="plant-a",
            station="aoi-3",
            inspection="solar-cells",
            key=load_private_key(self.folder / "device.key"),
        )
        self.outbox = Outbox(self.spool, sender, shard_bytes=13_000)
        self.uploader = Uploader(self.outbox, self.bucket, clock=CLOCK)

    def restart(self) -> None:
        self.spool.close()
        self.start()

    def fill(self, window: int, names: range, *, budget: int = 100_000, size: int = 3000) -> None:
        self.spool.commit([opening(window, budget), seen(window, frames=len(names))])
        self.spool.commit([offer(n, q=float(n), size=size, window=window) for n in names])
        self.spool.commit([Seal(window=window, closed_at=CLOCK.now())])

    def send_all(self) -> None:
        while self.uploader.send_next():
            pass

    def records(self) -> list[WindowRecord]:
        return records_in(self.bucket, self.public_key)

    def stored(self, record: WindowRecord) -> dict[int, str]:
        """Sample number → digest of what the bucket holds, for all that a record lists."""
        sealed = sealed_of(record, self.bucket)
        return {int(sample_id, 16): hashlib.sha256(data).hexdigest() for sample_id, data in sealed.items()}


@pytest.fixture
def sending(tmp_path: Path) -> Sending:
    return Sending(tmp_path, limit_bytes=10_000_000)


def keys(sending: Sending) -> list[str]:
    return ["/".join(key.split("/")[2:]).partition("-")[2] for key, _ in sending.bucket.puts]


def test_the_oldest_window_goes_first_its_best_samples_first_and_its_record_last(sending: Sending):
    sending.fill(1, range(1, 6))
    sending.fill(2, range(11, 13))
    sending.send_all()
    assert keys(sending) == [
        "00000001/0.tar",
        "00000001/1.tar",
        "00000001/window.json",
        "00000002/0.tar",
        "00000002/window.json",
    ]
    first, second = sending.records()
    assert [int(e.sample_id, 16) for e in first.manifest if e.shard == 0] == [3, 4, 5]
    assert set(sending.stored(first)) == {1, 2, 3, 4, 5}
    assert set(sending.stored(second)) == {11, 12}
    assert {e.state for e in read_ledger(sending.folder / "spool")} == {"uploaded"}
    assert list((sending.folder / "spool" / "blobs").iterdir()) == []


def test_a_record_tells_of_all_frames_not_only_of_those_kept(sending: Sending):
    sending.fill(1, range(1, 11), budget=9000)
    sending.send_all()
    (record,) = sending.records()
    assert record.frames == 10
    assert record.class_counts == {"ok": 10}
    assert sum(record.histograms["anomaly"]["counts"]) == 10
    assert record.threshold == 7.0
    assert {int(e.sample_id, 16) for e in record.manifest} == {8, 9, 10}
    assert all(counts_for_estimates(e.weight, e.u, record.threshold) for e in record.manifest)


def test_an_empty_sample_still_reports_its_frames(sending: Sending):
    sending.spool.commit([opening(1), seen(1, frames=4), Seal(window=1, closed_at=CLOCK.now())])
    sending.send_all()
    (record,) = sending.records()
    assert (record.frames, record.manifest, record.shards) == (4, (), ())


@pytest.mark.parametrize("after_the_put", [False, True])
@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("good_calls", [0, 1, 2, 3])
def test_whenever_the_line_breaks_the_same_objects_are_put_again(sending: Sending, good_calls, crash, after_the_put):
    """Rules 2 and 3: cut the line at every call, before or after the object is stored, with or without a crash."""
    sending.fill(1, range(1, 9))  # three shards and a record
    sending.bucket.trouble = Unavailable("the line is cut")
    sending.bucket.good_calls, sending.bucket.after_the_put = good_calls, after_the_put
    with pytest.raises(Unavailable):
        sending.send_all()
    assert {e.state for e in read_ledger(sending.folder / "spool")} == {"kept"}
    if crash:
        sending.restart()
    sending.bucket.trouble = None
    sending.send_all()
    contents: dict[str, set[str]] = {}
    for key, digest in sending.bucket.puts:
        contents.setdefault(key, set()).add(digest)
    assert all(len(digests) == 1 for digests in contents.values())
    assert sending.bucket.puts[-1][0].endswith("window.json")
    assert set(sending.stored(sending.records()[0])) == set(range(1, 9))


@pytest.mark.parametrize("good_calls", [0, 1, 2, 3])
def test_the_rest_of_a_window_can_go_by_stick(sending: Sending, good_calls):
    """A stick copied into the bucket completes a window whose upload was cut at any call."""
    sending.fill(1, range(1, 9))
    sending.bucket.trouble, sending.bucket.good_calls = Unavailable("the line is cut"), good_calls
    with pytest.raises(Unavailable):
        sending.send_all()
    sending.restart()
    stick = sending.folder / "stick"
    sending.uploader = Uploader(sending.outbox, DirectoryBucket(stick), clock=CLOCK)
    sending.send_all()
    assert len(list(stick.rglob("*.tar"))) == 3 - good_calls
    shutil.copytree(stick, sending.folder / "bucket", dirs_exist_ok=True)
    assert set(sending.stored(sending.records()[0])) == set(range(1, 9))


def test_a_refusal_removes_nothing_and_asks_for_attention(sending: Sending):
    sending.fill(1, range(1, 4))
    sending.bucket.trouble = Refused("403: revoked")
    assert sending.uploader.flush(seconds=0.001) is False
    assert "credentials" in sending.uploader.problem
    assert {e.state for e in read_ledger(sending.folder / "spool")} == {"kept"}
    assert len(list((sending.folder / "spool" / "blobs").iterdir())) == 3
    sending.bucket.trouble = None
    sending.send_all()
    assert set(sending.stored(sending.records()[0])) == {1, 2, 3}


def test_an_eviction_unmakes_a_shard_that_is_not_yet_acknowledged(tmp_path: Path):
    """Outbox rule 2: window 1 waits with a made shard while a fuller window 2 squeezes the pool."""
    sending = Sending(tmp_path, limit_bytes=9_500)
    sending.fill(1, range(1, 4))
    sending.bucket.trouble = Unavailable("away")
    with pytest.raises(Unavailable):
        sending.send_all()
    sending.fill(2, range(11, 13))  # needs 6,000: 1 and 2 go, τ of both windows is 2
    sending.bucket.trouble = None
    sending.send_all()
    first, second = sending.records()
    assert (first.threshold, second.threshold) == (2.0, 2.0)
    assert set(sending.stored(first)) == {3}
    assert set(sending.stored(second)) == {11, 12}


def test_a_shard_that_loses_a_member_while_it_is_being_put_is_made_anew(tmp_path: Path):
    sending = Sending(tmp_path, limit_bytes=9_500)
    sending.fill(1, range(1, 4))
    shard = sending.outbox.next_shard(1)
    assert shard is not None
    sending.fill(2, range(11, 12))  # evicts sample 1
    assert sending.outbox.acknowledge(shard) is False
    sending.send_all()
    first, second = sending.records()
    assert set(sending.stored(first)) == {2, 3}
    assert set(sending.stored(second)) == {11}


def test_an_eviction_after_the_put_keeps_the_sample_in_the_manifest_below_the_threshold(tmp_path: Path):
    """Uploaded bytes stay charged until the record is up: what is in the bucket already just no longer counts."""
    sending = Sending(tmp_path, limit_bytes=9_500)
    sending.fill(1, range(1, 4))
    sending.bucket.trouble, sending.bucket.good_calls = Unavailable("away"), 1
    with pytest.raises(Unavailable):
        sending.send_all()  # the shard is up, the record is not, and was made: window 1 is settled
    assert sending.spool.sampler.total_bytes == 9000
    assert 1 not in sending.spool.thresholds()
    sending.fill(2, range(11, 13))  # no room beside the settled window
    assert {int(e.sample_id, 16) for e in read_ledger(sending.folder / "spool") if e.state == "kept"} == {1, 2, 3}
    sending.bucket.trouble = None
    sending.send_all()
    first, second = sending.records()
    assert first.threshold == 0.0
    assert set(sending.stored(first)) == {1, 2, 3}
    assert second.threshold == 12.0
    assert second.frames == 2


def test_samples_of_an_acknowledged_shard_can_leave_the_pool_before_the_record(tmp_path: Path):
    sending = Sending(tmp_path, limit_bytes=15_500)
    sending.fill(1, range(1, 6))  # two shards: 5, 4, 3 and 2, 1
    sending.bucket.trouble, sending.bucket.good_calls = Unavailable("away"), 1
    with pytest.raises(Unavailable):
        sending.send_all()
    sending.fill(2, range(11, 15))  # 12,000 more: 1 and 2 are evicted, then 3 and 4, which the bucket has
    assert sending.spool.thresholds()[1] == 4.0
    sending.restart()
    assert sending.spool.sampler.keys(1) == {f"{5:032x}"}
    sending.bucket.trouble = None
    sending.send_all()
    first, second = sending.records()
    assert set(sending.stored(first)) == {3, 4, 5}
    counted = {int(e.sample_id, 16) for e in first.manifest if counts_for_estimates(e.weight, e.u, first.threshold)}
    assert counted == {5}
    assert set(sending.stored(second)) == {11, 12, 13, 14}


def test_a_blob_that_was_altered_on_disk_is_not_sent_and_counts_as_excluded(sending: Sending):
    sending.fill(1, range(1, 4))
    blob = sending.folder / "spool" / "blobs" / f"{2:032x}.age"
    blob.write_bytes(b"\0" + blob.read_bytes()[1:])
    sending.send_all()
    (record,) = sending.records()
    assert set(sending.stored(record)) == {1, 3}
    assert record.excluded == 1
    assert record.threshold == 0.0


@pytest.mark.parametrize("puts", [1, 2, 3])
def test_a_spool_that_begins_anew_while_a_window_is_being_sent_loses_nothing_of_the_new_one(
    sending: Sending, puts: int
):
    """Outbox rule 5: the new epoch numbers its windows from 1 again."""
    sending.fill(1, range(1, 9))  # three shards and a record
    put, left = sending.bucket.put, [puts]

    def remove_meanwhile(key: str, data: bytes, **more) -> None:
        put(key, data, **more)
        left[0] -= 1
        if left[0] == 0:
            shutil.rmtree(sending.folder / "spool")
            with pytest.raises(SpoolError):
                sending.spool.commit([])
            assert sending.spool.next_window == 1
            sending.spool.commit([opening(1, 100_000), seen(1, frames=2), offer(21, size=3000), offer(22, size=3000)])

    sending.bucket.put = remove_meanwhile
    with pytest.raises(SpoolError, match="began anew while window 1"):
        sending.send_all()
    sending.spool.commit([Seal(window=1, closed_at=CLOCK.now())])
    sending.send_all()
    mine = [r for r in sending.records() if r.epoch == sending.spool.epoch]
    assert [(r.frames, set(sending.stored(r))) for r in mine] == [(2, {21, 22})]


def test_events_and_flags_come_first_and_are_marked(sending: Sending):
    sending.spool.commit([opening(1, 50_000), seen(1, frames=2), offer(1, q=5), offer(2, q=9)])
    sending.spool.commit([extra(8), extra(9, kind="events"), Seal(window=1, closed_at=CLOCK.now())])
    sending.send_all()
    (record,) = sending.records()
    assert {int(e.sample_id, 16): e.extra for e in record.manifest} == {9: "events", 8: "flag", 2: None, 1: None}
    data = sending.bucket.get(sending.bucket.puts[0][0], max_bytes=1 << 20)
    assert [int(name[:-4], 16) for name in read_shard(data)] == [9, 8, 2, 1]
    assert sending.spool.extras.bytes == 0


def test_run_lengths_are_told_for_the_runs_that_have_a_sample(sending: Sending):
    step = seen(1, frames=3)
    step.tally.runs[1] = 7
    sending.spool.commit([opening(1), step, offer(1), offer(2), Seal(window=1, closed_at=CLOCK.now())])
    sending.send_all()
    assert sending.records()[0].runs == ((1, 7), (2, 1))


def test_the_uploader_thread_sends_when_it_is_rung(sending: Sending):
    sending.uploader.start()
    sending.fill(1, range(1, 3))
    sending.uploader.ring()
    assert sending.uploader.flush(seconds=10)
    sending.uploader.stop()
    assert len(sending.records()) == 1
