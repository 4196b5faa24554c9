"""The challenger at work: never in the way, within its share of a core, and counted as it answers."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace

import numpy as np
import pytest

from edge_client.engine import Engine
from edge_client.shadow.tally import ShadowTally, difference
from edge_client.shadow.worker import ShadowWorker
from tests.tiny_engine import tiny_engine
from tests.unit.shadow.challengers import CHALLENGER, CHAMPION, GREYS, Here, answer, as_answer


def test_what_it_counts_is_what_the_two_engines_answer() -> None:
    tally = ShadowTally()
    worker = ShadowWorker(Here(CHALLENGER, frame_seconds=1e-6), share=1.0, cpu_share=0.5, tally=tally)
    truth = [difference(answer(CHAMPION, g), as_answer(answer(CHALLENGER, g))) for g in GREYS]
    for grey in GREYS:
        doubt = worker.offer(grey, answer(CHAMPION, grey))
        assert doubt is not None
        while not worker.step():
            time.sleep(0.001)
        expected = truth[tally.seen - 1]
        assert doubt.take() == pytest.approx(expected.distance)
    assert (tally.seen, tally.skipped, tally.failed) == (len(GREYS), 0, 0)
    assert tally.verdicts == sum(t.verdict for t in truth) > 3
    assert tally.disagreed == sum(t.disagrees for t in truth)
    assert tally.pairs["ok > defect"] == sum(t.label for t in truth)
    assert tally.cpu_seconds > 0


def test_it_keeps_within_its_share_of_a_core_and_counts_what_it_skips() -> None:
    now = [0.0]
    tally = ShadowTally()
    challenger = Here(CHALLENGER, frame_seconds=0.02)
    worker = ShadowWorker(challenger, share=1.0, cpu_share=0.1, tally=tally, clock=lambda: now[0])
    prediction = answer(CHAMPION, GREYS[0])
    offered = 0
    while now[0] < 60.0:  # a line of 100 frames a second, that would need two cores
        worker.offer(GREYS[0], prediction)
        offered += 1
        worker.step()
        now[0] += 0.01
    spent = tally.cpu_seconds
    assert spent == pytest.approx(0.02 * challenger.answered)
    assert spent <= 0.1 * now[0] + 0.25 + 0.02
    assert spent > 0.09 * now[0]
    assert tally.seen + tally.skipped == pytest.approx(offered, abs=2)
    assert tally.skipped > offered / 2


def test_an_offer_never_waits_for_a_busy_challenger() -> None:
    tally = ShadowTally()
    worker = ShadowWorker(Here(CHALLENGER, sleeps=0.5), share=1.0, cpu_share=0.5, tally=tally)
    worker.start()
    prediction, frame = answer(CHAMPION, GREYS[0]), GREYS[0]
    worst = 0.0
    for _ in range(500):
        begun = time.perf_counter()
        worker.offer(frame, prediction)
        worst = max(worst, time.perf_counter() - begun)
    worker.stop()
    assert tally.skipped > 490
    assert worst < 0.25  # a frame of this challenger takes half a second


def test_frames_are_drawn_by_chance_alone() -> None:
    tally = ShadowTally()
    worker = ShadowWorker(Here(CHALLENGER), share=0.1, cpu_share=0.5, tally=tally, random=random.Random(1))
    prediction = answer(CHAMPION, GREYS[0])
    drawn = 0
    for _ in range(5000):
        drawn += worker.offer(GREYS[0], prediction) is not None
        worker._queue.clear()
    assert abs(drawn - 500) < 4 * (5000 * 0.1 * 0.9) ** 0.5  # four standard errors


def test_a_challenger_that_fails_is_given_up_and_hurts_nobody() -> None:
    nan = Engine.from_bytes(tiny_engine(engine_id="e4", nan=True))
    tally = ShadowTally()
    worker = ShadowWorker(Here(nan), share=1.0, cpu_share=0.5, tally=tally)
    black = np.zeros((16, 16, 3), np.uint8)
    for _ in range(10):
        assert worker.offer(black, answer(CHAMPION, black)) is not None
        while not worker.step():
            time.sleep(0.001)
    assert "10 failures in a row" in worker.gave_up
    assert worker.offer(black, answer(CHAMPION, black)) is None
    assert (tally.seen, tally.failed) == (0, 10)


def test_a_doubt_that_comes_late_weighs_nothing_and_is_counted() -> None:
    tally = ShadowTally()
    worker = ShadowWorker(Here(CHALLENGER), share=1.0, cpu_share=0.5, tally=tally)
    ours = next(g for g in GREYS if difference(answer(CHAMPION, g), as_answer(answer(CHALLENGER, g))).verdict)
    doubt = worker.offer(ours, answer(CHAMPION, ours))
    assert doubt is not None
    assert doubt.take() == 0.0  # capture weighs the frame before the challenger has answered
    while not worker.step():
        time.sleep(0.001)
    assert (tally.disagreed, tally.late) == (1, 1)
    assert doubt.take() == 0.0


def test_counts_are_read_as_they_were_written_and_pairs_are_bounded() -> None:
    tally = ShadowTally()
    found = difference(answer(CHAMPION, GREYS[30]), as_answer(answer(CHALLENGER, GREYS[30])))
    for i in range(40):
        tally.add(replace(found, verdict=True, pair=f"a > {i}"), in_time=True)
    assert len(tally.pairs) == 21
    assert tally.pairs["other"] == 20
    assert ShadowTally.from_json(json.loads(json.dumps(tally.to_json()))).to_json() == tally.to_json()
