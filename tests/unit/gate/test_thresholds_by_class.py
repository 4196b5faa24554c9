"""The gate judges with the decision that a device takes, where classes have thresholds of their own (rule 11)."""

from __future__ import annotations

import numpy as np

from edge_client.contract.decision import decided_class
from edge_client.contract.engine_metadata import Thresholds
from tests.unit.gate.two_models import THREE, paired
from training.evidence import Evidence
from training.field_checks import RANKING, field_checks
from training.gate_policy import GatePolicy
from training.report_slices import slice_table

POLICY = GatePolicy(resamples=300)
#: The common threshold is for cracks; a void is rejected from a twentieth of that probability on.
STRICT = Thresholds(defect=0.5, unsure_low=0.5, unsure_high=0.5, by_class=(1.0, 0.5, 0.025))
COMMON = Thresholds(defect=0.5, unsure_low=0.5, unsure_high=0.5)


def evidence(thresholds: Thresholds, n: int = 400) -> Evidence:
    """Voids that look little like one, and ok frames that look more like cracks than voids look like voids."""
    rng = np.random.default_rng(5)
    labels = rng.choice([0, 1, 2], size=n, p=[0.7, 0.15, 0.15]).astype(np.int64)
    p = np.zeros((n, 3))
    p[:, 1] = np.where(labels == 1, 0.9, np.where(labels == 0, rng.uniform(0.1, 0.3, n), 0.01))
    p[:, 2] = np.where(labels == 2, rng.uniform(0.04, 0.08, n), 0.001)
    p[:, 0] = 1 - p.sum(axis=1)
    both = p.astype(np.float32)
    return Evidence(classes=THREE, field=paired(labels, both, both, devices=2), thresholds=(COMMON, thresholds))


def test_frames_are_ranked_as_the_device_holds_them_against_its_threshold() -> None:
    found = evidence(STRICT)
    assert found.field is not None
    before, after = found.held(found.field)
    assert before is not None
    np.testing.assert_allclose(before, found.probability(found.field.challenger))
    rejected = decided_class(found.field.challenger, THREE, STRICT) > 0
    np.testing.assert_array_equal(after >= STRICT.defect, rejected)
    assert rejected[found.field.labels == 2].all()
    assert not (before >= COMMON.defect)[found.field.labels == 2].any()


def test_a_challenger_whose_thresholds_find_a_class_is_better_though_its_probabilities_are_the_same() -> None:
    found = evidence(STRICT)
    assert found.field is not None
    checks = {check.name: check for check in field_checks(found, found.field, POLICY, POLICY.error_budget(0), 0)}
    ranked = checks[RANKING]
    assert ranked.difference is not None
    assert ranked.difference.value > 0.3  # voids stand before ok frames now
    assert checks["log score"].difference is not None
    assert checks["log score"].difference.value == 0  # what is said of probabilities is unchanged
    same = evidence(COMMON)
    assert same.field is not None
    (none, *_) = [c for c in field_checks(same, same.field, POLICY, POLICY.error_budget(0), 0) if c.name == RANKING]
    assert none.difference is not None
    assert none.difference.value == 0


def test_the_reports_slices_rank_in_the_same_way() -> None:
    found = evidence(STRICT)
    assert found.field is not None
    (row, *_) = slice_table(found, found.field, 0)
    before, after = row["models"]
    assert after["ranking"].value > before["ranking"].value + 0.3
    assert after["decisions"].value > before["decisions"].value + 0.2


def test_a_champion_with_thresholds_by_class_does_not_know_a_class_that_came_later() -> None:
    found = evidence(STRICT)
    assert found.field is not None
    old = Thresholds(defect=0.5, unsure_low=0.5, unsure_high=0.5, by_class=(1.0, 0.05))  # of ok and crack
    later = Evidence(classes=THREE, field=found.field, thresholds=(old, STRICT))
    before, _ = later.held(found.field)
    said, _ = later.decided(found.field)
    assert before is not None
    assert said is not None
    np.testing.assert_array_equal(before >= old.defect, said > 0)
