"""What a device would tell of each solar cell, as it is and with the camera changed: measured once, kept in a folder.

Every monocrystalline cell is there twice, as it is and turned over, at two exposures 6 % apart: what lies between is
interpolated. One of the two is for reference periods, the other for what comes after, so no image is met again.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from elpv_dataset.utils import load_dataset
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sklearn.cluster import KMeans

from benchmarks.learning import Cells as Learning
from data.drift.quality import measure
from training.anomaly import Bank
from training.export import EngineHead
from training.fit import learn, score_examples

LOW, HIGH = 0.97, 1.03
BLUR_PIXELS = 1.5  # standard deviation, of 300
DIRT_RADIUS, DIRT_LEFT = 9, 0.5  # pixels of 300, and the share of light that passes its middle
DIRT_PLACES = ((80, 95), (210, 180))
LOTS = 6
_GREY = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """n frames: quality [n, 4], spots [n, cells], embeddings [n, D] of length 1, and the model's answers, [n] each."""

    quality: NDArray[np.float64]
    spots: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    probability: NDArray[np.float64]
    anomaly: NDArray[np.float64]

    def select(self, rows: NDArray[np.int64]) -> Frames:
        """Return some of them."""
        return Frames(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def towards(self, other: Frames, share: float) -> Frames:
        """What lies between two exposures of the same cells."""
        names = self.__slots__
        return Frames(**{n: (1 - share) * getattr(self, n) + share * getattr(other, n) for n in names})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """The cells of a line.

    Attributes:
        defect: bool [m], of the monocrystalline cells.
        lot: int64 [m], which kind of cell, by look.
        usual: For either side (reference, later) the frames at `LOW` and `HIGH`.
        changed: Name of a change to the frames after it: of the same m cells, or of the polycrystalline ones.
    """

    defect: NDArray[np.bool_]
    lot: NDArray[np.int64]
    usual: tuple[tuple[Frames, Frames], tuple[Frames, Frames]]
    changed: dict[str, Frames]


def exposed(image: _GREY, gain: float) -> _GREY:
    """Let more light in."""
    return np.clip(np.round(image * gain), 0, 255).astype(np.uint8)


def blurred(image: _GREY) -> _GREY:
    """Put the lens out of focus."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR_PIXELS)))


def dirty(image: _GREY, place: tuple[int, int]) -> _GREY:
    """Put a speck on the glass, its edge soft."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    far = np.hypot(rows - place[0], columns - place[1]) / DIRT_RADIUS
    passed = DIRT_LEFT + (1 - DIRT_LEFT) * np.clip(2 * far - 1, 0, 1)
    return np.asarray(np.round(image * passed), dtype=np.uint8)


def load_cells(cache: Path, *, variant: str = "int8", count: int = 500) -> Cells:
    """Measure and embed what is not in the folder yet: `count` cells of either kind, eleven times the one kind."""
    images, probability, kind = load_dataset()
    random = np.random.default_rng(0)
    mono, poly = (np.sort(random.permutation(np.flatnonzero(kind == name))[:count]) for name in ("mono", "poly"))
    learning = Learning(cache, variant, None)
    turned = random.integers(0, 2, len(mono))  # which of the two views is the reference's
    views = [[np.ascontiguousarray(images[i][:, ::flip]) for i in mono] for flip in (1, -1)]
    sides = [[views[turned[k] ^ side][k] for k in range(len(mono))] for side in (0, 1)]
    wanted: dict[str, list[_GREY]] = {}
    for side in (0, 1):
        wanted[f"side {side} low"] = [exposed(image, LOW) for image in sides[side]]
        wanted[f"side {side} high"] = [exposed(image, HIGH) for image in sides[side]]
    wanted["brighter by 10 %"] = [exposed(image, 1.1) for image in sides[1]]
    wanted["darker by 10 %"] = [exposed(image, 0.9) for image in sides[1]]
    wanted["blur"] = [blurred(image) for image in sides[1]]
    for number, place in enumerate(DIRT_PLACES):
        wanted[f"dirt {number}"] = [dirty(image, place) for image in sides[1]]
    wanted["polycrystalline"] = [images[i] for i in poly]
    judge = _Judge(learning, mono)
    frames = {name: _frames(judge, cache, name, frames) for name, frames in wanted.items()}
    defect = probability[mono] > 0.5
    lots = KMeans(LOTS, n_init=4, random_state=0).fit(frames["side 0 low"].embeddings)
    return Cells(
        defect=defect,
        lot=lots.labels_.astype(np.int64),
        usual=tuple((frames[f"side {s} low"], frames[f"side {s} high"]) for s in (0, 1)),  # type: ignore[arg-type]
        changed={name: each for name, each in frames.items() if not name.startswith("side")},
    )


class _Judge:
    """A model trained on monocrystalline cells as they are: everyday fit, nothing of the stream; made when asked."""

    def __init__(self, learning: Learning, mono: NDArray[np.int64]) -> None:
        self.trunk = learning.trunk
        self._learning, self._mono = learning, mono

    @functools.cached_property
    def _model(self) -> tuple[EngineHead, Bank]:
        nothing = self._mono[:0]
        request = self._learning.request(self._mono, nothing, np.empty(0), nothing, 0)
        scored = score_examples(request)
        return learn(request, scored.scores).head, scored.bank

    def answers(self, images: list[_GREY]) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        """Embeddings, defect probability and anomaly."""
        coloured = [np.ascontiguousarray(np.repeat(image[:, :, None], 3, axis=2)) for image in images]
        embedded = self.trunk.run(coloured, threads=1)
        head, bank = self._model
        anomaly = bank.score(embedded.patches)
        p = head.probabilities(embedded.features, anomaly)[:, 1]
        vectors = embedded.features[:, : self.trunk.embedding_width]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), p.astype(float), anomaly.astype(float)


def _frames(judge: _Judge, cache: Path, name: str, images: list[_GREY]) -> Frames:
    file = cache / f"drift-{judge.trunk.id[:16]}-{len(images)}-{name.replace(' ', '-').replace('%', 'percent')}.npz"
    if not file.exists():
        measured = [measure(image) for image in images]
        embeddings, probability, anomaly = judge.answers(images)
        np.savez(
            file,
            quality=np.array([each.values for each in measured]),
            spots=np.array([each.spots for each in measured]),
            embeddings=embeddings,
            probability=probability,
            anomaly=anomaly,
        )
    with np.load(file) as stored:
        return Frames(**{key: stored[key] for key in stored.files})
