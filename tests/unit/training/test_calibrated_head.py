import numpy as np
import pytest
from scipy.special import softmax

from training.calibration import Calibration, Map
from training.export import calibrated_head
from training.space import RawHead


@pytest.mark.parametrize(
    ("how", "scale", "bias"),
    [
        (Map.TEMPERATURE, [0.4, 0.4, 0.4], [0.0, 0.0, 0.0]),
        (Map.BIAS_CORRECTED, [1.3, 1.3, 1.3], [0.5, -0.2, 0.0]),
        (Map.VECTOR, [0.5, 1.5, 2.0], [0.5, -0.2, 0.0]),
    ],
)
def test_the_engines_head_says_what_the_calibrated_logits_say(how: Map, scale: list[float], bias: list[float]) -> None:
    random = np.random.default_rng(0)
    raw = RawHead(
        weights=random.normal(size=(5, 3)).astype(np.float32),
        anomaly_weights=random.normal(size=3).astype(np.float32),
        bias=random.normal(size=3).astype(np.float32),
    )
    calibration = Calibration(map=how, scale=np.array(scale), bias=np.array(bias), losses={})
    shift = np.array([0.3, -1.0, 0.0])
    features = random.normal(size=(20, 5)).astype(np.float32)
    anomaly = random.uniform(0, 2, 20).astype(np.float32)
    logits = features @ raw.weights + anomaly[:, None] * raw.anomaly_weights + raw.bias
    expected = softmax(calibration.logits(logits) + shift, axis=1)
    head = calibrated_head(raw, calibration, shift)
    np.testing.assert_allclose(head.probabilities(features, anomaly), expected, atol=1e-6)
