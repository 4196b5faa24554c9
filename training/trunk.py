"""The trunk: everything from a uint8 image to features and patches, as one ONNX file.

Rules:
1. The trunk that ships inside the engine is the one that embeds for training, so training and edge cannot differ.
2. The float trunk is exported by torch once and kept on disk; nothing else here needs torch.
3. Frames are embedded one at a time on one thread each: the features of a frame never depend on its neighbours
   in a batch or on the number of threads, so cached and fresh embeddings are equal to the bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edge_client.contract.errors import BadEngine
from training.atomic import write_atomically
from training.frames import Frame, decode

#: Rises when the exported graph changes, so that a stale cache is not used.
_RECIPE = 2
#: Key of the trunk's own facts in the ONNX metadata.
METADATA_KEY = "andon.trunk"
OPSET = 18
#: The tensor between the resize and the network: float32 [N, 3, S, S], normalised.
NETWORK_INPUT = "network_input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What a trunk made of n frames.

    Attributes:
        features: float32 [n, D].
        patches: float16 [n, h, w, C].
    """

    features: NDArray[np.float32]
    patches: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One trunk.

    Attributes:
        onnx: The file: input `image` uint8 [N, H, W, 3]; outputs `features` float32 [N, D] and `patches`
            float32 [N, h, w, C].
        variant: `fp32` or `int8`.
        input_size: Side in pixels of the square that frames are resized to.
        feature_width: D.
        embedding_width: Leading columns of features that make the engine's embedding.
        patch_width: C.
        grid: h and w.
    """

    onnx: bytes
    variant: Literal["fp32", "int8"]
    input_size: int
    feature_width: int
    embedding_width: int
    patch_width: int
    grid: int

    @cached_property
    def id(self) -> str:
        """SHA-256 of the file: the embedding space's name."""
        return hashlib.sha256(self.onnx).hexdigest()

    @classmethod
    def load(cls, data: bytes) -> Trunk:
        """Read a trunk from its file.

        Raises:
            BadEngine: The file is not a trunk.
        """
        try:
            model = onnx.load_model_from_string(data)
            facts = json.loads({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
            return cls(onnx=data, **facts)
        except Exception as error:
            raise BadEngine(
                f"trunk of {len(data)} bytes cannot be read ({error}); delete the cached file to export it anew"
            ) from error

    @property
    def facts(self) -> dict[str, str | int]:
        """What the file's metadata says about the trunk."""
        return {
            "variant": self.variant,
            "input_size": self.input_size,
            "feature_width": self.feature_width,
            "embedding_width": self.embedding_width,
            "patch_width": self.patch_width,
            "grid": self.grid,
        }

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(self.onnx, options, providers=["CPUExecutionProvider"])

    def run(self, images: Sequence[Frame], *, threads: int | None = None) -> Embedded:
        """Embed frames.

        Args:
            images: n encoded images or uint8 RGB arrays, of any sizes.
            threads: How many frames at a time; default the cores this process may use.

        Returns:
            Features and patches, in order.

        Raises:
            BadImage: A frame cannot be decoded.
        """
        features = np.empty((len(images), self.feature_width), dtype=np.float32)
        patches = np.empty((len(images), self.grid, self.grid, self.patch_width), dtype=np.float16)
        session = self._session

        def embed(index: int) -> None:
            one, grid = session.run(["features", "patches"], {"image": decode(images[index])[None]})
            features[index] = one[0]
            patches[index] = grid[0]

        with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
            for _ in pool.map(embed, range(len(images))):
                pass
        return Embedded(features=features, patches=patches)


def stamp(model: onnx.ModelProto, facts: dict[str, str | int]) -> bytes:
    """Put a trunk's facts into its file and serialise it."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(facts, sort_keys=True)})
    model.doc_string = ""
    model.producer_name, model.producer_version = "andon", str(_RECIPE)
    return bytes(model.SerializeToString(deterministic=True))


def prepared_trunks() -> Path:
    """Return the folder of this environment where set-up exports the trunk once, for every home directory."""
    return Path(sys.prefix) / "share" / "andon" / "trunks"


def float_trunk(cache_dir: Path, *, input_size: int = 224) -> Trunk:
    """The float trunk of the default backbone, exported on first use (about 15 s) and read from disk afterwards.

    Args:
        cache_dir: Folder that keeps the file.
        input_size: Side in pixels of the square that frames are resized to; a multiple of 32.
    """
    name = f"efficientnet-lite0-{input_size}-r{_RECIPE}.onnx"
    path = cache_dir / name
    if not path.exists() and (prepared_trunks() / name).exists():
        path = prepared_trunks() / name
    if not path.exists():
        from training.lite0 import Lite0  # torch takes seconds to import and is needed only here
        from training.torch_export import export_trunk

        write_atomically(path, export_trunk(Lite0(input_size)))
    return Trunk.load(path.read_bytes())
