"""Synthetic defects for a snapshot: what its marked defects look like on its ok frames.

They are made anew for each retrain, in milliseconds each, and embedded once: the same images give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.lake import Lake
from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.embeddings import EmbeddingCache
from training.examples import PASTED, Examples
from training.frames import decode
from training.pasted_defects import Pair, mark_of, pairs_of, paste
from training.trunk import Embedded, Trunk

_log = logging.getLogger("andon.retrain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """n labelled frames that may give defects or grounds.

    Attributes:
        inspection: Whose marks are asked for.
        image_sha256: n digests.
        labels: int [n].
        groups: str [n].
        locations: n places in the lake.
    """

    inspection: str
    image_sha256: Sequence[str]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    locations: Sequence[tuple[str, int]]


def paste_frames(
    lake: Lake, sources: Sources, classes: Sequence[ClassInfo], *, wanted: int
) -> tuple[list[Pair], list[bytes]]:
    """Make pasted frames: the pairs, and a PNG for each.

    Args:
        lake: Where images and marks are.
        sources: Frames of the training side.
        classes: K classes.
        wanted: Examples that each class with a marked frame is brought to; 0: none are made.

    Raises:
        BucketError: The bucket is away.
    """
    known = lake.marked(sources.inspection) if wanted else set()
    if not known:
        return [], []
    ok = np.array([info.kind is Kind.OK for info in classes])[sources.labels]
    marked = np.array([digest in known for digest in sources.image_sha256])
    marks = {
        i: mark_of(lake.mark(sources.inspection, sources.image_sha256[i])) for i in np.flatnonzero(marked).tolist()
    }
    for i, mark in marks.items():
        if not mark.any():
            _log.warning("%s: the mark of image %s is empty", sources.inspection, sources.image_sha256[i])
            marked[i] = False
    pairs = pairs_of(sources.labels, ok, marked, sources.image_sha256, wanted=wanted)
    return pairs, [_png(lake, sources, pair, marks[pair.defect]) for pair in pairs]


def with_pasted(
    examples: Examples,
    patches: NDArray[np.float16],
    sources: Sources,
    made: tuple[list[Pair], list[bytes]],
    trunk: Trunk,
    cache: EmbeddingCache,
) -> tuple[Examples, NDArray[np.float16]]:
    """Return examples and patches with those of pasted frames behind them.

    A pasted frame is of its defect's group: what is held out is not learnt from in another place.
    """
    pairs, images = made
    if not pairs:
        return examples, patches
    digests = [hashlib.sha256(image).hexdigest() for image in images]
    embedded: Embedded = cache.embed(trunk, digests, lambda i: images[i])
    first = {digest: i for i, digest in reversed(list(enumerate(digests)))}  # two pairs may look the same
    kept = np.array(sorted(first.values()), dtype=np.int64)
    rows = [pairs[i] for i in kept]
    defects = np.array([pair.defect for pair in rows], dtype=np.int64)
    pasted = Examples(
        ids=np.array([f"{PASTED}:{digests[i][:32]}" for i in kept]),
        labels=np.array([pair.label for pair in rows], dtype=np.int64),
        groups=sources.groups[defects],
        origin=np.full(len(rows), PASTED),
        probability=np.full(len(rows), np.nan),
        device=np.full(len(rows), ""),
        station=np.full(len(rows), ""),
        features=embedded.features[kept],
    )
    return examples.joined(pasted), np.concatenate([patches, embedded.patches[kept]])


def _png(lake: Lake, sources: Sources, pair: Pair, mark: NDArray[np.bool_]) -> bytes:
    ground, frame = (decode(lake.image(*sources.locations[i])[0]) for i in (pair.ok, pair.defect))
    buffer = io.BytesIO()
    Image.fromarray(paste(ground, frame, mark, seed=pair.seed)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
