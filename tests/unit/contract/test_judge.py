"""One rule, two forms: `Judge` for a frame on the device, arrays for many frames in evaluation and gate."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_client.contract.decision import Judge, Verdict, decide, decided_class, defect_probability
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds

unit = st.floats(0, 1, width=32)


@given(
    kinds=st.lists(st.sampled_from(Kind), min_size=1, max_size=7),
    rows=st.lists(st.lists(unit, min_size=7, max_size=7), min_size=1, max_size=6),
    anomaly=st.lists(st.floats(0, 3, width=32), min_size=6, max_size=6),
    limits=st.tuples(unit, unit, unit),
    at_threshold=st.booleans(),
    own=st.one_of(st.none(), st.lists(st.floats(1e-3, 1), min_size=7, max_size=7)),
)
def test_a_frame_is_judged_on_the_device_as_in_evaluation(kinds, rows, anomaly, limits, at_threshold, own):
    classes = tuple(ClassInfo(name=f"c{i}", kind=kind) for i, kind in enumerate(kinds))
    probabilities = np.array(rows, np.float32)[:, : len(kinds)]
    scores = np.array(anomaly[: len(rows)], np.float32)
    low, high = sorted(limits[:2])
    defects = defect_probability(probabilities, classes)
    # a threshold that is met exactly is where two ways to add up would part
    threshold = float(defects[0]) if at_threshold else limits[2]
    by_class = tuple(own[: len(kinds)]) if own else ()
    thresholds = Thresholds(defect=threshold, unsure_low=low, unsure_high=high, by_class=by_class)
    metadata = EngineMetadata(
        engine_id="e",
        inspection="i",
        classes=classes,
        thresholds=thresholds,
        training_prior=(1 / len(kinds),) * len(kinds),
        embedding_id="x",
    )
    judge = Judge(metadata)
    judged = [judge.one(row, a) for row, a in zip(probabilities.tolist(), scores.tolist(), strict=True)]
    assert [p for _, _, p in judged] == defects.tolist()
    assert [verdict for verdict, _, _ in judged] == decide(probabilities, scores, metadata)
    assert [best for _, best, _ in judged] == decided_class(probabilities, classes, thresholds).tolist()
    for verdict, best, p in judged:
        if verdict is Verdict.DEFECT and len(kinds) > 1 and p > 0:
            assert kinds[best] is Kind.DEFECT
