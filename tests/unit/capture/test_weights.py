"""Weights and runs."""

import numpy as np
import pytest

from edge_client.runs import Runs
from edge_client.weights import Weigher
from tests.tiny_engine import tiny_metadata

METADATA = tiny_metadata()


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def weigh(weigher: Weigher, p: float, *, k: int = 1, anomaly: float = 0.0, metadata=METADATA, embedding=None):
    return weigher.weigh(
        probabilities=np.array([1 - p, p], dtype=np.float32),
        anomaly=anomaly,
        embedding=unit(1, 0) if embedding is None else embedding,
        metadata=metadata,
        k=k,
    )


def weigher(audit_share: float = 0.3) -> Weigher:
    return Weigher(audit_share=audit_share, random=np.random.default_rng(0))


def test_the_audit_share_of_all_weight_is_phi():
    """Rule 3: over frames that repeat nothing, a makes up φ of Σw (the running mean needs a start: 5 %)."""
    random = np.random.default_rng(1)
    w = weigher(audit_share=0.3)
    seen = [weigh(w, float(p), embedding=unit(*random.normal(size=8))) for p in random.random(3000)]
    audit = sum(s.reasons["audit"] for s in seen)
    assert audit / sum(s.weight for s in seen) == pytest.approx(0.3, rel=0.05)


def test_every_frame_has_a_weight_even_when_nothing_speaks_for_it():
    w = weigher()
    assert all(weigh(w, 0.0).weight > 0 for _ in range(100))


def test_an_uncertain_frame_outweighs_a_certain_one_and_an_anomalous_one_a_normal_one():
    w = weigher()
    assert weigh(w, 0.5).weight > 2 * weigh(w, 0.01).weight
    assert weigh(w, 0.01, anomaly=1.2).weight > 2 * weigh(w, 0.01, anomaly=0.2).weight


def test_an_anomaly_counts_by_how_unusual_it_is_here():
    """Rule 1: one anomalous frame among normal ones stands out; where all are anomalous, other reasons decide."""
    normal, changed = weigher(), weigher()
    for _ in range(200):
        weigh(normal, 0.02, anomaly=0.3)
        weigh(changed, 0.02, anomaly=1.5)
    rare, usual = weigh(normal, 0.02, anomaly=1.5), weigh(changed, 0.02, anomaly=1.5)
    assert rare.reasons["anomalous"] > 20 * usual.reasons.get("anomalous", 0.0)
    assert weigh(changed, 0.5, anomaly=1.5).weight > 3 * usual.weight


def test_the_kth_near_duplicate_has_a_kth_of_the_reasons():
    """Rule 2: 1/k on the reasons, not on the audit share."""
    first = weigh(weigher(), 0.5, k=1)
    tenth = weigh(weigher(), 0.5, k=10)
    assert tenth.weight - tenth.reasons["audit"] == pytest.approx(
        (first.weight - first.reasons["audit"]) / 10, abs=1e-5
    )
    assert tenth.reasons["audit"] == first.reasons["audit"]


def test_the_reasons_add_up_to_the_weight():
    seen = weigh(weigher(), 0.4, anomaly=0.9)
    assert sum(seen.reasons.values()) == pytest.approx(seen.weight, abs=1e-4)


def test_a_new_kind_of_frame_counts_more_than_one_like_those_before():
    random = np.random.default_rng(2)
    w = weigher()
    for _ in range(100):
        weigh(w, 0.3, embedding=unit(1, *(0.02 * random.normal(size=7))))
    usual = weigh(w, 0.3, embedding=unit(1, *(0.02 * random.normal(size=7))))
    new = weigh(w, 0.3, embedding=unit(0, 1, 0, 0, 0, 0, 0, 0))
    assert new.reasons["uncertain"] > 1.3 * usual.reasons["uncertain"]


def test_with_one_class_the_anomaly_score_decides_what_is_uncertain():
    metadata = tiny_metadata(classes=(("ok", "ok"),))
    w = weigher()

    def one(anomaly: float):
        return w.weigh(
            probabilities=np.ones(1, np.float32), anomaly=anomaly, embedding=unit(1, 0), metadata=metadata, k=1
        )

    assert one(0.95).reasons["uncertain"] > 0.5
    assert one(0.1).reasons.get("uncertain", 0.0) == 0.0


def test_a_part_is_one_run_even_when_two_cameras_interleave_parts():
    runs = Runs(duplicate_distance=0.01)
    places = [runs.place(part, unit(1, 0), "e") for part in ("a", "b", "a", "b", "c", "a")]
    assert [(p.run, p.k) for p in places] == [(0, 1), (1, 1), (0, 2), (1, 2), (2, 1), (0, 3)]


def test_a_stopped_belt_is_one_run_and_a_moving_one_is_not():
    runs = Runs(duplicate_distance=0.01, first_run=7)
    still = [runs.place(None, unit(1, 0.001 * i), "e") for i in range(4)]
    assert {p.run for p in still} == {7}
    assert [p.k for p in still] == [1, 2, 3, 4]
    assert runs.place(None, unit(0, 1), "e").run == 8
    assert runs.place(None, unit(0, 1), "another-engine").run == 9
