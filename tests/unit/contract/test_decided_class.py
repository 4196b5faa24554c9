"""Rule 5 of `decision`: the class that goes with the verdict."""

import numpy as np
import pytest

from edge_client.contract.decision import decided_class
from edge_client.contract.engine_metadata import ClassInfo, Kind, Thresholds

OK, WORN = ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="worn", kind=Kind.OK)
CRACK, PORE = ClassInfo(name="crack", kind=Kind.DEFECT), ClassInfo(name="pore", kind=Kind.DEFECT)


@pytest.mark.parametrize(
    ("probabilities", "threshold", "expected"),
    [
        ([0.55, 0.05, 0.25, 0.15], 0.35, CRACK),  # no single class beats ok, together the defects reach the threshold
        ([0.55, 0.05, 0.15, 0.25], 0.35, PORE),
        ([0.55, 0.05, 0.25, 0.15], 0.45, OK),
        ([0.10, 0.35, 0.40, 0.15], 0.60, WORN),  # the most probable class is a defect, but it is let pass
    ],
)
def test_the_defect_threshold_decides_between_pass_and_reject_and_then_the_most_probable_class(
    probabilities, threshold, expected
):
    classes = (OK, WORN, CRACK, PORE)
    found = decided_class(np.array([probabilities], np.float32), classes, Thresholds(defect=threshold))
    assert classes[int(found[0])] is expected


def test_with_classes_of_one_kind_the_most_probable_is_told():
    p = np.array([[0.4, 0.6], [0.9, 0.1]], np.float32)
    for classes in ((OK, WORN), (CRACK, PORE)):
        assert decided_class(p, classes, Thresholds(defect=0.99)).tolist() == [1, 0]
