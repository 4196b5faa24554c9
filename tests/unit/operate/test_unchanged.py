"""Frames that did not change (rules of `edge_client.unchanged`)."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.capture import Capture
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.signing import load_private_key
from edge_client.engine import Engine
from edge_client.intake import Policy
from edge_client.outbox import Outbox, Sender
from edge_client.prediction import predictions_from
from edge_client.spool import Spool
from edge_client.unchanged import Unchanged, difference, grid_of
from edge_client.uploader import Uploader
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import Bundle, DrivenClock, noise

STILL = noise(3, 200)


def repeats(unchanged: Unchanged[int], frame: np.ndarray, answer: int, *, part: str | None = None, engine: str = "e"):
    """What a client does: look, and inspect unless there is an answer to repeat."""
    look = unchanged.look(frame, part_id=part, engine_sha256=engine)
    if look.answer is not None:
        return look.answer
    unchanged.remember(look, answer, engine_sha256=engine)
    return answer


def noisy(frame: np.ndarray, seed: int, sigma: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.clip(frame + random.normal(0, sigma, frame.shape), 0, 255).astype(np.uint8)


def test_the_same_frame_is_repeated_and_another_is_not():
    unchanged: Unchanged[int] = Unchanged(0.01)
    assert repeats(unchanged, STILL, 1) == 1
    assert repeats(unchanged, STILL.copy(), 2) == 1
    assert repeats(unchanged, noise(4, 200), 3) == 3


def test_noise_stays_below_what_the_module_says_and_is_repeated():
    """Noise of 3 levels on both frames: E|difference| = 2·3/√π levels = 0.0133 of full scale; 64 cells of 192 values,
    whose mean has a standard error of 0.0007, so the largest of them lies below 0.0133 + 4.5 · 0.0007.
    """
    grey = np.full((64, 64, 3), 120, np.uint8)  # every pixel is a point of the grid
    found = [difference(grid_of(noisy(grey, i, 3)), grid_of(noisy(grey, i + 1000, 3))) for i in range(50)]
    assert 0.0133 < max(found) < 0.0133 + 4.5 * 0.0007 + 0.001


def test_a_change_in_one_corner_is_not_thinned_out():
    changed = STILL.copy()
    changed[:25, :25] = 255 - changed[:25, :25]  # a 64th of the frame
    whole = np.abs(STILL.astype(int) - changed).mean() / 255
    assert difference(grid_of(STILL), grid_of(changed)) > 30 * whole


def test_a_slow_drift_adds_up_and_is_inspected():
    unchanged: Unchanged[int] = Unchanged(0.02)
    frame = np.full((100, 100, 3), 100, np.uint8)
    answers = [repeats(unchanged, frame + np.uint8(i), i) for i in range(60)]  # one level a frame
    assert Counter(answers).most_common(1)[0][1] == 6  # 5 levels are 0.0196
    assert answers[-1] == 54


def test_another_part_another_engine_or_another_size_is_always_inspected():
    unchanged: Unchanged[int] = Unchanged(0.5)
    assert repeats(unchanged, STILL, 1, part="A") == 1
    assert repeats(unchanged, STILL, 2, part="B") == 2
    assert repeats(unchanged, STILL, 3) == 3
    assert repeats(unchanged, STILL, 4, engine="f") == 4
    assert repeats(unchanged, STILL[:100], 5, engine="f") == 5
    assert repeats(unchanged, STILL[:100], 6, engine="f") == 5


def test_an_engine_that_was_exchanged_is_let_go():
    unchanged: Unchanged[int] = Unchanged(0.5)
    repeats(unchanged, STILL, 1)
    unchanged.look(STILL, part_id=None, engine_sha256="f")
    assert unchanged._seen is None


def test_every_hundredth_frame_is_inspected():
    unchanged: Unchanged[int] = Unchanged(0.5)
    answers = [repeats(unchanged, STILL, i) for i in range(500)]
    assert sorted(set(answers)) == [0, 100, 200, 300, 400]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1 << 30))
def test_the_difference_is_between_0_and_1_the_same_both_ways_and_0_for_the_same(h: int, w: int, seed: int):
    random = np.random.default_rng(seed)
    a, b = (random.integers(0, 256, (h, w, 3), dtype=np.uint8) for _ in range(2))
    one, other = grid_of(a), grid_of(b)
    assert one.shape == (64, 192)
    assert difference(one, one) == 0
    assert difference(one, other) == difference(other, one)
    assert 0 <= difference(one, other) <= 1
    points = (np.arange(64) + 0.5) / 64
    picked = [x[np.ix_((points * h).astype(int), (points * w).astype(int))].astype(float) for x in (a, b)]
    cells = np.abs(picked[0] - picked[1]).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3, 4)) / 255
    assert difference(one, other) == pytest.approx(cells.max())


def test_repeated_frames_are_in_the_population_as_further_frames_of_their_run(tmp_path: Path):
    """Rule 5, through the real capture: the record of a stream with skipping is that of the same stream without."""

    def record_of(name: str, *, skip: bool):
        bundle = Bundle(tmp_path / name)
        clock = DrivenClock()
        spool = Spool(bundle.folder / "spool", limit_bytes=1 << 30, clock=clock)
        draws = iter(np.random.default_rng(7).random(1000))
        capture = Capture(
            spool,
            device="line-1",
            station="aoi-3",
            inspection="solar-cells",
            policy=Policy(
                byte_budget=1 << 20,
                window_seconds=1e6,
                idle_close_seconds=1e6,
                audit_share=0.3,
                recipient=bundle.recipient,
            ),
            clock=clock,
            draw=lambda: 1 - float(next(draws)),
            random=np.random.default_rng(1),
        )
        engine = Engine.from_bytes(tiny_engine())
        unchanged = Unchanged(0.01)
        runs = 0
        for belt in range(6):
            for _ in range(1 if belt % 2 else 12):  # every other part stands for twelve frames
                frame = noise(belt, 40)
                look = unchanged.look(frame, part_id=None, engine_sha256=engine.sha256)
                output = look.answer if skip else None
                if output is None:
                    output, runs = engine.run(frame), runs + 1
                    unchanged.remember(look, output, engine_sha256=engine.sha256)
                (prediction,) = predictions_from(output, engine, sample_ids=[uuid.uuid4().hex], latency_ms=1.0)
                capture.offer(frame, prediction, engine.metadata, {})
        capture.stop()
        sender = Sender(
            device="line-1",
            site="plant-a",
            station="aoi-3",
            inspection="solar-cells",
            key=load_private_key(bundle.folder / "device.key"),
        )
        bucket = DirectoryBucket(tmp_path / name / "bucket")
        assert Uploader(Outbox(spool, sender, shard_bytes=1 << 20), bucket).send_next()
        spool.close()
        (record,) = bundle.records(bucket)
        return record, runs

    with_skipping, inspected = record_of("with", skip=True)
    without, all_frames = record_of("without", skip=False)
    assert (inspected, all_frames) == (6, 39)
    assert with_skipping.frames == without.frames == 39
    lengths = [length for _, length in without.runs]
    assert sum(lengths) == 39
    assert max(lengths) >= 12
    for field in ("weight_total", "threshold", "class_counts", "verdict_counts", "histograms", "runs"):
        assert getattr(with_skipping, field) == getattr(without, field), field
    weights = [(e.weight, e.u) for e in with_skipping.manifest]
    assert weights == [(e.weight, e.u) for e in without.manifest]
    assert len(weights) > 6  # repeated frames can be drawn
