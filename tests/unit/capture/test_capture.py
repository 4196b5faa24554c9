"""Intake and worker: what happens to a frame between `predict` and the spool."""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_client import capture, intake, spool
from edge_client.capture import Capture, draw_from_os
from edge_client.config import CaptureConfig
from edge_client.contract.sample import Event, unpack_blob
from edge_client.contract.sealing import generate_identity, load_identity, unseal
from edge_client.engine import Engine
from edge_client.figures import read_ledger
from edge_client.images import decode_image
from edge_client.intake import Policy
from edge_client.prediction import Prediction, predictions_from
from edge_client.spool import Spool
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import DrivenClock, noise

ENGINE = Engine.from_bytes(tiny_engine())


class Rig:
    """Capture without threads, with a driven clock and given draws."""

    def __init__(
        self, folder: Path, *, draws=None, limit: int = 10_000_000, config: CaptureConfig | None = None, **policy
    ):
        self.folder = folder
        self.clock = DrivenClock()
        recipient = generate_identity(folder / "id.age")
        self.identity = load_identity(folder / "id.age")
        self.spool = Spool(folder / "spool", limit_bytes=limit, clock=self.clock, free_bytes=lambda _: 1 << 40)
        given = {"byte_budget": 1_000_000, "window_seconds": 60.0, "idle_close_seconds": 10.0, "audit_share": 0.3}
        self.draws = iter(draws) if draws is not None else None
        self.capture = Capture(
            self.spool,
            device="line-1",
            station="aoi",
            inspection="solar-cells",
            policy=Policy(**{**given, **policy}, recipient=recipient),
            config=config or CaptureConfig(duplicate_distance=0),
            clock=self.clock,
            draw=(lambda: next(self.draws)) if self.draws is not None else draw_from_os,
            random=np.random.default_rng(0),
        )

    def offer(self, frame: np.ndarray | bytes, *, part_id: str | None = None, context=None) -> Prediction:
        pixels = decode_image(frame) if isinstance(frame, bytes) else frame
        output = ENGINE.run(pixels)
        (prediction,) = predictions_from(
            output, ENGINE, sample_ids=[np.random.bytes(16).hex()], latency_ms=1.0, part_ids=[part_id]
        )
        self.capture.offer(frame, prediction, ENGINE.metadata, context or {})
        return prediction

    def window(self, number: int = 1) -> dict:
        row = self.spool.db.execute("SELECT state, tau, tally FROM windows WHERE window = ?", (number,)).fetchone()
        return {"state": row[0], "tau": row[1], **json.loads(row[2])}

    def states(self) -> dict[str, str]:
        return {e.sample_id: e.state for e in read_ledger(self.folder / "spool")}

    def opened(self, sample_id: str):
        return unpack_blob(unseal(self.spool.blob_path(sample_id).read_bytes(), self.identity))


def test_a_captured_frame_opens_to_the_same_pixels_and_what_the_engine_said(tmp_path: Path):
    rig = Rig(tmp_path)
    frame = noise(1)
    told = rig.offer(frame, part_id="A-1", context={"humidity": 0.4, "recipe": "r7"})
    frame[:] = 0  # the application uses its buffer again
    rig.capture.pump()
    sample = rig.opened(told.sample_id)
    assert (decode_image(sample.image) == noise(1)).all()
    assert sample.media_type == "image/webp"
    assert (sample.part_id, dict(sample.context)) == ("A-1", {"humidity": 0.4, "recipe": "r7"})
    assert sample.verdict.value == told.verdict
    assert np.allclose(sample.embedding, told.embedding, atol=1e-3)
    assert np.allclose(sample.probabilities, list(told.probabilities.values()))
    assert sample.anomaly_map.shape == told.anomaly_map.shape


def test_an_encoded_image_travels_as_it_was(tmp_path: Path):
    from edge_client.encode import encode_smaller

    rig = Rig(tmp_path)
    jpeg, media_type = encode_smaller(noise(2, side=64), 1 << 20)
    told = rig.offer(jpeg)
    rig.capture.pump()
    assert rig.opened(told.sample_id).image == jpeg
    assert rig.opened(told.sample_id).media_type == media_type == "image/jpeg"


def test_every_frame_is_counted_and_only_what_was_kept_is_stored(tmp_path: Path):
    rig = Rig(tmp_path, byte_budget=12_000)
    for i in range(60):
        rig.offer(noise(i))
        if i % 7 == 0:
            rig.capture.pump()
    rig.capture.pump()
    found = rig.window()
    assert found["frames"] == sum(found["classes"].values()) == sum(found["anomaly"].values()) == 60
    assert found["tau"] > 0
    assert 0 < sum(s == "kept" for s in rig.states().values()) < 10
    assert rig.spool.sampler.window_bytes(1) <= 12_000


