"""What becomes of a small real trunk in int8, and the rule for float layers."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edge_client.contract.onnx_check import ALLOWED_OPERATORS
from training.channel_ranges import equalising_scales, observe
from training.network_graph import NetworkGraph
from training.qdq_graph import int8_graph
from training.quantize import _parted, choose_float_layers, feature_error, quantize
from training.torch_export import export_trunk
from training.trunk import Trunk, stamp


@pytest.fixture(scope="module")
def frames(make_picture: Callable[..., np.ndarray]) -> list[np.ndarray]:
    return [make_picture(i, i % 3) for i in range(24)]


@given(
    errors=st.dictionaries(st.integers(min_value=0, max_value=9), st.floats(min_value=0, max_value=1), min_size=1),
    tolerance=st.floats(min_value=0, max_value=1),
)
def test_the_fewest_float_layers_that_are_nearly_as_good_as_the_best_are_chosen(
    errors: dict[int, float], tolerance: float
) -> None:
    chosen = choose_float_layers(errors, tolerance)
    most = min(errors.values()) * (1 + tolerance)
    assert errors[chosen] <= most
    assert all(error > most for layers, error in errors.items() if layers < chosen)


def test_frames_that_judge_did_not_set_the_weights_where_there_are_enough() -> None:
    frames = [bytes([i]) for i in range(200)]
    seen, judged = _parted(frames)
    assert not set(seen) & set(judged)
    assert len(seen) + len(judged) == 200
    assert 32 <= len(judged) < 40
    assert (judged[0], judged[-1] > frames[180]) == (frames[0], True)  # from all of them: they come class by class
    few = frames[:40]
    assert _parted(few) == (few, few[:32])


def test_an_error_that_is_always_the_same_costs_nothing() -> None:
    plain = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    assert feature_error(plain, plain + np.float32(3.0)) == pytest.approx(0.0, abs=1e-5)
    noise = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    assert 0.07 < feature_error(plain, plain + np.float32(0.1) * noise) < 0.11
    alike = np.ones((4, 3), np.float32)
    assert np.isfinite(feature_error(alike, alike + noise[:4, :3]))  # no spread to measure by
    assert np.isfinite(feature_error(0 * alike, 0 * alike))


def test_the_int8_trunk_answers_nearly_as_the_float_one_and_the_same_each_time(
    trunk: Trunk, frames: list[np.ndarray]
) -> None:
    small = quantize(trunk, frames)
    assert small.variant == "int8"
    assert quantize(trunk, frames).onnx == small.onnx
    assert feature_error(trunk.run(frames).features, small.run(frames).features) < 0.1
    model = onnx.load_model_from_string(small.onnx)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= ALLOWED_OPERATORS
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) == 3


def test_no_frames_are_refused(trunk: Trunk) -> None:
    with pytest.raises(ValueError, match="no frames to calibrate"):
        quantize(trunk, [])


@pytest.mark.parametrize("float_layers", [0, 1])
def test_channels_of_any_scale_give_the_same_network(trunk: Trunk, frames: list[np.ndarray], float_layers: int) -> None:
    # Scaling channels up and down again changes what the bytes say, never what the network means.
    network = NetworkGraph(onnx.load_model_from_string(trunk.onnx))
    ranges = observe(network, frames)
    scales = equalising_scales(network, ranges, float_layers=float_layers)
    last = network.convolutions[-1].output
    scales[last] = np.linspace(1.0, 3.0, len(scales[last]))
    model = int8_graph(network, ranges, scales, float_layers=float_layers)
    small = Trunk.load(stamp(model, {**trunk.facts, "variant": "int8"}))
    plain, answered = trunk.run(frames), small.run(frames)
    assert feature_error(plain.features, answered.features) < 0.15
    assert np.abs(plain.patches - answered.patches).max() < 0.1 * np.abs(plain.patches).max()


class Bottlenecks(nn.Module):
    """Two inverted residual blocks with fixed random weights, the second one with its sum: linear tensors that float
    convolutions, int8 convolutions and the sum read."""

    name = "bottlenecks"
    offset, scale = 128.0, 128.0
    input_size = 32
    feature_width = 12
    embedding_width = 12
    patch_width = 6
    grid = 16

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(6, 12, 1), nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 6, 1)])
            for _ in range(2)
        )
        self.last = nn.Conv2d(6, 12, 1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.clamp(self.stem(image), 0, 6)
        patches = x
        for number, (widen, depthwise, narrow) in enumerate(self.blocks):
            inside = torch.clamp(depthwise(torch.clamp(widen(x), 0, 6)), 0, 6)
            x = narrow(inside) + x if number else narrow(inside)
            if number == 0:
                patches = x
        return torch.clamp(self.last(x), 0, 6).mean((2, 3)), patches.permute(0, 2, 3, 1)


@pytest.mark.parametrize("float_layers", range(9))
def test_float_layers_read_and_write_channels_of_any_scale(frames: list[np.ndarray], float_layers: int) -> None:
    trunk = Trunk.load(export_trunk(Bottlenecks().eval()))
    network = NetworkGraph(onnx.load_model_from_string(trunk.onnx))
    assert len(network.convolutions) == 8
    ranges = observe(network, frames)
    scales = equalising_scales(network, ranges, float_layers=float_layers)
    for members in network.tied():
        scales.update(dict.fromkeys(members, np.geomspace(1.0, 2.0, 6)))
    model = int8_graph(network, ranges, scales, float_layers=float_layers)
    small = Trunk.load(stamp(model, {**trunk.facts, "variant": "int8"}))
    plain, answered = trunk.run(frames), small.run(frames)
    assert feature_error(plain.features, answered.features) < (0.06 if float_layers == 8 else 0.2)
    assert np.abs(plain.patches - answered.patches).max() < 0.05 * np.abs(plain.patches).max()
