import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.contract.decision import risk
from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.goal import Costs, Goal, Recall
from training.thresholds import choose, choose_thresholds, thresholds_by_cost

CLASSES = (
    ClassInfo(name="ok", kind=Kind.OK),
    ClassInfo(name="dent", kind=Kind.DEFECT),
    ClassInfo(name="crack", kind=Kind.DEFECT),
)


@given(
    p=st.lists(st.floats(min_value=0, max_value=1, width=32), min_size=2, max_size=60),
    seed=st.integers(0, 99),
    share=st.floats(0, 0.5),
)
@settings(max_examples=100, deadline=None)
def test_thresholds_are_always_in_order_and_inside_the_scale(p: list[float], seed: int, share: float) -> None:
    truth = np.random.default_rng(seed).random(len(p)) < 0.3
    found = choose_thresholds(np.array(p, dtype=np.float32), truth, np.ones(len(p)), unsure_share=share)
    assert 0 < found.unsure_low <= found.defect <= found.unsure_high < 1


def test_the_unsure_band_holds_about_the_share_asked_for() -> None:
    random = np.random.default_rng(0)
    truth = random.random(2000) < 0.3
    p = np.clip(random.normal(np.where(truth, 0.6, 0.25), 0.15), 0.01, 0.99).astype(np.float32)
    found = choose_thresholds(p, truth, np.ones(2000), unsure_share=0.1)
    assert ((p >= found.unsure_low) & (p < found.unsure_high)).mean() == pytest.approx(0.1, abs=0.01)


def test_a_handful_of_defects_cannot_drag_the_threshold_to_an_end() -> None:
    p = np.array([0.01] * 50 + [0.999], dtype=np.float32)
    truth = np.arange(51) == 50
    assert choose_thresholds(p, truth, np.ones(51)).defect <= 0.6


def calibrated_frames(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three classes that are right, and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 3)) + np.array([3.0, 0.0, 0.0])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p.astype(np.float32), (p.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)


def cost_of(costs: Costs, said: np.ndarray, labels: np.ndarray, limit: float) -> float:
    escape = np.array(costs.escape_by_class(CLASSES))[labels]
    return float(np.where(said >= limit, np.where(labels == 0, costs.false_alarm, 0.0), escape).mean())


@pytest.mark.parametrize("costs", [Costs(escape=50.0), Costs(escape=5.0, escape_of={"crack": 200.0})])
def test_thresholds_from_costs_are_the_cheapest_there_are(costs: Costs) -> None:
    p, labels = calibrated_frames(60_000)
    limits = thresholds_by_cost(costs, CLASSES)
    said = risk(p, CLASSES, limits)
    ours = cost_of(costs, said, labels, limits.defect)
    # Standard error of a mean cost here is below 0.01: no other threshold may be cheaper by more than chance.
    assert ours <= min(cost_of(costs, said, labels, limits.defect * f) for f in (0.2, 0.5, 2.0, 5.0)) + 0.01
    assert ours < cost_of(costs, p[:, 1:].sum(axis=1), labels, 0.5) / 2


def test_a_class_whose_escape_costs_more_is_rejected_sooner() -> None:
    limits = thresholds_by_cost(Costs(escape=9.0, escape_of={"crack": 99.0}), CLASSES)
    assert limits.by_class == pytest.approx((1.0, 0.1, 0.01))
    at = risk(np.array([[0.9, 0.1, 0.0], [0.99, 0.0, 0.01]], np.float32), CLASSES, limits)
    np.testing.assert_allclose(at, limits.defect, rtol=1e-5)


def test_a_person_is_asked_where_that_is_cheaper_than_either_mistake() -> None:
    limits = thresholds_by_cost(Costs(escape=50.0, ask=0.3), CLASSES)
    assert (limits.unsure_low, limits.unsure_high) == pytest.approx((0.006, 0.7))
    dear = thresholds_by_cost(Costs(escape=1.0, ask=0.9), CLASSES)
    assert dear.unsure_low == dear.defect == dear.unsure_high


def test_a_required_recall_holds_for_frames_to_come() -> None:
    asked, kept = 0.9, []
    new, truth = calibrated_frames(40_000, seed=99)
    for seed in range(30):
        p, labels = calibrated_frames(700, seed)
        found = choose(Goal(recall=Recall(least=asked)), CLASSES, p, labels, np.ones(700), unsure_share=0.0)
        caught = risk(new, CLASSES, found.thresholds) >= found.thresholds.defect
        kept.append([caught[truth == c].mean() for c in (1, 2)])
        assert set(found.promised) == {"dent", "crack"}
    # A conformal promise holds on average over what was learnt from; its standard error over 30 is below 0.01.
    assert np.mean(kept, axis=0).min() > asked - 0.02


def test_what_so_few_examples_cannot_promise_is_said() -> None:
    p, labels = calibrated_frames(300)
    rows = np.r_[np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:4]]
    found = choose(Goal(recall=Recall(least=0.99)), CLASSES, p[rows], labels[rows], np.ones(len(rows)))
    assert found.promised == {"dent": pytest.approx(0.8)}  # the fifth may be below the lowest of four
    caught = risk(p[rows], CLASSES, found.thresholds) >= found.thresholds.defect
    assert caught[labels[rows] == 1].all()


def test_one_hard_class_does_not_pull_the_others_down() -> None:
    random = np.random.default_rng(0)
    dent = np.clip(random.normal(0.8, 0.05, 100), 0.01, 0.98)
    crack = np.clip(random.normal(0.06, 0.01, 100), 0.02, 0.98)
    ok = np.clip(random.normal(0.1, 0.03, 400), 0.02, 0.3)  # looks a little like a dent, never like a crack
    p = np.zeros((600, 3))
    p[:100, 1], p[100:200, 2], p[200:, 1] = dent, crack, ok
    p[:, 0] = 1 - p.sum(axis=1)
    labels = np.repeat([1, 2, 0], [100, 100, 400])
    limits = choose(Goal(recall=Recall(least=0.95)), CLASSES, p.astype(np.float32), labels, np.ones(600)).thresholds
    alarms = (risk(p.astype(np.float32), CLASSES, limits) >= limits.defect)[200:].mean()
    assert limits.by_class
    assert alarms < 0.05
