"""The real backbone: exported once a session (about 15 s), quantised once (about 5 s)."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.onnx_check import check_onnx
from training.examples import Examples
from training.fit import FitRequest, fit
from training.lite0 import Lite0
from training.plans import DEFAULT
from training.predict import run_engine
from training.quantize import int8_trunk
from training.trunk import Trunk, float_trunk


def texture(seed: int, size: tuple[int, int] = (120, 96), *, scratch: bool = False) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.normal(120, 25, (size[0] // 6, size[1] // 6, 3)).repeat(6, axis=0).repeat(6, axis=1)
    frame = coarse + random.normal(0, 6, coarse.shape)
    if scratch:
        row = int(random.integers(10, frame.shape[0] - 20))
        frame[row : row + 6, 10:-10] = 250
    return np.clip(frame, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trunks")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Trunk:
    return float_trunk(folder)


@pytest.fixture(scope="module")
def small(folder: Path, plain: Trunk) -> Trunk:
    return int8_trunk(plain, [texture(i, scratch=i % 3 == 0) for i in range(24)], folder)


def test_the_exported_trunk_answers_as_torch_does_for_any_number_and_size_of_frames(plain: Trunk) -> None:
    backbone = Lite0()
    for shape in ((1, 1, 1, 3), (1, 300, 300, 3), (3, 40, 333, 3), (2, 224, 224, 3)):
        frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            planes = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
            resized = torch.nn.functional.interpolate(planes, size=(224, 224), mode="bilinear", antialias=True)
            features, patches = backbone((resized - backbone.offset) / backbone.scale)
        session = onnxruntime.InferenceSession(plain.onnx, providers=["CPUExecutionProvider"])
        got_features, got_patches = session.run(["features", "patches"], {"image": frames})
        np.testing.assert_allclose(got_features, features.numpy(), atol=1e-3)
        np.testing.assert_allclose(got_patches, patches.numpy(), atol=1e-3)


def test_both_trunks_are_read_from_disk_the_second_time(folder: Path, plain: Trunk, small: Trunk) -> None:
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert float_trunk(folder).id == plain.id
    assert int8_trunk(plain, [texture(i, scratch=i % 3 == 0) for i in range(24)], folder).id == small.id
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_int8_is_a_third_of_the_size_and_keeps_the_embeddings(plain: Trunk, small: Trunk) -> None:
    assert small.variant == "int8"
    assert len(small.onnx) < len(plain.onnx) / 3
    frames = [texture(500 + i, scratch=i % 2 == 0) for i in range(20)]
    one, two = plain.run(frames).features[:, :1280], small.run(frames).features[:, :1280]
    cosine = (one * two).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1))
    assert np.median(cosine) > 0.97


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_engines_of_both_trunks_pass_the_clients_check_and_find_scratches(
    variant: str, plain: Trunk, small: Trunk
) -> None:
    trunk = {"fp32": plain, "int8": small}[variant]
    labels = np.arange(60) % 3 == 0
    frames = [texture(i, scratch=bool(label)) for i, label in enumerate(labels)]
    embedded = trunk.run(frames)
    names = np.array([f"s{i}" for i in range(60)])
    challenger = fit(
        FitRequest(
            inspection="scratches",
            classes=(ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="scratch", kind=Kind.DEFECT)),
            trunk=trunk,
            examples=Examples(
                ids=names,
                labels=labels.astype(np.int64),
                groups=names,
                origin=np.full(60, "factory"),
                probability=np.full(60, np.nan),
                device=names,
                station=names,
                features=embedded.features,
            ),
            patches=embedded.patches,
            selftest_images=frames[:4],
            plans=[DEFAULT],
        )
    )
    check_onnx(challenger.engine)
    assert challenger.metadata.variant == variant
    assert challenger.metadata.embedding_id == trunk.id
    answers = run_engine(challenger.engine, [texture(900 + i, (200, 150), scratch=i % 2 == 0) for i in range(20)])
    assert answers.probabilities[::2, 1].min() > answers.probabilities[1::2, 1].max()
