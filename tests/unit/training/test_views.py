"""Views: what the graph makes of a frame and of the same frame turned by half."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tests.unit.training.part_runs import model_of, run
from training.views import averaging_part, turning_part

NETWORK = (4, 2, 3)  # h, w and C of its patches


@pytest.mark.parametrize("by_reference", [False, True])
def test_all_frames_as_they_are_come_first_and_then_turned(by_reference: bool) -> None:
    frames = np.random.default_rng(0).normal(size=(3, 3, 6, 4)).astype(np.float32)
    model = model_of([turning_part(6, 4, source="one", target="both")], {"one": TensorProto.FLOAT}, ["both"])
    (both,) = run(model, {"one": frames}, by_reference=by_reference)
    np.testing.assert_array_equal(both, np.concatenate([frames, np.rot90(frames, 2, axes=(2, 3))]))


@pytest.mark.parametrize("by_reference", [False, True])
def test_a_place_is_what_both_views_say_of_it(by_reference: bool) -> None:
    random = np.random.default_rng(0)
    features, upright = random.normal(size=(6, 5)).astype(np.float32), random.normal(size=(3, *NETWORK))
    other = random.normal(size=(3, *NETWORK))
    turned = np.rot90(other, 2, axes=(1, 2))  # of the same places, seen in the frame turned by half
    part = averaging_part(feature_width=5, patch_shape=NETWORK, features="f", patches="p")
    answers = {"f": features, "p": np.concatenate([upright, turned]).astype(np.float32)}
    model = model_of([part], dict.fromkeys(answers, TensorProto.FLOAT), ["features", "patches"])
    mean, patches = run(model, answers, by_reference=by_reference)
    np.testing.assert_allclose(mean, (features[:3] + features[3:]) / 2, atol=1e-6)
    np.testing.assert_allclose(patches, (upright + other) / 2, atol=1e-6)
