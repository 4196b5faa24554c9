"""The gate's rules, one by one; numbers refer to training/gate.py."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from edge_client.contract.engine_metadata import ClassInfo, Kind, Thresholds
from tests.unit.gate.two_models import THREE, TWO, drawn, paired, risk, seen
from training.error_budget import effective_needed
from training.gate import Answer, BadEvidence, Evidence, Finding, GatePolicy, PairedSet, Parity, Role, judge

POLICY = GatePolicy(resamples=300)


def good_evidence(**changes: object) -> Evidence:
    rng = np.random.default_rng(5)
    base = Evidence(
        classes=TWO, field=drawn(rng, 100, 0.4, 1.6), golden=drawn(rng, 260, 3.0, 3.0),
        size_bytes=(5_000_000, 5_100_000), latency_ms=(3.0, 3.2),
    )  # fmt: skip
    return replace(base, **changes)


def test_a_challenger_that_is_better_and_loses_nothing_is_promoted_and_says_why() -> None:
    decision = judge(good_evidence(), POLICY)
    assert decision.answer is Answer.PROMOTE
    assert "is better" in decision.reasons[0]
    assert "golden" in " ".join(decision.reasons)
    assert all(c.finding is Finding.HOLDS for c in decision.checks if c.role is Role.PROVE)


def test_the_same_evidence_gets_the_same_decision() -> None:
    assert judge(good_evidence(), POLICY).to_dict() == judge(good_evidence(), POLICY).to_dict()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"size_bytes": (5_000_000, 90_000_000)}, "size"),
        ({"latency_ms": (30.0, 70.0)}, "latency"),
        ({"parity": Parity(flips=40, n=400)}, "decided otherwise"),
    ],
)
def test_a_broken_budget_refuses_an_otherwise_good_challenger(changes: dict[str, object], word: str) -> None:
    decision = judge(good_evidence(**changes), POLICY)
    assert decision.answer is Answer.REJECT
    assert word in decision.reasons[0]


def test_latency_measured_on_a_busy_machine_does_not_refuse_a_fast_engine() -> None:
    assert judge(good_evidence(latency_ms=(3.0, 9.0)), POLICY).answer is Answer.PROMOTE


def test_without_field_labels_the_gate_asks_for_some_of_each_kind_and_spends_nothing() -> None:
    decision = judge(good_evidence(field=None), POLICY)
    needed = effective_needed(POLICY.error_budget(0).better / 2)
    assert decision.answer is Answer.NOT_ENOUGH
    assert decision.label_more == {"ok": needed, "crack": needed}
    assert decision.reasons[0] == f"label {needed} more of crack and {needed} more of ok"
    assert decision.error_budget is not None
    assert decision.error_budget.share == 0


def test_a_handful_of_labels_of_one_kind_asks_for_the_other() -> None:
    labels = np.zeros(30, dtype=np.int64)
    labels[:2] = 1
    rng = np.random.default_rng(0)
    field = paired(labels, risk(seen(labels, 1, rng)), risk(seen(labels, 2, rng)))
    decision = judge(good_evidence(field=field), POLICY)
    assert decision.answer is Answer.NOT_ENOUGH
    assert decision.label_more == {"crack": effective_needed(POLICY.error_budget(0).better / 2) - 2}


def test_labels_of_very_unequal_weight_count_as_fewer() -> None:
    rows = drawn(np.random.default_rng(0), 40, 1.0, 2.0)
    heavy = replace(rows, weight=np.where(np.arange(40) % 8 == 0, 100.0, 1.0))
    even, uneven = (judge(good_evidence(field=field), POLICY) for field in (rows, heavy))
    assert even.error_budget is not None
    assert even.error_budget.share > 0
    assert uneven.error_budget is not None
    assert uneven.error_budget.share == 0
    assert uneven.label_more["crack"] > 0


def test_a_small_gain_on_few_labels_is_not_enough_and_says_how_many_labels_would_be() -> None:
    decision = judge(good_evidence(field=drawn(np.random.default_rng(2), 40, 1.2, 1.3)), POLICY)
    assert decision.answer is Answer.NOT_ENOUGH
    assert decision.label_more["crack"] > 0
    assert decision.reasons[0].startswith("label ")


def test_an_identical_challenger_is_not_promoted() -> None:
    field = good_evidence().field
    assert field is not None
    same = replace(field, challenger=field.champion)
    assert judge(good_evidence(field=same), POLICY).answer is not Answer.PROMOTE


def test_what_is_asked_for_counts_the_labels_that_no_estimate_rests_on() -> None:
    evidence = good_evidence(field=drawn(np.random.default_rng(2), 40, 1.2, 1.3))
    all_drawn, half_drawn = judge(evidence, POLICY), judge(evidence, POLICY, drawn_share=0.5)
    assert half_drawn.label_more == all_drawn.label_more
    (whole,), (doubled,) = (re.findall(r"some (\d+) labels in all", d.reasons[0]) for d in (all_drawn, half_drawn))
    assert int(doubled) == 2 * int(whole)
    assert "the queue draws 50% of what it asks for" in half_drawn.reasons[0]
    few = judge(good_evidence(field=None), POLICY, drawn_share=0.5)
    assert few.reasons[0].endswith("(the queue draws 50% of what it asks for, and only those count here)")


def test_what_a_challenger_gains_must_be_worth_a_release() -> None:
    field = drawn(np.random.default_rng(2), 1_500, 1.5, 1.5)
    decision = judge(good_evidence(field=field), POLICY)
    assert decision.answer is Answer.REJECT
    assert "gains less than 0.1" in decision.reasons[0]


def test_a_challenger_that_ranks_well_and_decides_badly_is_refused() -> None:
    field = drawn(np.random.default_rng(2), 400, 1.0, 2.0)
    good = Thresholds(defect=0.4)
    assert judge(good_evidence(field=field, thresholds=(good, good)), POLICY).answer is Answer.PROMOTE
    decision = judge(good_evidence(field=field, thresholds=(good, Thresholds(defect=0.999))), POLICY)
    assert decision.answer is Answer.REJECT
    assert "what the device decides" in decision.reasons[0]


def test_recall_on_the_golden_set_is_what_the_device_decides() -> None:
    golden = paired(
        np.array([0, 0, 1, 1]), risk(np.array([-3.0, -3.0, -1.0, 3.0])), risk(np.array([-3.0, -3.0, -1.0, 3.0]))
    )
    low, half = Thresholds(defect=0.2), Thresholds(defect=0.5)
    notes = {c.name: c for c in judge(good_evidence(golden=golden, thresholds=(half, low)), POLICY).checks}
    recall = notes["recall of crack, as a device decides (n = 2)"]
    assert (recall.champion, recall.challenger) == ("0.500", "1.000")


def test_each_class_is_guarded_on_the_field_by_its_own_margin() -> None:
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1, 2], [200, 80, 80])

    def three(swap: bool) -> np.ndarray:
        scores = rng.normal(size=(360, 3)) * 0.8
        scores[np.arange(360), labels] += 3
        if swap:
            scores[labels == 2] = scores[labels == 2][:, [0, 2, 1]]
        return (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)

    decision = judge(Evidence(classes=THREE, field=paired(labels, three(False), three(True))), POLICY)
    assert decision.answer is Answer.REJECT
    assert "average precision of void on field samples is worse" in " ".join(decision.reasons)
    assert {c.role for c in decision.checks if c.name == "average precision of void"} == {Role.PROVE}


def test_without_require_better_an_equal_challenger_on_many_labels_is_promoted() -> None:
    field = drawn(np.random.default_rng(2), 800, 1.5, 1.5)
    policy = GatePolicy(resamples=300, require_better=False)
    assert judge(good_evidence(field=field), policy).answer is Answer.PROMOTE


def test_a_device_that_gets_worse_refuses_what_is_better_on_average() -> None:
    rng = np.random.default_rng(8)
    field = drawn(rng, 400, 1.0, 2.5, devices=4)
    challenger = field.challenger.copy()
    bad = field.device == "line-2"
    challenger[bad] = risk(seen(field.labels[bad], 0.0, rng) - 1.0)
    decision = judge(good_evidence(field=replace(field, challenger=challenger)), POLICY)
    assert decision.answer is Answer.REJECT
    assert "device line-2" in " ".join(decision.reasons)


def test_a_forgotten_class_is_found_behind_a_good_average() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], [200, 60, 60])

    def three(swap: bool) -> np.ndarray:
        scores = rng.normal(size=(320, 3)) * 0.3
        scores[np.arange(320), labels] += 3
        if swap:  # defects are still defects, but voids are called cracks
            scores[labels == 2] = scores[labels == 2][:, [0, 2, 1]]
        return (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)

    golden = paired(labels, three(False), three(True))
    rng_field = np.random.default_rng(5)
    field_labels = (rng_field.permutation(100) < 40).astype(np.int64)
    wide = [np.pad(risk(seen(field_labels, d, rng_field)), ((0, 0), (0, 1))) for d in (0.4, 1.6)]
    decision = judge(Evidence(classes=THREE, field=paired(field_labels, wide[0], wide[1]), golden=golden), POLICY)
    assert decision.answer is Answer.REJECT
    assert "average precision of void on golden samples is worse" in " ".join(decision.reasons)


def test_a_golden_class_of_few_samples_does_not_block_while_no_loss_shows() -> None:
    decision = judge(good_evidence(golden=drawn(np.random.default_rng(1), 40, 3.0, 3.0, share=0.2)), POLICY)
    assert decision.answer is Answer.PROMOTE
    assert next(c.role for c in decision.checks if c.where == "golden samples") is Role.GUARD


def test_weights_decide_whom_the_evidence_speaks_for() -> None:
    # The challenger is better on the half of the line that was hardly sampled, worse on the other half.
    rng = np.random.default_rng(6)
    labels = (rng.random(400) < 0.4).astype(np.int64)
    rare = np.arange(400) < 200
    good, poor = risk(seen(labels, 2.5, rng)), risk(seen(labels, 0.8, rng))
    champion, challenger = np.where(rare[:, None], poor, good), np.where(rare[:, None], good, poor)
    for many, expected in ((rare, Answer.PROMOTE), (~rare, Answer.REJECT)):
        field = paired(labels, champion, challenger, weight=np.where(many, 20.0, 1.0))
        assert judge(Evidence(classes=TWO, field=field), POLICY).answer is expected


def test_unequal_weights_widen_the_bounds() -> None:
    rows = drawn(np.random.default_rng(9), 200, 0.8, 1.6)
    heavy = replace(rows, weight=np.where(np.arange(200) % 10 == 0, 30.0, 1.0))

    def width(field: PairedSet) -> float:
        difference = judge(Evidence(classes=TWO, field=field), POLICY).checks[1].difference  # log score: no floor
        assert difference is not None
        return difference.high - difference.low

    assert width(heavy) > 1.5 * width(rows)


def test_groups_of_near_duplicates_do_not_count_as_many() -> None:
    rows = drawn(np.random.default_rng(9), 24, 0.4, 1.6)
    repeat = np.repeat(np.arange(24), 10)
    many = replace(
        rows, ids=np.array([f"s{i}" for i in range(240)]), labels=rows.labels[repeat],
        champion=rows.champion[repeat] if rows.champion is not None else None, challenger=rows.challenger[repeat],
        weight=rows.weight[repeat], device=rows.device[repeat], station=rows.station[repeat],
        group=np.arange(240).astype(str),
    )  # fmt: skip

    def error(group: np.ndarray) -> float:
        check = judge(Evidence(classes=TWO, field=replace(many, group=group)), POLICY).checks[0]
        assert check.difference is not None
        return check.difference.high - check.difference.low

    assert error(repeat.astype(str)) > 1.8 * error(many.group)


def test_the_first_model_is_promoted_when_it_knows_something() -> None:
    golden = drawn(np.random.default_rng(1), 200, None, 2.0)
    decision = judge(Evidence(classes=TWO, golden=golden, size_bytes=(None, 5_000_000)), POLICY)
    assert decision.answer is Answer.PROMOTE
    assert "no champion" in decision.reasons[0]


@pytest.mark.parametrize(("separation", "expected"), [(-1.5, Answer.REJECT), (0.0, Answer.NOT_ENOUGH)])
def test_a_first_model_that_knows_nothing_is_not_promoted(separation: float, expected: Answer) -> None:
    rng = np.random.default_rng(1)
    labels = (rng.permutation(200) < 80).astype(np.int64)
    score = risk(separation * ((labels > 0) - 0.5) + rng.normal(size=200))
    decision = judge(Evidence(classes=TWO, golden=paired(labels, None, score)), POLICY)
    assert decision.answer is expected


def test_a_first_model_with_nothing_held_out_asks_for_labels() -> None:
    decision = judge(Evidence(classes=TWO), POLICY)
    assert decision.answer is Answer.NOT_ENOUGH
    assert decision.label_more == {"ok": 5, "crack": 5}


def test_a_first_model_of_ok_frames_alone_is_promoted_within_its_budgets() -> None:
    ok = (ClassInfo(name="ok", kind=Kind.OK),)
    assert judge(Evidence(classes=ok, size_bytes=(None, 5_000_000)), POLICY).answer is Answer.PROMOTE
    assert judge(Evidence(classes=ok, size_bytes=(None, 500_000_000)), POLICY).answer is Answer.REJECT
    later = judge(Evidence(classes=ok, size_bytes=(5_000_000, 5_000_000)), POLICY)
    assert later.answer is Answer.NOT_ENOUGH
    assert "kind defect" in later.reasons[0]


def test_a_class_that_the_champion_does_not_know_can_be_judged() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [60, 20, 20])
    champion = np.pad(risk(seen(np.minimum(labels, 1), 1.0, rng)), ((0, 0), (0, 1)))
    scores = rng.normal(size=(100, 3)) * 0.8
    scores[np.arange(100), labels] += 2
    challenger = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)
    decision = judge(Evidence(classes=THREE, field=paired(labels, champion, challenger)), POLICY)
    assert decision.answer is Answer.PROMOTE


def test_damaged_evidence_is_refused_with_the_reason() -> None:
    rows = drawn(np.random.default_rng(0), 10, 1.0, 1.0)
    with pytest.raises(BadEvidence, match="leave samples without a probability"):
        replace(rows, weight=np.full(10, np.nan))
    with pytest.raises(BadEvidence, match="remove duplicates"):
        replace(rows, ids=np.array(["a"] * 10))
    with pytest.raises(BadEvidence, match="2 columns for 3 classes"):
        Evidence(classes=THREE, field=rows)
    with pytest.raises(BadEvidence, match="labels outside"):
        Evidence(classes=TWO, field=replace(rows, labels=np.full(10, 2)))
    with pytest.raises(BadEvidence, match="9 weight"):
        replace(rows, weight=np.ones(9))
