"""A real but small trunk, exported by the real exporter once, and frames with and without a spot."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.examples import FACTORY, FIELD, Examples
from training.fit import Challenger, FitRequest, fit
from training.plans import DEFAULT
from training.torch_export import export_trunk
from training.trunk import Trunk

OK_DEFECT = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="spot", kind=Kind.DEFECT))


class TinyBackbone(nn.Module):
    """Two convolutions with fixed random weights: 32 pixels, 16 features, 8x8 patches of 8 channels."""

    name = "tiny"
    offset, scale = 128.0, 128.0
    input_size = 32
    feature_width = 16
    embedding_width = 8
    patch_width = 8
    grid = 8

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.clamp(self.first(image), 0, 6)
        x = torch.clamp(self.second(x), 0, 6)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1), x.permute(0, 2, 3, 1)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small problems: threads would only wait for one another."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def backbone() -> TinyBackbone:
    return TinyBackbone().eval()


@pytest.fixture(scope="session")
def trunk(backbone: TinyBackbone) -> Trunk:
    return Trunk.load(export_trunk(backbone))


def picture(seed: int, kind: int, size: tuple[int, int] = (40, 48)) -> NDArray[np.uint8]:
    """A grey frame with noise; kind 1 has a bright spot, kind 2 a dark stripe."""
    random = np.random.default_rng(seed)
    frame = random.normal(110, 8, (*size, 3))
    if kind == 1:
        y, x = random.integers(4, size[0] - 12), random.integers(4, size[1] - 12)
        frame[y : y + 8, x : x + 8] += 90
    if kind == 2:
        y = random.integers(4, size[0] - 8)
        frame[y : y + 4] -= 70
    return np.clip(frame, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., NDArray[np.uint8]]:
    return picture


def request_for(
    trunk: Trunk, kinds: Sequence[int], *, classes: tuple[ClassInfo, ...], field: int, **more: object
) -> FitRequest:
    n = len(kinds)
    frames = [picture(i, kind) for i, kind in enumerate(kinds)]
    embedded = trunk.run(frames)
    names = np.array([f"sample{i:04d}" for i in range(n)])
    origin = np.array([FACTORY] * (n - field) + [FIELD] * field)
    examples = Examples(
        ids=names,
        labels=np.array(kinds, dtype=np.int64),
        groups=names,
        origin=origin,
        probability=np.where(origin == FIELD, 0.25, np.nan),
        device=np.where(origin == FIELD, "line-1", ""),
        station=np.where(origin == FIELD, "east", ""),
        features=embedded.features,
    )
    request: dict[str, object] = {
        "inspection": "spots",
        "classes": classes,
        "trunk": trunk,
        "examples": examples,
        "patches": embedded.patches,
        "selftest_images": frames[:4],
        "created_at": "2026-01-02T03:04:05+00:00",
    }
    return FitRequest(**{**request, **more})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_request(trunk: Trunk) -> Callable[..., FitRequest]:
    def make(
        kinds: Sequence[int], *, classes: tuple[ClassInfo, ...] = OK_DEFECT, field: int = 0, **more: object
    ) -> FitRequest:
        return request_for(trunk, kinds, classes=classes, field=field, **more)

    return make


@pytest.fixture(scope="session")
def request_of_two_classes(make_request: Callable[..., FitRequest]) -> FitRequest:
    # One plan, not sixteen: what is tested here is what becomes of the winner.
    return make_request([0, 0, 0, 1] * 20, field=24, plans=[DEFAULT])


@pytest.fixture(scope="session")
def challenger(request_of_two_classes: FitRequest) -> Challenger:
    return fit(request_of_two_classes)
