"""Frames that the two models disagree about, as small inline pictures for the gate's report."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_client.contract.errors import AndonError
from training.evidence import Evidence, PairedSet

_SIDE = 220  # pixels
_MOST = 12  # pictures a direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One frame whose answer changed.

    Attributes:
        url: A data URL; "" if the image cannot be shown.
        problem: Why not.
        truth: Its label.
        before: The class the device decides for by the champion, with the probability of any defect.
        after: By the challenger.
    """

    sample_id: str
    where: str
    url: str
    problem: str
    truth: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """Frames of one direction.

    Attributes:
        total: How many there are.
        pictures: The clearest of them.
    """

    total: int
    pictures: tuple[Picture, ...]


def flips(
    evidence: Evidence, sets: list[tuple[str, PairedSet]], image_of: Callable[[str], bytes]
) -> tuple[Flips, Flips]:
    """Return what was wrong and is right now, and what was right and is wrong now.

    A frame counts as right when the device decides for its label, by the engine's own thresholds.
    """
    gained: list[tuple[float, str, PairedSet, int]] = []
    lost: list[tuple[float, str, PairedSet, int]] = []
    for where, rows in sets:
        if rows.champion is None or not len(rows):
            continue
        index = np.arange(len(rows))
        before, after = evidence.decided(rows)
        assert before is not None
        was, now = before == rows.labels, after == rows.labels
        change = rows.challenger[index, rows.labels] - rows.champion[index, rows.labels]
        gained += [(float(change[i]), where, rows, int(i)) for i in np.flatnonzero(~was & now)]
        lost += [(-float(change[i]), where, rows, int(i)) for i in np.flatnonzero(was & ~now)]
    return _clearest(evidence, gained, image_of), _clearest(evidence, lost, image_of)


def _clearest(
    evidence: Evidence, found: list[tuple[float, str, PairedSet, int]], image_of: Callable[[str], bytes]
) -> Flips:
    ranked = sorted(found, key=lambda item: (-item[0], str(item[2].ids[item[3]])))
    return Flips(
        total=len(ranked),
        pictures=tuple(_picture(evidence, where, rows, i, image_of) for _, where, rows, i in ranked[:_MOST]),
    )


def _picture(evidence: Evidence, where: str, rows: PairedSet, i: int, image_of: Callable[[str], bytes]) -> Picture:
    assert rows.champion is not None
    sample_id, alone = str(rows.ids[i]), rows.select(np.arange(len(rows)) == i)
    before, after = evidence.decided(alone)
    assert before is not None
    url, problem = "", ""
    try:
        url = thumbnail(image_of(sample_id))
    except (AndonError, OSError, ValueError, KeyError, Image.DecompressionBombError, Warning) as error:
        problem = f"cannot be shown: {error}"
    return Picture(
        sample_id=sample_id,
        where=where,
        url=url,
        problem=problem,
        truth=evidence.class_names[int(rows.labels[i])],
        before=_said(evidence, rows.champion[i], int(before[0])),
        after=_said(evidence, rows.challenger[i], int(after[0])),
    )


def _said(evidence: Evidence, probabilities: NDArray[np.float32], decided: int) -> str:
    p = float(evidence.probability(probabilities[None])[0])
    return f"{evidence.class_names[decided]} (defect {p:.2f})"


def thumbnail(image: bytes) -> str:
    """Return a small JPEG of an encoded image as a data URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(image), formats=("PNG", "JPEG", "WEBP")) as opened:
            small = opened.convert("RGB")
            small.thumbnail((_SIDE, _SIDE))
            out = io.BytesIO()
            small.save(out, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