def test_the_worker_does_not_encode_what_the_threshold_turns_away(tmp_path: Path):
    """With a high u (low q) after τ is known, a frame is only counted: it never becomes a candidate."""
    rig = Rig(tmp_path, byte_budget=6_000, draws=[1e-6, 1e-5, *[1.0] * 20])
    for i in range(2):
        rig.offer(noise(i))
    rig.capture.pump()
    assert rig.window()["tau"] > 0
    for i in range(20):
        rig.offer(noise(10 + i))
        assert rig.capture.intake.waiting == 0
    rig.capture.pump()
    assert rig.window()["frames"] == 22


def test_a_window_ends_by_its_time_or_when_the_line_stands(tmp_path: Path):
    rig = Rig(tmp_path)
    rig.offer(noise(1))
    rig.clock.pass_seconds(9)
    rig.capture.pump()
    assert rig.window()["state"] == "open"
    rig.clock.pass_seconds(1)
    rig.capture.pump()
    assert rig.window()["state"] == "sealed"
    for i in range(13):
        rig.offer(noise(2 + i))
        rig.clock.pass_seconds(5)
    rig.capture.pump()
    assert rig.window(2)["frames"] == 12
    assert rig.window(3)["frames"] == 1


def test_when_the_queue_is_full_the_lowest_priority_is_overload_and_raises_the_threshold(tmp_path: Path):
    rig = Rig(tmp_path, config=CaptureConfig(queue_frames=3, duplicate_distance=0), draws=[0.5, 0.01, 0.4, 0.001, 1.0])
    told = [rig.offer(noise(0)) for _ in range(5)]  # equal frames: q follows u; the first has the largest weight
    assert rig.capture.intake.waiting == 3
    rig.capture.pump()
    found = rig.window()
    assert found["frames"] == 5
    assert found["overload"] == 1  # the first, when the fourth came; the fifth lies below the τ that followed
    assert {i for i, t in enumerate(told) if t.sample_id in rig.states()} == {1, 2, 3}
    rows = rig.spool.db.execute("SELECT weight / u FROM entries").fetchall()
    assert all(q > found["tau"] > 0 for (q,) in rows)


def test_what_the_queue_turns_away_raises_every_window_that_waits_in_it(tmp_path: Path):
    """Rule 3 of the intake: the lowest of all was turned away, whichever window it was of, as in the sampler's pool."""
    rig = Rig(
        tmp_path,
        config=CaptureConfig(queue_frames=2, duplicate_distance=0),
        draws=[0.5, 0.01, 0.001, 1.0],
        window_seconds=20.0,
        idle_close_seconds=1e9,
    )
    rig.offer(noise(0))
    rig.offer(noise(0))
    rig.clock.pass_seconds(30)
    rig.offer(noise(0))  # in window 2; the first, of window 1, gives way
    rig.capture.pump()
    assert rig.window(1)["overload"] == 1
    assert rig.window(2)["overload"] == 0
    assert rig.window(1)["tau"] == rig.window(2)["tau"] > 0
    rows = rig.spool.db.execute("SELECT window, weight / u FROM entries ORDER BY window").fetchall()
    assert [window for window, _ in rows] == [1, 2]
    assert all(q > rig.window(1)["tau"] for _, q in rows)
    rig.offer(noise(0))
    assert rig.capture.intake.waiting == 0  # below the τ that window 2 has since
    rig.capture.pump()
    assert rig.window(2)["frames"] == 2


def test_a_frame_larger_than_the_budget_is_encoded_smaller_or_excluded(tmp_path: Path):
    rig = Rig(tmp_path, byte_budget=8_000)
    told = rig.offer(noise(1, side=64))  # 10 kB lossless
    rig.capture.pump()
    assert rig.opened(told.sample_id).media_type == "image/jpeg"
    assert decode_image(rig.opened(told.sample_id).image).shape == (64, 64, 3)
    tiny = Rig(tmp_path / "tiny", byte_budget=300) if (tmp_path / "tiny").mkdir() is None else None
    tiny.offer(noise(1, side=64))
    tiny.capture.pump()
    assert tiny.window()["excluded"] == 1
    assert tiny.window()["tau"] == 0
    assert tiny.states() == {}


