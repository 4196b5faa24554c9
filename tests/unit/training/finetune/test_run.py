"""Training: it learns, it repeats to the bit, it goes on after an interruption as if there had been none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edge_client.contract.errors import BadEngine
from tests.unit.training.finetune.conftest import Make
from tests.unit.training.finetune.staged_backbone import ThreeStages
from training.finetune.module import FineTuning, rate_at
from training.finetune.plan import FineTunePlan
from training.finetune.run import Tuned, fine_tune, run_key
from training.finetune.weights import load_weights, pack_weights


class Interrupted(Exception):
    """The process ends here."""


def run(folder: Path, plan: FineTunePlan, made: tuple[object, object]) -> Tuned:
    return fine_tune(ThreeStages(), *made, plan, folder=folder, threads=1)  # type: ignore[arg-type]


def test_it_learns_what_a_head_that_knows_nothing_did_not(
    tmp_path: Path, plan: FineTunePlan, make_tuning: Make
) -> None:
    tuned = run(tmp_path, replace(plan, epochs=8, rate=1e-2, head_rate=5e-2, mixup=0.0, smoothing=0.0), make_tuning())
    losses = [epoch.loss for epoch in tuned.history]
    assert losses[-1] < 0.7 * losses[0]
    assert tuned.weights != pack_weights(ThreeStages())


def test_a_run_repeats_to_the_bit_and_another_seed_gives_other_weights(
    tmp_path: Path, plan: FineTunePlan, make_tuning: Make
) -> None:
    one, two = (run(tmp_path / name, plan, make_tuning()) for name in "ab")
    assert one.weights == two.weights
    assert one.history == two.history
    assert run(tmp_path / "c", plan.with_seed(1), make_tuning()).weights != one.weights


def test_what_an_interruption_leaves_is_gone_on_from_to_the_same_bits(
    tmp_path: Path, plan: FineTunePlan, make_tuning: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", plan, make_tuning())
    step = FineTuning.training_step

    def ends(self: FineTuning, batch: object, index: int) -> torch.Tensor:
        if self.current_epoch == 2 and index == 1:
            raise Interrupted
        return step(self, batch, index)

    with monkeypatch.context() as patched:
        patched.setattr(FineTuning, "training_step", ends)
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", plan, make_tuning())
    resumed = run(tmp_path / "parts", plan, make_tuning())
    assert resumed.resumed == 2
    assert resumed.weights == whole.weights
    assert resumed.history == whole.history
    again = run(tmp_path / "parts", plan, make_tuning())  # read, not trained
    assert (again.weights, again.history) == (whole.weights, whole.history)
    assert not list((tmp_path / "parts").rglob("*.ckpt"))


def test_a_damaged_checkpoint_makes_the_run_begin_anew(tmp_path: Path, plan: FineTunePlan, make_tuning: Make) -> None:
    data, start = make_tuning()
    whole = run(tmp_path / "whole", plan, (data, start))
    place = tmp_path / "damaged" / run_key(ThreeStages(), data, start, plan, 1)
    place.mkdir(parents=True)
    (place / "last.ckpt").write_bytes(b"half a checkpoint")
    assert run(tmp_path / "damaged", plan, (data, start)).weights == whole.weights


def test_it_stops_when_frames_set_aside_gain_no_more_and_keeps_the_best(
    tmp_path: Path, plan: FineTunePlan, make_tuning: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[tuple[float, float]] = []
    keep = FineTuning.keep_average

    def watched(self: FineTuning) -> None:
        last = self._stopping_loss()
        keep(self)
        self._average = [live.detach().clone() for live in self._live]
        ends.append((last, self._stopping_loss()))

    monkeypatch.setattr(FineTuning, "keep_average", watched)
    eager = replace(plan, epochs=12, rate=0.5, head_rate=0.5, patience=2, average=0.0)  # soon overshoots
    tuned = run(tmp_path, eager, make_tuning(stopping=16))
    losses = [epoch.stopping_loss for epoch in tuned.history]
    assert len(losses) < 12
    assert losses.index(min(losses)) == len(losses) - 3
    ((last, kept),) = ends
    assert last == pytest.approx(losses[-1])
    assert kept == pytest.approx(min(losses))


def test_the_rate_rises_then_falls_to_a_small_rest() -> None:
    rates = [rate_at(step, 100) for step in range(101)]
    assert rates[0] < 0.11
    assert max(rates) > 0.95
    assert rates[-1] == pytest.approx(0.02)


def test_weights_come_back_as_they_were_and_others_are_refused() -> None:
    packed, other = pack_weights(ThreeStages()), ThreeStages()
    for parameter in other.parameters():
        parameter.data.add_(1.0)
    load_weights(other, packed)
    assert pack_weights(other) == packed
    with pytest.raises(BadEngine, match="fine-tune anew"):
        load_weights(torch.nn.Linear(2, 2), packed)
    with pytest.raises(BadEngine, match="fine-tune anew"):
        load_weights(other, packed[:100])
