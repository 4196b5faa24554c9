"""A class may have a threshold of its own; an engine without such is written as before."""

import json

import numpy as np
import pytest

from edge_client.contract.decision import Verdict, decide, risk
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.contract.errors import BadEngine

CLASSES = (
    ClassInfo(name="ok", kind=Kind.OK),
    ClassInfo(name="dent", kind=Kind.DEFECT),
    ClassInfo(name="crack", kind=Kind.DEFECT),
)


def metadata(thresholds: Thresholds) -> EngineMetadata:
    return EngineMetadata(
        engine_id="e1",
        inspection="plates",
        classes=CLASSES,
        thresholds=thresholds,
        training_prior=(0.8, 0.1, 0.1),
        embedding_id="m1",
    )


STRICT = metadata(Thresholds(defect=0.5, by_class=(1.0, 0.5, 0.05)))


def test_a_class_alone_is_rejected_from_its_own_threshold_on() -> None:
    probabilities = np.array([[0.95, 0.0, 0.05], [0.96, 0.0, 0.04], [0.51, 0.49, 0.0], [0.5, 0.5, 0.0]], np.float32)
    verdicts = decide(probabilities, np.zeros(4, np.float32), STRICT)
    assert verdicts == [Verdict.DEFECT, Verdict.OK, Verdict.OK, Verdict.DEFECT]


def test_two_classes_below_their_thresholds_can_reject_together() -> None:
    # 0.3 of 0.5 and 0.025 of 0.05: together 1.1 of what is needed.
    probabilities = np.array([[0.675, 0.3, 0.025]], np.float32)
    assert decide(probabilities, np.zeros(1, np.float32), STRICT) == [Verdict.DEFECT]
    assert risk(probabilities, CLASSES, STRICT.thresholds)[0] == pytest.approx(0.55)


def test_they_survive_json_and_are_not_written_where_there_are_none() -> None:
    assert EngineMetadata.from_json(STRICT.to_json()) == STRICT
    plain = metadata(Thresholds(defect=0.3, unsure_low=0.2, unsure_high=0.4))
    assert set(json.loads(plain.to_json())["thresholds"]) == {"defect", "unsure_low", "unsure_high", "anomaly"}
    assert EngineMetadata.from_json(plain.to_json()) == plain


@pytest.mark.parametrize("own", [[1.0, 0.5], [1.0, 0.5, 0.0], [1.0, 0.5, 1.5], [1.0, 0.5, "x"], 0.5])
def test_thresholds_by_class_that_cannot_be_used_are_refused(own: object) -> None:
    value = json.loads(STRICT.to_json())
    value["thresholds"]["by_class"] = own
    with pytest.raises(BadEngine, match=r"by.class"):
        EngineMetadata.from_json(json.dumps(value))


def test_a_common_threshold_that_could_overflow_is_refused_beside_them() -> None:
    value = json.loads(STRICT.to_json())
    value["thresholds"]["defect"] = 1e300
    with pytest.raises(BadEngine, match="above 0 to 1"):
        EngineMetadata.from_json(json.dumps(value))