def test_a_flag_is_stored_with_the_frame_it_is_about_even_if_the_sampler_let_it_go(tmp_path: Path):
    rig = Rig(tmp_path, byte_budget=6_000, draws=[1e-6, 1e-5, 1.0])
    told = [rig.offer(noise(i)) for i in range(3)]
    rig.capture.pump()
    assert told[2].sample_id not in rig.states()
    event = Event(event_id="e" * 32, kind="flag", at=rig.clock.now(), sample_id=told[2].sample_id, reason="scratch")
    assert rig.capture.tell(event, timeout=1)
    entries = {e.sample_id: e for e in read_ledger(rig.folder / "spool")}
    assert entries[told[2].sample_id].extra == "flag"
    (events,) = [e for e in entries.values() if e.extra == "events"]
    assert rig.opened(events.sample_id).events[0].reason == "scratch"


def test_a_flagged_frame_that_cannot_be_encoded_costs_neither_its_event_nor_the_counts_of_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rig = Rig(tmp_path, byte_budget=6_000, draws=[1e-6, *[1.0] * 20])
    told = [rig.offer(noise(i)) for i in range(2)]
    rig.capture.pump()
    monkeypatch.setattr(capture, "encode_lossless", _out_of_memory)
    rig.offer(noise(3))
    event = Event(event_id="e" * 32, kind="flag", at=rig.clock.now(), sample_id=told[1].sample_id, reason="scratch")
    assert rig.capture.tell(event, timeout=0.1)
    assert rig.window()["frames"] == 3
    assert told[1].sample_id not in rig.states()


def test_an_outcome_is_stored_on_a_line_that_saw_no_frame(tmp_path: Path):
    rig = Rig(tmp_path)
    event = Event(event_id="e" * 32, kind="outcome", at=rig.clock.now(), part_id="A-1", value="failed", stage="eol")
    assert rig.capture.tell(event, timeout=1)
    assert rig.window()["frames"] == 0
    assert len(rig.states()) == 1


def test_counts_survive_a_disk_that_refuses_for_a_while(tmp_path: Path):
    from tests.unit.capture.test_spool import files_of_at_most

    rig = Rig(tmp_path)
    rig.offer(noise(0))
    rig.capture.pump()
    with files_of_at_most(0):
        for i in range(5):
            rig.offer(noise(1 + i))
        rig.capture.pump()
        assert rig.capture.problem
    rig.offer(noise(9))
    rig.capture.pump()
    assert rig.capture.problem == ""
    found = rig.window()
    assert found["frames"] == 7
    assert found["overload"] == 5
    assert found["tau"] > 0
    assert len(rig.states()) >= 1


def test_counts_survive_a_commit_without_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rig = Rig(tmp_path)
    rig.offer(noise(0))
    rig.capture.pump()
    with monkeypatch.context() as patched:
        patched.setattr(spool, "write_durably", _out_of_memory)
        rig.offer(noise(1))
        rig.capture.pump()
    rig.offer(noise(2))
    rig.capture.pump()
    found = rig.window()
    assert (found["frames"], found["overload"]) == (3, 1)


def _out_of_memory(*_: object) -> None:
    raise MemoryError


def test_a_disk_that_refuses_many_batches_at_once_is_tried_again_soon(tmp_path: Path):
    """The pause grows with time, not with how much waited when the disk refused."""
    from tests.unit.capture.test_spool import files_of_at_most

    rig = Rig(tmp_path)
    rig.offer(noise(0))
    rig.capture.pump()
    with files_of_at_most(0):
        for i in range(60):  # four batches
            rig.offer(noise(1 + i))
        rig.capture.pump()
        assert rig.capture._pause == 1.0
        rig.capture.pump()
        assert rig.capture._pause == 2.0


def test_new_settings_hold_from_the_next_window_on(tmp_path: Path):
    rig = Rig(tmp_path)
    rig.offer(noise(0))
    policy = rig.capture.intake.policy
    rig.capture.intake.set_policy(
        Policy(
            byte_budget=7_000,
            window_seconds=5,
            idle_close_seconds=5,
            audit_share=0.5,
            recipient=policy.recipient,
        )
    )
    rig.clock.pass_seconds(6)
    rig.offer(noise(1))
    rig.capture.pump()
    budgets = dict(rig.spool.db.execute("SELECT window, byte_budget FROM windows").fetchall())
    assert budgets == {1: 1_000_000, 2: 7_000}


