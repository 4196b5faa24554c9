"""The second backbone: exported once a session (about 30 s), quantised once (about 10 s)."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edge_client.contract.onnx_check import ALLOWED_OPERATORS
from tests.integration.training.test_lite0 import texture
from training.backbones import load_backbone
from training.input_choice import InputChoice
from training.quantize import quantize
from training.trunk import Trunk, float_trunk

CHOICE = InputChoice(backbone="efficientnet-lite2", side=192)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Trunk:
    return float_trunk(tmp_path_factory.mktemp("trunks"), CHOICE)


def test_the_exported_trunk_answers_as_torch_does(plain: Trunk) -> None:
    assert plain.choice == CHOICE
    assert {node.op_type for node in onnx.load_model_from_string(plain.onnx).graph.node} <= ALLOWED_OPERATORS
    backbone = load_backbone(CHOICE.backbone, CHOICE.side)
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 333, 3), dtype=np.uint8)
    with torch.no_grad():
        planes = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        resized = torch.nn.functional.interpolate(planes, size=(192, 192), mode="bilinear", antialias=True)
        features, patches = backbone((resized - backbone.offset) / backbone.scale)
    session = onnxruntime.InferenceSession(plain.onnx, providers=["CPUExecutionProvider"])
    got_features, got_patches = session.run(["features", "patches"], {"image": frames})
    np.testing.assert_allclose(got_features, features.numpy(), atol=1e-3)
    np.testing.assert_allclose(got_patches, patches.numpy(), atol=1e-3)
    assert got_patches.shape == (2, 12, 12, 168)


def test_int8_is_a_third_of_the_size_and_keeps_the_embeddings(plain: Trunk) -> None:
    small = quantize(plain, [texture(i, scratch=i % 3 == 0) for i in range(24)])
    assert (small.variant, small.choice) == ("int8", CHOICE)
    assert len(small.onnx) < len(plain.onnx) / 3
    frames = [texture(500 + i, scratch=i % 2 == 0) for i in range(16)]
    one, two = (trunk.run(frames).features[:, :1280] for trunk in (plain, small))
    cosine = (one * two).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1))
    assert np.median(cosine) > 0.97
