"""The trunk: everything from a uint8 image to features and patches, as one ONNX file.

Rules:
1. The trunk that ships inside the engine is the one that embeds for training, so training and edge cannot differ.
2. The float trunk is exported by torch once and kept on disk; nothing else here needs torch.
3. A file says what it is: its facts carry the input choice, so that the trunk of an old file can be exported again.
4. Frames are embedded one at a time on one thread each: the features of a frame never depend on its neighbours
   in a batch or on the number of threads, so cached and fresh embeddings are equal to the bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edge_client.contract.errors import BadEngine
from training.atomic import write_atomically
from training.backbones import BUILT_IN, load_backbone, weights_digest
from training.frames import Frame, decode
from training.input_choice import DEFAULT_BACKBONE, DEFAULT_CHOICE, ONE_TILE, ONE_VIEW, WHOLE, InputChoice
from training.tiles import Layout

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
        input_size: Side in pixels of the square that the network sees.
        feature_width: D.
        embedding_width: Leading columns of features that make the engine's embedding.
        patch_width: C.
        grid: Patches along a side of what the network sees: h and w, unless there are several tiles.
        backbone: Its name.
        weights: Digest of the backbone's weights, where a user registered it.
        region: Left, top, right, bottom of what is looked at.
        tiles: Rows and columns.
        overlap: Of neighbouring tiles.
        views: From how many sides it looks.
    """

    onnx: bytes
    variant: Literal["fp32", "int8"]
    input_size: int
    feature_width: int
    embedding_width: int
    patch_width: int
    grid: int
    backbone: str = DEFAULT_BACKBONE
    weights: str = ""
    region: tuple[float, float, float, float] = WHOLE
    tiles: tuple[int, int] = ONE_TILE
    overlap: float = 0.0
    views: int = ONE_VIEW

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}  # a session cannot be sent

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
            told = json.loads({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
            facts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
            return cls(onnx=data, **facts)
        except Exception as error:
            raise BadEngine(
                f"trunk of {len(data)} bytes cannot be read ({error}); delete the cached file to export it anew"
            ) from error

    @property
    def facts(self) -> dict[str, Any]:
        """What the file's metadata says about the trunk."""
        return {
            "variant": self.variant,
            "input_size": self.input_size,
            "feature_width": self.feature_width,
            "embedding_width": self.embedding_width,
            "patch_width": self.patch_width,
            "grid": self.grid,
            **choice_facts(self.choice),
            **({"weights": self.weights} if self.weights else {}),
        }

    @property
    def choice(self) -> InputChoice:
        """What it looks at."""
        return InputChoice(
            backbone=self.backbone,
            side=self.input_size,
            region=self.region,
            tiles=self.tiles,
            overlap=self.overlap,
            views=self.views,
        )

    @cached_property
    def patch_shape(self) -> tuple[int, int]:
        """The h and w of patches, all tiles together."""
        layout = Layout.of(self.choice, self.grid)
        return layout.rows.patches, layout.columns.patches

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
        patches = np.empty((len(images), *self.patch_shape, self.patch_width), dtype=np.float16)
        session = self._session

        def embed(index: int) -> None:
            one, grid = session.run(["features", "patches"], {"image": decode(images[index])[None]})
            features[index] = one[0]
            patches[index] = grid[0]

        with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
            for _ in pool.map(embed, range(len(images))):
                pass
        return Embedded(features=features, patches=patches)


def choice_facts(choice: InputChoice) -> dict[str, Any]:
    """Return what a file says of its choice beside the side: what is not as it always was."""
    known = {**choice.to_dict(), "region": choice.region, "tiles": choice.tiles}
    usual = {**DEFAULT_CHOICE.to_dict(), "region": WHOLE, "tiles": ONE_TILE}
    return {name: value for name, value in known.items() if name != "side" and value != usual[name]}


def stamp(model: onnx.ModelProto, facts: dict[str, Any]) -> bytes:
    """Put a trunk's facts into its file and serialise it."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(facts, sort_keys=True)})
    model.doc_string = ""
    model.producer_name, model.producer_version = "andon", str(_RECIPE)
    return bytes(model.SerializeToString(deterministic=True))


def prepared_trunks() -> Path:
    """Return the folder of this environment where set-up exports the trunk once, for every home directory."""
    return Path(sys.prefix) / "share" / "andon" / "trunks"


def file_name(choice: InputChoice, weights: str = "") -> str:
    """Return the name under which the float trunk of a choice is kept.

    >>> file_name(DEFAULT_CHOICE), file_name(InputChoice(backbone="plant.nets:Small", tiles=(2, 2)), "0a1b")
    ('efficientnet-lite0-224-r2.onnx', 'plant.nets_Small-224-2x2-0a1b-r2.onnx')
    """
    words = [re.sub(r"[@/]", "-", str(choice)), weights, f"r{_RECIPE}"]
    return re.sub(r"[^A-Za-z0-9.=,-]", "_", "-".join(word for word in words if word)) + ".onnx"


def float_trunk(cache_dir: Path, choice: InputChoice = DEFAULT_CHOICE) -> Trunk:
    """The float trunk of a choice, exported on first use (about 15 s) and read from disk afterwards.

    Args:
        cache_dir: Folder that keeps the file.
        choice: Backbone, side, region and tiles.

    Raises:
        BadBackbone: The backbone is unknown, or does not keep to the protocol.
    """
    backbone, weights = None, ""
    if choice.backbone not in BUILT_IN:
        # Only its weights tell whether a user's backbone is still the one that was exported.
        backbone = load_backbone(choice.backbone, choice.side)
        weights = weights_digest(backbone)
    name = file_name(choice, weights)
    path = next((p for p in (cache_dir / name, prepared_trunks() / name) if p.exists()), cache_dir / name)
    if not path.exists():
        from training.torch_export import export_checked  # torch takes seconds to import and is needed only here

        made = backbone or load_backbone(choice.backbone, choice.side)
        write_atomically(path, export_checked(made, choice, weights=weights))
    return Trunk.load(path.read_bytes())


def float_original(cache_dir: Path, trunk: Trunk) -> Trunk:
    """The float trunk that an int8 one was made from: from disk, where a user's backbone may have changed since.

    Args:
        cache_dir: Folder that keeps the file.
        trunk: The int8 one.

    Raises:
        BadBackbone: The file is gone, and so is the backbone.
    """
    path = cache_dir / file_name(trunk.choice, trunk.weights)
    return Trunk.load(path.read_bytes()) if path.exists() else float_trunk(cache_dir, trunk.choice)
