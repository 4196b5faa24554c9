"""A user's own backbone: the one in the documentation end to end, and every fault by its message."""

import hashlib
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from edge_client.engine import Engine
from edge_client.prediction import predictions_from
from edge_client.updates.trial import TrialLimits, TrialOrder, try_engine
from flows.trunks import smaller
from training.backbone_check import check_network
from training.backbones import BadBackbone, find_backbone, load_backbone, registered, weights_digest
from training.fit import FitRequest, fit
from training.input_choice import InputChoice
from training.network_graph import NetworkGraph, NotQuantisable
from training.plans import DEFAULT
from training.quantize import feature_error, quantize
from training.torch_export import export_checked, export_trunk
from training.trunk import Trunk, file_name, float_original, float_trunk

CHOICE = InputChoice(
    backbone="plant_nets:Small", side=64, region=(0.1, 0.2, 0.9, 1.0), tiles=(2, 2), overlap=0.25, views=2
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The documentation's example as an installed package with its entry point."""
    page = (Path(__file__).parents[3] / "docs" / "inputs.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    folder = tmp_path_factory.mktemp("site")
    (folder / "plant_nets.py").write_text(code)
    (folder / "plant_nets-1.dist-info").mkdir()
    (folder / "plant_nets-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plant-nets\nVersion: 1\n")
    (entry,) = re.findall(r"\[project\.entry-points\.\"(.*?)\"\]\n(.*?)\n```", page, flags=re.DOTALL)
    points = f"[{entry[0]}]\n{entry[1].replace(chr(34), '')}\n"
    (folder / "plant_nets-1.dist-info" / "entry_points.txt").write_text(points)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("plant_nets", None)


@pytest.fixture(scope="module")
def plain(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Trunk:
    return float_trunk(tmp_path_factory.mktemp("trunks"), CHOICE)


def frames_of(make_picture: Callable[..., NDArray[np.uint8]], kinds: list[int]) -> list[NDArray[np.uint8]]:
    return [make_picture(i, kind, (120, 160)) for i, kind in enumerate(kinds)]


def by_hand(choice: InputChoice, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the trunk should answer, step by step in torch."""
    backbone = load_backbone(choice.backbone, choice.side)
    height, width = frame.shape[:2]
    left, top, right, bottom = choice.region
    cut = frame[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    step = 8 - round(choice.overlap * 8)
    canvas = torch.nn.functional.interpolate(
        torch.from_numpy(cut.copy()).permute(2, 0, 1)[None].float(),
        size=(64 + step * 8, 64 + step * 8),
        mode="bilinear",
        antialias=True,
    )
    canvas = (canvas - backbone.offset) / backbone.scale
    views = [canvas, canvas.flip(2, 3)][: choice.views]
    features, patches = zip(*(of_tiles(backbone, view, step) for view in views), strict=True)
    upright = [patches[0], *(turned[::-1, ::-1] for turned in patches[1:])]
    return np.mean(features, axis=0), np.mean(upright, axis=0)


def of_tiles(backbone: Any, canvas: Tensor, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a canvas of 2x2 tiles that start so many patches apart gives, stitched."""
    starts = [0, step * 8]
    with torch.no_grad():
        answers = [[backbone(canvas[:, :, y : y + 64, x : x + 64]) for x in starts] for y in starts]
    features = np.stack([tile[0][0].numpy() for row in answers for tile in row])
    side = 8 + step
    patches = np.empty((side, side, backbone.patch_width), dtype=np.float32)
    for y in range(side):
        for x in range(side):
            row, column = (int(place >= side / 2) for place in (y, x))
            patches[y, x] = answers[row][column][1][0, y - row * step, x - column * step].numpy()
    return np.concatenate([features.mean(axis=0), features.max(axis=0)]), patches


@pytest.mark.parametrize("views", [1, 2])
def test_the_trunk_does_in_the_graph_what_torch_does_step_by_step(
    views: int, plain: Trunk, make_picture: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    choice = replace(CHOICE, views=views)
    plain = plain if choice == CHOICE else float_trunk(tmp_path, choice)
    assert plain.choice == choice
    assert (plain.feature_width, plain.embedding_width, plain.patch_shape) == (192, 48, (14, 14))
    frames = frames_of(make_picture, [0, 1, 2])
    embedded = plain.run(frames)
    for row, frame in enumerate(frames):
        features, patches = by_hand(choice, frame)
        np.testing.assert_allclose(embedded.features[row], features, atol=1e-3)
        np.testing.assert_allclose(embedded.patches[row], patches, atol=1e-2)  # kept in half precision
    together = plain._session.run(["features"], {"image": np.stack(frames)})[0]
    np.testing.assert_allclose(together, embedded.features, atol=1e-4)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_an_odd_choice_passes_a_devices_trial_and_finds_what_it_should_where_it_is(
    variant: str, plain: Trunk, make_picture: Callable[..., NDArray[np.uint8]],
    make_request: Callable[..., FitRequest], tmp_path: Path,
) -> None:  # fmt: skip
    kinds = [0, 0, 1] * 20
    frames = frames_of(make_picture, kinds)
    trunk = plain if variant == "fp32" else quantize(plain, frames[:24])
    assert (trunk.variant, trunk.choice) == (variant, CHOICE)
    embedded = trunk.run(frames)
    like = make_request(kinds)
    challenger = fit(
        replace(
            like, trunk=trunk, examples=replace(like.examples, features=embedded.features), patches=embedded.patches,
            selftest_images=frames[:4], plans=[DEFAULT],
        )
    )  # fmt: skip
    for name, content in (("engine", challenger.engine), ("selftest", challenger.selftest)):
        (tmp_path / name).write_bytes(content)
    report = try_engine(
        TrialOrder(
            engine=str(tmp_path / "engine"),
            engine_sha256=hashlib.sha256(challenger.engine).hexdigest(),
            selftest=str(tmp_path / "selftest"),
            selftest_sha256=hashlib.sha256(challenger.selftest).hexdigest(),
            engine_bytes=len(challenger.engine),
            inspection="spots",
            engine_id=challenger.metadata.engine_id,
            threads=1,
            limits=TrialLimits(memory_bytes=4 * 1024**3, seconds=60.0, latency_ms=5_000.0),
        )
    )
    assert report.passed, report.reason
    engine = Engine.from_bytes(challenger.engine)
    # One spot in the region, and the same frame with the spot outside of it, where nobody looks.
    grey = np.full((120, 160, 3), 110, dtype=np.uint8)
    noise = np.random.default_rng(0).normal(0, 8, grey.shape)
    seen, unseen = grey + noise, grey + noise
    seen[72:80, 96:104] += 90
    unseen[4:12, 96:104] += 90
    batch = np.clip(np.stack([seen, unseen]), 0, 255).astype(np.uint8)
    output = engine.run(batch)
    one, other = predictions_from(output, engine, sample_ids=["a", "b"], latency_ms=1.0)
    assert (one.label, other.label) == ("spot", "ok")
    where = one.anomaly_map
    y, x = np.unravel_index(int(where.argmax()), where.shape)
    assert abs((y + 0.5) / where.shape[0] - 76 / 120) < 0.1
    assert abs((x + 0.5) / where.shape[1] - 100 / 160) < 0.1
    rows = (np.arange(where.shape[0]) + 0.5) / where.shape[0]
    assert (where[rows < 0.2] == 0).all()
    # In int8 a patch may be the very same as one of the bank.
    inside = where[(rows > 0.25) & (rows < 0.95)][:, where.shape[1] // 4 : -(where.shape[1] // 4)]
    assert (inside > 0).mean() > 0.9


def test_all_tiles_set_the_ranges_of_int8(plain: Trunk) -> None:
    # The first tile sees dark metal alone: ranges that it alone set would cut off what the last one sees.
    random = np.random.default_rng(0)
    frames = [random.integers(0, 30, (120, 160, 3)).astype(np.uint8) for _ in range(24)]
    for frame in frames:
        frame[75:, 80:] = random.integers(0, 226, (45, 80, 3))
    small = quantize(plain, frames)
    assert feature_error(plain.run(frames).features, small.run(frames).features) < 0.08  # 0.12 by the first tile


def test_weights_that_were_trained_anew_are_exported_anew(installed: Path, tmp_path: Path) -> None:
    choice = InputChoice(backbone="plant_nets:Small", side=32)
    first = float_trunk(tmp_path, choice)
    assert float_trunk(tmp_path, choice).id == first.id
    assert len(list(tmp_path.iterdir())) == 1
    backbone = load_backbone(choice.backbone, 32)
    assert first.weights == weights_digest(backbone)
    with torch.no_grad():
        next(backbone.parameters()).add_(0.01)  # type: ignore[attr-defined]
    assert weights_digest(backbone) != first.weights


def test_the_float_original_of_an_int8_trunk_is_found_when_the_backbone_is_gone(
    plain: Trunk, make_picture: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    gone = replace(plain, backbone="long_gone.nets:Small")
    (tmp_path / file_name(gone.choice, gone.weights)).write_bytes(plain.onnx)
    assert float_original(tmp_path, replace(gone, variant="int8")).id == plain.id
    with pytest.raises(BadBackbone, match="cannot be imported"):
        float_original(tmp_path, replace(gone, weights="0a1b"))


def test_an_entry_point_is_found_by_its_name(installed: Path) -> None:
    assert "plant-small" in registered()
    assert find_backbone("plant-small") is find_backbone("plant_nets:Small")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "backbone 'resnet' is unknown; known are"),
        ("no_such_package.nets:Small", "cannot be imported"),
        ("plant_nets:Large", "has no callable 'Large'"),
        ("plant_nets:torch.float32", "has no callable"),
        ("math:sqrt", "its factory returned a float; expected a torch nn.Module"),
        ("json:loads", "its factory failed for a side of 64 pixels"),
    ],
)
def test_what_is_no_backbone_is_refused_by_name(installed: Path, name: str, message: str) -> None:
    with pytest.raises(BadBackbone) as refused:
        load_backbone(name, 64)
    assert message in str(refused.value)


class Right(nn.Module):
    """Keeps to the protocol; each fault below is one change."""

    name = "right"
    offset, scale = 128.0, 128.0
    feature_width, embedding_width, patch_width, grid, input_size = 6, 6, 6, 8, 32

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.step = nn.Conv2d(3, 6, 3, stride=4, padding=1)

    def patches(self, image: Tensor) -> Tensor:
        return torch.relu(self.step(image))

    def forward(self, image: Tensor) -> Any:
        x = self.patches(image)
        return x.mean((2, 3)), x.permute(0, 2, 3, 1)


class Missing(Right):
    def __getattribute__(self, name: str) -> Any:
        if name == "patch_width":
            raise AttributeError(name)
        return super().__getattribute__(name)


class Channels(Right):
    def forward(self, image: Tensor) -> Any:
        x = self.patches(image)
        return x.mean((2, 3)), x


class NoNumber(Right):
    def forward(self, image: Tensor) -> Any:
        x = torch.log(self.patches(image) - 1.0)
        return x.mean((2, 3)), x.permute(0, 2, 3, 1)


class Random(Right):
    def forward(self, image: Tensor) -> Any:
        x = nn.functional.dropout(self.patches(image), 0.5, training=True)
        return x.mean((2, 3)), x.permute(0, 2, 3, 1)


class OfTheBatch(Right):
    def forward(self, image: Tensor) -> Any:
        x = self.patches(image)
        return (x - x.mean(0)).mean((2, 3)), x.permute(0, 2, 3, 1)


class One(Right):
    def forward(self, image: Tensor) -> Any:
        return self.patches(image)


class Fails(Right):
    def forward(self, image: Tensor) -> Any:
        x = self.patches(image).reshape(2, 6, 8, 8)
        return x.mean((2, 3)), x.permute(0, 2, 3, 1)


class Branch(Right):
    def forward(self, image: Tensor) -> Any:
        x = self.patches(image)
        if x.sum() > 0:
            x = x * 2
        return x.mean((2, 3)), x.permute(0, 2, 3, 1)


class Cumulated(Right):
    def forward(self, image: Tensor) -> Any:
        x = self.patches(image)
        return torch.cumsum(x.mean((2, 3)), dim=1), x.permute(0, 2, 3, 1)


def changed(**attributes: Any) -> Right:
    made = Right()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Missing(), "has no attribute patch_width; expected name, input_size"),
        (changed(grid=7), "answers patches of float32 [3, 8, 8, 6] for 3 frames; expected float32 [3, 7, 7, 6]"),
        (changed(feature_width=9), "answers features of float32 [3, 6] for 3 frames; expected float32 [3, 9]"),
        (changed(embedding_width=9), "embedding_width 9, feature_width 6"),
        (changed(input_size=64), "was made for a side of 32 pixels and has input_size 64"),
        (changed(grid=8.0), "its grid is 8.0; expected a whole number"),
        (changed(scale=0.0), "its scale is 0.0; expected a number above 0"),
        (changed(offset=float("nan")), "its offset is nan"),
        (Channels(), "channels last"),
        (NoNumber(), "answers features that are not finite"),
        (Random(), "answers the same frames differently the second time"),
        (OfTheBatch(), "answers a frame differently in a batch than alone"),
        (One(), "answers a Tensor; expected the tuple (features, patches)"),
        (Fails(), "fails on float32 [3, 3, 32, 32]"),
    ],
)
def test_what_does_not_keep_to_the_protocol_is_refused_before_it_is_exported(made: Any, message: str) -> None:
    choice = InputChoice(backbone="right", side=32)
    check_network(Right().eval(), choice)
    with pytest.raises(BadBackbone) as refused:
        check_network(made.eval(), choice)
    assert message in str(refused.value)
    assert "'right'" in str(refused.value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Branch(), "cannot be exported to ONNX"),
        (Cumulated(), "is exported with CumSum, which edge devices refuse"),
    ],
)
def test_what_devices_could_not_load_is_refused_after_the_export(made: Any, message: str) -> None:
    with pytest.raises(BadBackbone) as refused:
        export_checked(made.eval(), InputChoice(backbone="right", side=32))
    assert message in str(refused.value)