def test_draws_are_uniform_above_zero():
    drawn = np.array([draw_from_os() for _ in range(20_000)])
    assert drawn.min() > 0
    assert drawn.max() <= 1
    assert drawn.mean() == pytest.approx(0.5, abs=4 * 0.2887 / np.sqrt(20_000))  # four standard errors


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="priorities belong to threads on Linux alone")
def test_the_worker_steps_back_and_the_application_keeps_its_priority(tmp_path: Path):
    device = Rig(tmp_path)
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    device.capture.start()
    try:
        worker = next(t for t in threading.enumerate() if t.name == "andon-capture")
        deadline = time.monotonic() + 30
        while (theirs := os.getpriority(os.PRIO_PROCESS, worker.native_id or 0)) <= mine:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert theirs == max(mine, 10)
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine
    finally:
        device.capture.stop()


def test_a_frame_that_arrived_is_weighed_by_the_worker_in_order_and_at_the_time_it_came(tmp_path: Path):
    """Rule 0: the window goes by the moment of arrival, not by the moment of weighing."""
    rig = Rig(tmp_path, window_seconds=20.0, idle_close_seconds=1e9, draws=[0.1, 0.2, 0.3])
    told = [rig.offer(noise(0)), rig.offer(noise(1))]
    rig.clock.pass_seconds(30)
    told.append(rig.offer(noise(2)))
    assert next(rig.draws, None) == 0.1  # nothing was drawn yet
    rig.draws = iter([0.1, 0.2, 0.3])
    rig.clock.pass_seconds(5)
    rig.capture.pump()
    rows = rig.spool.db.execute("SELECT sample_id, window, u FROM entries ORDER BY u").fetchall()
    assert rows == [(told[0].sample_id, 1, 0.1), (told[1].sample_id, 1, 0.2), (told[2].sample_id, 2, 0.3)]


def test_the_application_weighs_itself_when_the_worker_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What has arrived stays bounded, by frames and by bytes."""
    drawn = []
    rig = Rig(tmp_path)
    rig.capture.intake._draw = lambda: drawn.append(1) or 0.5
    monkeypatch.setattr(intake, "_MOST_ARRIVED", 10)
    for i in range(10):
        rig.offer(noise(i))
    assert drawn == []
    rig.offer(noise(10))
    assert len(drawn) == 11
    monkeypatch.setattr(intake, "_MOST_ARRIVED_BYTES", 3 * noise(0).nbytes)
    for i in range(3):
        rig.offer(noise(i))
    assert len(drawn) == 11
    rig.offer(noise(4))
    assert len(drawn) == 15


def test_what_arrives_while_the_worker_commits_waits_for_its_next_round(tmp_path: Path):
    """Else a busy line would have one commit after another, each of a frame or two."""
    rig = Rig(tmp_path)
    rig.offer(noise(0))
    commits = []
    commit = rig.spool.commit

    def slow(steps):
        commits.append(len(steps))
        if len(commits) < 20:
            rig.offer(noise(len(commits)))
        return commit(steps)

    rig.spool.commit = slow
    rig.capture.pump()
    assert len(commits) == 1
    rig.capture.pump()
    assert len(commits) == 2


def test_the_worker_comes_when_half_of_the_queue_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intake, "_MOST_ARRIVED", 20)
    monkeypatch.setattr(capture, "_GATHER_SECONDS", 60.0)
    rig = Rig(tmp_path, window_seconds=1e6, idle_close_seconds=1e6)
    monkeypatch.setattr(Capture, "_tick", lambda self: 60.0)
    rig.capture.start()
    try:
        for i in range(8):
            rig.offer(noise(i))
        time.sleep(0.3)  # a worker that was called would have come by now
        assert len(rig.capture.intake._arrived) == 8
        for i in range(4):
            rig.offer(noise(8 + i))
        deadline = time.monotonic() + 20
        while rig.spool.db.execute("SELECT count(*) FROM entries").fetchone()[0] < 11:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        rig.capture.stop()


def test_frames_of_many_threads_are_all_counted_once(tmp_path: Path):
    rig = Rig(tmp_path, byte_budget=50_000)
    rig.capture.start()
    frames = [noise(i) for i in range(8)]
    try:
        with ThreadPoolExecutor(8) as pool:
            ids = [p.sample_id for p in pool.map(lambda i: rig.offer(frames[i % 8]), range(1200))]
    finally:
        rig.capture.stop()
    assert len(set(ids)) == rig.window()["frames"] == 1200
    assert rig.window()["excluded"] == 0
