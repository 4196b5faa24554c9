"""Embeddings on disk, so that a retrain embeds only what is new.

Rules:
1. An embedding is named by the SHA-256 of the encoded image and the id of the trunk. Neither ever changes meaning.
2. Written in chunks, each a folder that appears whole by one rename: a process killed half-way leaves nothing.
3. Two processes may write at once: at worst an embedding is stored twice, with equal values.
4. A chunk that cannot be read is set aside and computed again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.trunk import Embedded, Trunk

#: Frames embedded before they are written: bounds both memory and what a kill can cost.
CHUNK = 512
#: A trunk, chunks of encoded frames and the number of threads to the chunks' embeddings, in order.
Embedder = Callable[[Trunk, Iterable[Sequence[bytes]], int | None], Iterator[Embedded]]


def embed_here(trunk: Trunk, parts: Iterable[Sequence[bytes]], threads: int | None) -> Iterator[Embedded]:
    """Embed chunk after chunk in this process."""
    for images in parts:
        yield trunk.run(images, threads=threads)


def embed_frames(trunk: Trunk, images: Sequence[bytes], threads: int | None) -> Embedded:
    """Embed one chunk; a worker that gets the same trunk again has it ready."""
    return _ready(trunk).run(images, threads=threads)


@lru_cache(maxsize=2)
def _ready(trunk: Trunk) -> Trunk:
    """Return the first trunk that was equal to this one: its session is made."""
    return trunk


class EmbeddingCache:
    """A folder of embeddings.

    Args:
        folder: Where to keep them; one subfolder a trunk.
        embedder: What computes new ones.
        chunk: Frames that it gets at a time.
    """

    def __init__(self, folder: Path, embedder: Embedder = embed_here, chunk: int = CHUNK) -> None:
        self._folder, self._embedder, self._chunk = folder, embedder, chunk
        self.computed = 0  # frames embedded by this object, for reports and tests

    def embed(
        self,
        trunk: Trunk,
        image_sha256: Sequence[str],
        image_of: Callable[[int], bytes],
        *,
        threads: int | None = None,
        patches_of: NDArray[np.bool_] | None = None,
    ) -> Embedded:
        """Return embeddings of n images, computing only those that are not on disk.

        Args:
            trunk: What embeds.
            image_sha256: n hex digests of the encoded images.
            image_of: Position in `image_sha256` to the encoded image; called only for new ones.
            threads: Frames at a time.
            patches_of: bool [n], the images whose patches are wanted; default all. Patches are five times as large
                as features: pass zeros where only features are needed.

        Returns:
            Features float32 [n, D] and patches float16 [wanted, h, w, C], in order.

        Raises:
            BadImage: An image cannot be decoded.
            ValueError: An image's bytes are not those of its digest.
        """
        known = self._bring_in(trunk, image_sha256, image_of, threads)
        features = np.empty((len(image_sha256), trunk.feature_width), dtype=np.float32)
        wanted = np.arange(len(image_sha256)) if patches_of is None else np.flatnonzero(patches_of)
        patches = np.empty((len(wanted), *trunk.patch_shape, trunk.patch_width), dtype=np.float16)
        for chunk, positions, rows in _by_chunk(known, image_sha256):
            features[positions] = chunk.features[rows]
        for chunk, positions, rows in _by_chunk(known, [image_sha256[i] for i in wanted.tolist()]):
            patches[positions] = chunk.patches[rows]
        return Embedded(features=features, patches=patches)

    def add(
        self,
        trunk: Trunk,
        image_sha256: Sequence[str],
        image_of: Callable[[int], bytes],
        *,
        threads: int | None = None,
    ) -> int:
        """Embed and keep those of n images that are not on disk; returns how many. See `embed`."""
        before = self.computed
        self._bring_in(trunk, image_sha256, image_of, threads)
        return self.computed - before

    def forget(self, image_sha256: Collection[str]) -> int:
        """Delete the chunks that hold some of these images; what else was in them is computed again when asked for."""
        wanted, gone = set(image_sha256), 0
        for chunk in sorted(self._folder.glob("*/chunk-*")):
            try:
                holds = not wanted.isdisjoint(json.loads((chunk / "images.json").read_text()))
            except (OSError, ValueError):
                holds = True  # nobody can read it
            if holds:
                shutil.rmtree(chunk)
                gone += 1
        return gone

    def _bring_in(
        self, trunk: Trunk, image_sha256: Sequence[str], image_of: Callable[[int], bytes], threads: int | None
    ) -> dict[str, tuple[Embedded, int]]:
        """Return where each embedding is, once all are there."""
        known = self._read(trunk)
        new = {sha: index for index, sha in reversed(list(enumerate(image_sha256))) if sha not in known}
        todo = sorted(new.items(), key=lambda item: item[1])
        parts = [todo[start : start + self._chunk] for start in range(0, len(todo), self._chunk)]
        images = ([_checked(image_of(index), sha) for sha, index in part] for part in parts)
        for part, embedded in zip(parts, self._embedder(trunk, images, threads), strict=True):
            self._write(trunk, [sha for sha, _ in part], embedded)
            self.computed += len(part)
            for row, (sha, _) in enumerate(part):
                known[sha] = (embedded, row)
        return known

    def _read(self, trunk: Trunk) -> dict[str, tuple[Embedded, int]]:
        known: dict[str, tuple[Embedded, int]] = {}
        for chunk in sorted((self._folder / trunk.id).glob("chunk-*")):
            try:
                names = json.loads((chunk / "images.json").read_text())
                features = np.load(chunk / "features.npy", mmap_mode="r", allow_pickle=False)
                patches = np.load(chunk / "patches.npy", mmap_mode="r", allow_pickle=False)
                if not len(names) == len(features) == len(patches) or features.shape[1] != trunk.feature_width:
                    raise ValueError(f"{chunk} names {len(names)} images and has {features.shape} features")
            except (OSError, ValueError):
                chunk.rename(chunk.with_name(f"broken-{chunk.name}"))
                continue
            stored = Embedded(features=features, patches=patches)
            for row, sha in enumerate(names):
                known.setdefault(sha, (stored, row))
        return known

    def _write(self, trunk: Trunk, names: list[str], embedded: Embedded) -> None:
        parent = self._folder / trunk.id
        parent.mkdir(parents=True, exist_ok=True)
        target = parent / f"chunk-{hashlib.sha256(''.join(names).encode()).hexdigest()[:32]}"
        half = Path(tempfile.mkdtemp(dir=parent, prefix=".half-"))
        (half / "images.json").write_text(json.dumps(names))
        np.save(half / "features.npy", embedded.features)
        np.save(half / "patches.npy", embedded.patches)
        try:
            half.rename(target)
        except OSError:  # another process wrote the same chunk first
            shutil.rmtree(half)


def _by_chunk(
    known: dict[str, tuple[Embedded, int]], wanted: Sequence[str]
) -> Iterator[tuple[Embedded, list[int], list[int]]]:
    """Yield each chunk that holds some of the wanted images, their positions in `wanted` and their rows in it."""
    places: dict[int, tuple[Embedded, list[int], list[int]]] = {}
    for position, sha in enumerate(wanted):
        chunk, row = known[sha]
        _, positions, rows = places.setdefault(id(chunk), (chunk, [], []))
        positions.append(position)
        rows.append(row)
    yield from places.values()


def _checked(image: bytes, sha: str) -> bytes:
    found = hashlib.sha256(image).hexdigest()
    if found != sha:
        raise ValueError(f"image with digest {sha} has the bytes of {found}; fetch it again from the lake")
    return image