class Positions(Right):
    """Has weights that are called as an output of every engine is."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(1, 8, 8, 6))

    def forward(self, image: Tensor) -> Any:
        x = self.patches(image).permute(0, 2, 3, 1) + self.embedding
        return x.mean((1, 2)), x


def test_a_network_may_call_its_tensors_as_it_likes() -> None:
    data = export_checked(Positions().eval(), InputChoice(backbone="right", side=32))
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    made = {name for node in model.graph.node for name in node.output}
    assert "embedding" not in made | {constant.name for constant in model.graph.initializer}
    assert Trunk.load(data).run([np.zeros((9, 9, 3), dtype=np.uint8)]).features.shape == (1, 6)


class Mixed(nn.Module):
    """What int8 takes beside what it leaves in float: sums behind ReLU, a pool, groups, a gate."""

    name = "mixed"
    offset, scale = 128.0, 64.0
    input_size, feature_width, embedding_width, patch_width, grid = 32, 16, 16, 8, 8

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.inside = nn.Conv2d(8, 8, 3, padding=1)
        self.groups = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.gate = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 16, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = nn.functional.max_pool2d(torch.relu(self.stem(image)), 2)
        x = torch.relu(x + self.inside(x))
        x = torch.relu(self.groups(x))
        x = x * torch.sigmoid(self.gate(x))
        return torch.relu(self.last(x)).mean((2, 3)), x.permute(0, 2, 3, 1)


def test_int8_takes_what_it_can_of_a_network_and_leaves_the_rest_in_float(
    make_picture: Callable[..., NDArray[np.uint8]],
) -> None:
    trunk = Trunk.load(export_trunk(Mixed().eval()))
    network = NetworkGraph(onnx.load_model_from_string(trunk.onnx))
    assert len(network.convolutions) == 4  # all but the grouped one
    assert len(network.foreign) == 3  # the pool, the second ReLU's, the gated
    frames = frames_of(make_picture, [0, 1, 2] * 10)
    small = quantize(trunk, frames)
    assert feature_error(trunk.run(frames).features, small.run(frames).features) < 0.1


class Linear(Right):
    """No convolution at all: pieces of the frame through one matrix, as transformers begin."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(48, 6)

    def patches(self, image: Tensor) -> Tensor:
        pieces = image.reshape(-1, 3, 8, 4, 8, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 64, 48)
        return torch.tanh(self.step(pieces)).transpose(1, 2).reshape(-1, 6, 8, 8)


def png(frame: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_network_that_int8_cannot_take_says_so_and_ships_in_float(
    make_picture: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    trunk = Trunk.load(export_checked(Linear().eval(), InputChoice(backbone="right", side=32)))
    frames = frames_of(make_picture, [0, 1])
    with pytest.raises(NotQuantisable, match="it stays in float"):
        quantize(trunk, frames)
    pictures = [png(frame) for frame in frames]
    assert smaller(trunk, pictures, tmp_path) is None
    with pytest.raises(NotQuantisable):
        smaller(trunk, pictures, tmp_path, required=True)
