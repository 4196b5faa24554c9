"""Weights and runs."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from edge_client.runs import Runs
from edge_client.weights import Weigher
from tests.tiny_engine import tiny_metadata

METADATA = tiny_metadata()


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def weigh(weigher: Weigher, p: float, *, k: int = 1, anomaly: float = 0.0, metadata=METADATA, embedding=None):
    return weigher.weigh(
        probabilities=[1 - p, p],
        anomaly=anomaly,
        embedding=unit(1, 0) if embedding is None else embedding,
        metadata=metadata,
        k=k,
    )


def weigher(audit_share: float = 0.3) -> Weigher:
    return Weigher(audit_share=audit_share, random=np.random.default_rng(0))


def test_the_audit_share_of_all_weight_is_phi():
    """Rule 6: over frames that repeat nothing, a makes up φ of Σw (the running mean needs a start: 5 %)."""
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
    """Rule 3: one anomalous frame among normal ones stands out; where all are anomalous, other reasons decide."""
    normal, changed = weigher(), weigher()
    for _ in range(200):
        weigh(normal, 0.02, anomaly=0.3)
        weigh(changed, 0.02, anomaly=1.5)
    rare, usual = weigh(normal, 0.02, anomaly=1.5), weigh(changed, 0.02, anomaly=1.5)
    assert rare.reasons["anomalous"] > 20 * usual.reasons.get("anomalous", 0.0)
    assert weigh(changed, 0.5, anomaly=1.5).weight > 3 * usual.weight


def test_the_kth_near_duplicate_has_a_kth_of_the_reasons():
    """Rule 5: 1/k on the reasons, not on the audit share."""
    first = weigh(weigher(), 0.5, k=1)
    tenth = weigh(weigher(), 0.5, k=10)
    assert tenth.weight - tenth.reasons["audit"] == pytest.approx(
        (first.weight - first.reasons["audit"]) / 10, abs=1e-5
    )
    assert tenth.reasons["audit"] == first.reasons["audit"]


def test_the_reasons_add_up_to_the_weight():
    seen = weigh(weigher(), 0.4, anomaly=0.9)
    assert sum(seen.reasons.values()) == pytest.approx(seen.weight, abs=1e-4)


def test_a_clear_case_counts_more_than_many_faint_ones():
    """Rule 2: one frame that is almost surely a defect outweighs two that are half as likely to be one."""
    w = weigher()
    for _ in range(200):
        weigh(w, 0.02)
    clear, faint = weigh(w, 0.96).reasons["rare"], weigh(w, 0.48).reasons["rare"]
    assert clear > 3 * faint > 0


def test_a_reason_that_all_share_does_not_drown_one_that_few_have():
    """Rule 2: where every frame is uncertain, one that is anomalous too stands out; alone it would not be twice."""
    w = weigher()
    for _ in range(200):
        weigh(w, 0.5)
    usual, anomalous = weigh(w, 0.5), weigh(w, 0.5, anomaly=1.5)
    assert anomalous.weight > 5 * usual.weight
    assert anomalous.reasons["anomalous"] > 10 * anomalous.reasons["uncertain"]


def test_a_faint_reason_stays_faint_however_seldom_it_is_and_none_counts_more_than_twenty_times():
    w = weigher()
    for _ in range(1000):
        weigh(w, 0.0)
    assert weigh(w, 0.0, anomaly=0.76).weight < 2 * weigh(w, 0.0, anomaly=0.7).weight + 0.5
    seen = weigh(w, 0.0, anomaly=5.0, embedding=unit(1, 0))
    assert 10 < seen.weight <= 2 * 20  # twice for novelty


@given(
    stream=st.lists(
        st.tuples(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1e6), st.integers(1, 9)), max_size=40
    ),
    audit_share=st.floats(0.01, 0.9),
)
def test_whatever_is_seen_the_audit_share_is_what_rule_6_says_and_the_rest_is_told(stream, audit_share):
    w = weigher(audit_share)
    metadata = tiny_metadata(classes=(("ok", "ok"), ("crack", "defect"), ("void", "defect")))
    reasons: list[float] = []
    for p, anomaly, k in stream:
        total = sum(p) or 1.0
        seen = w.weigh(
            probabilities=[x / total for x in p], anomaly=anomaly, embedding=unit(1, 0), metadata=metadata, k=k
        )
        reasons.append((seen.weight - seen.audit) * k)
        assert seen.audit == pytest.approx(audit_share / (1 - audit_share) * np.mean(reasons))
        assert 0 < seen.audit <= seen.weight < float("inf")
        assert sum(seen.reasons.values()) == pytest.approx(seen.weight, abs=1e-5)
        assert all(part >= 0 for part in seen.reasons.values())


def test_what_is_not_a_number_does_not_stay_in_the_weights():
    """An engine may answer anything; the frames after it are weighed as if it had not."""
    nan = float("nan")
    w = weigher()
    broken = w.weigh(probabilities=[nan, nan], anomaly=nan, embedding=unit(1, 0) * nan, metadata=METADATA, k=1)
    assert 0 < broken.weight < float("inf")
    assert 0 < weigh(w, 0.5).weight < float("inf")
    assert weigh(w, 0.5, anomaly=1.0).weight > weigh(w, 0.01).weight


def test_counts_of_classes_outlive_a_new_engine_that_knows_them():
    w = weigher()
    other = tiny_metadata(classes=(("void", "defect"), ("ok", "ok"), ("crack", "defect")))
    for _ in range(400):
        w.weigh(probabilities=[0.9, 0.05, 0.05], anomaly=0.0, embedding=unit(1, 0), metadata=other, k=1)
    # "void" is what this device always sees, so the next engine's "void" is not rare either, but a defect all the same
    known = tiny_metadata(classes=(("ok", "ok"), ("void", "defect")))
    new = tiny_metadata(classes=(("ok", "ok"), ("burr", "defect")))
    fresh = weigher()
    for one, metadata in ((w, known), (fresh, new)):
        one.weigh(probabilities=[1.0, 0.0], anomaly=0.0, embedding=unit(1, 0), metadata=metadata, k=1)
    seen = w.weigh(probabilities=[0.0, 1.0], anomaly=0.0, embedding=unit(1, 0), metadata=known, k=1)
    unseen = fresh.weigh(probabilities=[0.0, 1.0], anomaly=0.0, embedding=unit(1, 0), metadata=new, k=1)
    assert unseen.reasons["rare"] > seen.reasons["rare"] > 0


def test_with_one_class_the_anomaly_score_decides_what_is_uncertain():
    metadata = tiny_metadata(classes=(("ok", "ok"),))
    w = weigher()

    def one(anomaly: float):
        return w.weigh(probabilities=[1.0], anomaly=anomaly, embedding=unit(1, 0), metadata=metadata, k=1)

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
