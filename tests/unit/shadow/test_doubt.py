"""A challenger's doubt and the weight of a frame: it counts if it comes before the draw, which waits for it a while."""

from __future__ import annotations

import numpy as np

from edge_client.engine import Engine
from edge_client.intake import Candidate, Frame, Intake, Policy, Seal
from edge_client.prediction import predictions_from
from edge_client.runs import Runs
from edge_client.shadow.doubt import Doubt
from edge_client.weights import Weigher
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import DrivenClock

ENGINE = Engine.from_bytes(tiny_engine())


def intake_of(clock: DrivenClock, *, window_seconds: float = 300.0) -> Intake:
    policy = Policy(
        byte_budget=1 << 20, window_seconds=window_seconds, idle_close_seconds=60, audit_share=0.3, recipient="age1"
    )
    return Intake(
        policy=policy,
        clock=clock,
        draw=lambda: 0.5,
        runs=Runs(duplicate_distance=0.0, first_run=0),
        weigher=Weigher(audit_share=0.3, random=np.random.default_rng(0)),
        next_window=0,
        queue_frames=1000,
    )


def frame_of(level: int, clock: DrivenClock, doubt: Doubt | None = None) -> Frame:
    frame = np.full((16, 16, 3), level, np.uint8)
    (prediction,) = predictions_from(ENGINE.run(frame), ENGINE, sample_ids=["0" * 32], latency_ms=1.0)
    return Frame(
        image=frame, prediction=prediction, metadata=ENGINE.metadata, captured_at=clock.now(), context={}, doubt=doubt
    )


def weights(intake: Intake) -> list[float]:
    return [item.weight for item in intake.take(1000) if isinstance(item, Candidate)]


def test_a_doubt_raises_the_weight_before_the_draw_and_never_after() -> None:
    def weighed(*, in_time: bool) -> list[float]:
        clock = DrivenClock()
        intake = intake_of(clock)
        for level in range(0, 250, 10):
            doubt = Doubt() if level == 200 else None
            if doubt is not None and in_time:
                assert doubt.tell(1.0)
            intake.offer(frame_of(level, clock, doubt))
            intake.admit()
            if doubt is not None and not in_time:
                assert not doubt.tell(1.0)
        return weights(intake)

    late, early = weighed(in_time=False), weighed(in_time=True)
    assert len(late) == len(early) == 25
    assert late[:20] == early[:20]
    assert early[20] > 2 * late[20]


def test_a_frame_waits_for_its_challenger_and_those_behind_it_with_it() -> None:
    clock = DrivenClock()
    intake, doubt = intake_of(clock), Doubt()
    for level, told in ((0, None), (100, doubt), (200, None)):
        intake.offer(frame_of(level, clock, told))
    intake.gather(0.0)
    assert len(weights(intake)) == 1
    assert doubt.tell(1.0)
    intake.gather(0.0)
    assert len(weights(intake)) == 2
    assert doubt.weighed


def test_a_challenger_that_says_nothing_is_awaited_for_a_second_and_one_that_gave_up_not_at_all() -> None:
    clock = DrivenClock()
    intake, silent, gone = intake_of(clock), Doubt(), Doubt()
    intake.offer(frame_of(0, clock, silent))
    clock.pass_seconds(0.9)
    intake.gather(0.0)
    intake.rotate_if_due()
    assert not silent.weighed
    clock.pass_seconds(0.2)
    intake.gather(0.0)
    assert silent.weighed
    intake.offer(frame_of(10, clock, gone))
    gone.leave()
    intake.gather(0.0)
    assert gone.weighed


def test_a_window_that_ends_and_a_queue_that_fills_wait_for_nobody() -> None:
    clock = DrivenClock()
    intake, first = intake_of(clock, window_seconds=10.0), Doubt()
    intake.offer(frame_of(0, clock))
    intake.gather(0.0)
    clock.pass_seconds(9.5)
    intake.offer(frame_of(10, clock, first))
    clock.pass_seconds(0.6)
    intake.rotate_if_due()
    items = intake.take(1000)
    assert first.weighed
    assert isinstance(items[-1], Seal)
    assert {item.window for item in items} == {0}  # it arrived within it
    doubts = [Doubt() for _ in range(130)]
    for doubt in doubts:
        intake.offer(frame_of(20, clock, doubt))
    intake.gather(0.0)
    assert sum(doubt.weighed for doubt in doubts) >= 2
    assert not doubts[-1].weighed


def test_the_operators_word_about_a_frame_does_not_wait_for_a_challenger() -> None:
    clock = DrivenClock()
    intake, doubt = intake_of(clock), Doubt()
    intake.offer(frame_of(0, clock, doubt))
    intake.admit()
    assert doubt.weighed
