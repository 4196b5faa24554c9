"""What a frame may also have looked like."""

import numpy as np
import torch

from training.finetune.augment import augment, generator_of, mix, order_of
from training.finetune.plan import FineTunePlan

FRAMES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 3, 8, 8), dtype=np.uint8))


def ways(plan: FineTunePlan) -> set[int]:
    """Which of the eight ways to lay a square were taken, over many steps."""
    corner = torch.zeros((64, 3, 4, 4), dtype=torch.uint8)
    corner[:, :, 0, 1] = 200
    found = set()
    for step in range(4):
        for frame in augment(corner, plan, generator_of(plan, 0, step)):
            found.add(int(frame[0].argmax()))
    return found


def test_without_flips_turns_and_jitter_a_frame_stays_as_it_is() -> None:
    plan = FineTunePlan(flips=False, quarter_turns=False, jitter=0.0)
    assert torch.equal(augment(FRAMES, plan, generator_of(plan, 0, 0)), FRAMES.float())


def test_quarter_turns_are_taken_only_where_they_are_harmless() -> None:
    assert len(ways(FineTunePlan(jitter=0.0))) == 4
    assert len(ways(FineTunePlan(jitter=0.0, quarter_turns=True))) == 8


def test_a_step_draws_the_same_again_and_another_step_something_else() -> None:
    plan = FineTunePlan()
    first = augment(FRAMES, plan, generator_of(plan, 3, 7))
    assert torch.equal(first, augment(FRAMES, plan, generator_of(plan, 3, 7)))
    assert not torch.equal(first, augment(FRAMES, plan, generator_of(plan, 3, 8)))


def test_brightness_and_contrast_change_by_no_more_than_the_plan_says() -> None:
    plan = FineTunePlan(flips=False, jitter=0.1)
    real = augment(FRAMES, plan, generator_of(plan, 0, 0))
    shift = (real.mean((1, 2, 3)) - FRAMES.float().mean((1, 2, 3))).abs()
    spread = real.std((1, 2, 3)) / FRAMES.float().std((1, 2, 3))
    assert 1 < shift.max() <= 12.7 + 1e-3
    assert 0.9 - 1e-3 <= spread.min() < 0.97 < 1.03 < spread.max() <= 1.1 + 1e-3


def test_mixing_keeps_the_sum_of_targets_and_goes_half_way_at_most() -> None:
    plan = FineTunePlan(mixup=5.0)
    targets = torch.eye(2)[torch.arange(64) % 2]
    frames, mixed = mix(FRAMES.float(), targets, plan, generator_of(plan, 0, 0))
    assert torch.allclose(mixed.sum(1), torch.ones(64))
    assert (mixed.gather(1, (torch.arange(64) % 2)[:, None]) >= 0.5).all()
    assert not torch.equal(frames, FRAMES.float())
    same, _ = mix(FRAMES.float(), targets, FineTunePlan(mixup=0.0), generator_of(plan, 0, 0))
    assert torch.equal(same, FRAMES.float())


def test_each_epoch_sees_every_frame_once_in_another_order() -> None:
    plan = FineTunePlan()
    orders = [order_of(plan, epoch, 100) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert orders[0].tolist() != orders[1].tolist()
