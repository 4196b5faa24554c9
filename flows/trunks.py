"""The trunk of an inspection: that of its champion's engine; the first is chosen once and kept in the bucket.

1. A trunk that changed with each retrain would make embeddings incomparable, their cache useless and updates large.
2. It is int8 if int8 keeps the embeddings of the inspection's own frames, else float; an inspection's setting
   `variant` ("int8" or "fp32") decides instead, before the first retrain.
3. To choose anew (frames look quite different now), delete the object and retrain. Another choice of input (setting
   `input`: backbone, side, region, tiles, views) does so by itself.
4. A network that int8 cannot take, as a user may register one, stays in float.
5. Fine-tuned trunks are kept by their id beside the first one (`tuned_trunks`). One whose challenger became champion is
   carried on by the next retrain; one whose challenger was refused changes nothing.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.inspections import get_inspection
from data.snapshots import Snapshot
from data.workspace import Workspace
from edge_client.contract.errors import ConfigError, NotFound
from flows.input_settings import input_of
from flows.tuned_trunks import MAX_TRUNK_BYTES, load_tuned
from training.network_graph import NotQuantisable
from training.quantize import CALIBRATION_FRAMES, int8_trunk
from training.trunk import Trunk, float_original, float_trunk

_log = logging.getLogger("andon.retrain")
#: Cosine of int8 to float embeddings: where it is below, decisions begin to differ. Usual: median 0.993, p1 0.98.
LEAST_MEDIAN_COSINE = 0.98
LEAST_P1_COSINE = 0.90
_PARITY_FRAMES = 32


def trunk_of(workspace: Workspace, snapshot: Snapshot, *, champion: str = "") -> Trunk:
    """Return the inspection's trunk, choosing it now if it has none.

    Args:
        workspace: The installation.
        snapshot: Whose frames set the ranges of a new int8 trunk.
        champion: The embedding id of the champion's engine; "" without one.

    Raises:
        ConfigError: The setting `variant` is not one.
        BucketError: The bucket is away.
    """
    bucket = workspace.bucket()
    key = trunk_key(snapshot.inspection)
    inspection = get_inspection(workspace.catalog(), snapshot.inspection)
    choice = input_of(inspection, workspace.policy())
    if champion:
        tuned = load_tuned(bucket, snapshot.inspection, champion)
        if tuned is not None and tuned.choice == choice:
            return tuned
    try:
        stored = Trunk.load(bucket.get(key, max_bytes=MAX_TRUNK_BYTES))
        if stored.choice == choice:
            return stored
    except NotFound:
        pass
    folder = workspace.cache / "trunks"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = shipped_of(workspace, snapshot, float_trunk(folder, choice))
    _log.info(
        "%s: its trunk is %s, %d bytes, %s", snapshot.inspection, chosen.variant, len(chosen.onnx), chosen.id[:12]
    )
    bucket.put(key, chosen.onnx)
    return chosen


def shipped_of(workspace: Workspace, snapshot: Snapshot, plain: Trunk) -> Trunk:
    """Return what ships of a float trunk: its int8 variant or itself (rule 2)."""
    wanted = get_inspection(workspace.catalog(), snapshot.inspection).settings.get("variant")
    if wanted not in (None, "int8", "fp32"):
        raise ConfigError(f"inspection {snapshot.inspection}: its setting variant is {wanted!r}; expected int8 or fp32")
    if wanted == "fp32":
        return plain
    return shipped(plain, calibration_frames(workspace, snapshot), workspace.cache / "trunks", wanted)


def shipped(plain: Trunk, frames: Sequence[bytes], folder: Path, wanted: str | None) -> Trunk:
    """Return what ships of a float trunk, given frames that set the ranges of int8, and the variant that is wanted."""
    if wanted == "fp32":
        return plain
    small = smaller(plain, frames, folder, required=wanted == "int8")
    if small is not None and (wanted == "int8" or keeps_embeddings(plain, small, frames[:_PARITY_FRAMES])):
        return small
    return plain


def float_of(workspace: Workspace, inspection: str, shipped: Trunk) -> Trunk | None:
    """Return the float original of a trunk that ships; None where it is not known any more."""
    if shipped.variant == "fp32":
        return shipped
    plain = load_tuned(workspace.bucket(), inspection, shipped.id, original=True)
    if plain is None:
        plain = float_original(workspace.cache / "trunks", shipped)
    return plain if {**plain.facts, "variant": "int8"} == shipped.facts else None


def trunk_key(inspection: str) -> str:
    """Return where the bucket keeps an inspection's trunk."""
    return f"lake/{inspection}/trunk.onnx"


def smaller(plain: Trunk, frames: Sequence[bytes], folder: Path, *, required: bool = False) -> Trunk | None:
    """Return the int8 trunk; None where int8 cannot take the network, unless it is required (rule 4)."""
    try:
        return int8_trunk(plain, frames, folder)
    except NotQuantisable as error:
        if required:
            raise
        _log.info("%s stays in float: %s", plain.choice, error)
        return None


def calibration_frames(workspace: Workspace, snapshot: Snapshot) -> list[bytes]:
    """Return frames that set the int8 ranges: of the training side, picked by hash so that no class or day leads."""
    rows = [row for row in snapshot.rows.to_pylist() if row["split"] == "train"]
    rows.sort(key=lambda row: hashlib.sha256(row["image_sha256"].encode()).digest())
    picked = sorted(rows[:CALIBRATION_FRAMES], key=lambda row: (row["lake_path"], row["lake_row"]))
    return [image for image, _ in workspace.lake().images((row["lake_path"], row["lake_row"]) for row in picked)]


def keeps_embeddings(plain: Trunk, small: Trunk, frames: Sequence[bytes]) -> bool:
    """Return whether the int8 trunk's embeddings of some frames are near enough to the float ones (rule 2)."""
    a, b = (t.run(frames).features[:, : plain.embedding_width].astype(np.float64) for t in (plain, small))
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-12)
    median, low = float(np.median(cosine)), float(np.quantile(cosine, 0.01))
    _log.info("int8 against float embeddings: cosine median %.3f, p1 %.3f", median, low)
    return median >= LEAST_MEDIAN_COSINE and low >= LEAST_P1_COSINE
