"""Rules of `training.int8_weights`."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.int8_weights import MOST, compensated, quantised, safe_scale

_SEEDS = st.integers(min_value=0, max_value=10_000)


def layer(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [8, 12, 1, 1], bias and correlated inputs [n, 12] that are never negative."""
    random = np.random.default_rng(seed)
    inputs = np.maximum(random.normal(size=(400, 4)) @ random.normal(size=(4, 12)) + 0.5, 0.0)
    return random.standard_t(3, size=(8, 12, 1, 1)), random.normal(size=8), inputs


def largest_pair(values: np.ndarray) -> int:
    row = np.pad(values.transpose(0, 2, 3, 1).reshape(len(values), -1).astype(int), ((0, 0), (0, 1)))
    first, second = row[:, 0 : row.shape[1] // 2 * 2 : 2], row[:, 1 : row.shape[1] // 2 * 2 : 2]
    return int(np.where(np.sign(first) == np.sign(second), np.abs(first + second), 0).max())


@given(seed=_SEEDS, kernel=st.sampled_from([1, 3]), channels=st.integers(min_value=1, max_value=9))
@settings(max_examples=60, deadline=None)
def test_no_pair_of_neighbours_can_saturate_sixteen_bits(seed: int, kernel: int, channels: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.standard_t(2, size=(5, channels, kernel, kernel))
    inputs = random.random((50, channels))
    gram = inputs.T @ inputs if kernel == 1 else None
    int8 = quantised(weights, np.zeros(5), inputs.mean(axis=0), gram, depthwise=False)
    # uint8 up to 255 times both weights of a pair, added in int16.
    assert 255 * largest_pair(int8.values) <= np.iinfo(np.int16).max


def test_compensation_never_moves_a_pair_over_the_limit() -> None:
    # Inputs that move together: an error at a strong one asks many steps of a weak one, whose pair is at the limit.
    random = np.random.default_rng(3)
    moving = (random.random((300, 1)) + 0.01 * random.random((300, 8))) * np.array([20.0] * 6 + [1.0] * 2)
    weights = np.abs(random.normal(size=(400, 8))) + np.array([0.0] * 6 + [3.0] * 2)
    scale = safe_scale(weights[:, :, None, None], depthwise=False)
    assert 255 * largest_pair(compensated(weights, scale, moving.T @ moving)[:, :, None, None]) <= 32767


def test_a_depthwise_channel_uses_all_eight_bits() -> None:
    weights = np.full((2, 1, 3, 3), 0.7)
    assert quantised(weights, np.zeros(2), np.ones(2), None, depthwise=True).values.max() == MOST
    assert safe_scale(weights, depthwise=False)[0] > 1.9 * safe_scale(weights, depthwise=True)[0]


@given(seed=_SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_bias_takes_away_the_mean_error(seed: int) -> None:
    weights, bias, inputs = layer(seed)
    int8 = quantised(weights, bias, inputs.mean(axis=0), inputs.T @ inputs, depthwise=False)
    wide = (int8.values * int8.scale[:, None, None, None].astype(float))[:, :, 0, 0]
    error = (inputs @ wide.T + int8.bias) - (inputs @ weights[:, :, 0, 0].T + bias)
    np.testing.assert_allclose(error.mean(axis=0), 0.0, atol=1e-9)


def test_the_bias_of_a_depthwise_layer_goes_by_its_own_channel() -> None:
    weights, mean = np.array([[[[0.501]]], [[[1.0]]]]) + np.zeros((2, 1, 1, 2)), np.array([3.0, 5.0])
    weights[:, :, :, 1] = [[[0.2003]], [[0.3004]]]
    int8 = quantised(weights, np.zeros(2), mean, None, depthwise=True)
    error = (int8.values * int8.scale[:, None, None, None].astype(float) - weights).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(int8.bias, -error * mean, atol=1e-12)
    assert np.abs(int8.bias).max() > 1e-4


@given(seed=_SEEDS)
@settings(max_examples=30, deadline=None, derandomize=True)  # a heuristic: it loses on one layer in five hundred
def test_compensated_rounding_is_nearer_to_the_float_answers_than_the_nearest(seed: int) -> None:
    weights, _, inputs = layer(seed)
    flat, scale = weights[:, :, 0, 0], safe_scale(weights, depthwise=False)

    def error(whole: np.ndarray) -> float:
        return float(np.square(inputs @ (whole * scale[:, None] - flat).T).sum())

    assert error(compensated(flat, scale, inputs.T @ inputs)) < error(np.round(flat / scale[:, None]))


def test_blocks_pass_their_errors_on_as_single_channels_would() -> None:
    random = np.random.default_rng(1)
    inputs = random.normal(size=(600, 30)) @ random.normal(size=(30, 150))
    weights = random.normal(size=(6, 150))
    scale, gram = safe_scale(weights[:, :, None, None], depthwise=False), inputs.T @ inputs

    def error(whole: np.ndarray) -> float:
        return float(np.square(inputs @ (whole * scale[:, None] - weights).T).sum())

    # With 150 channels there are three blocks; errors that stopped at a block's end would cost half of the gain.
    assert error(compensated(weights, scale, gram)) < 0.2 * error(np.round(weights / scale[:, None]))
