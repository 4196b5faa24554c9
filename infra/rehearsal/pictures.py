"""Which frames the report shows: those on which the first and the last engine differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.sources.sample import media_type_of
from edge_client.contract.engine_metadata import ClassInfo
from infra.rehearsal.measures import HoldoutMeasure
from infra.rehearsal.page import Picture, Pictures

SHOWN = 12


def choose_pictures(measure: HoldoutMeasure, first: str, last: str, classes: Sequence[ClassInfo]) -> Pictures:
    """Choose the frames where the answer changed most, mended ones and worse ones.

    Args:
        measure: Holds the holdout and both engines' probabilities on it.
        first: Version before the rehearsal.
        last: Version after it.
        classes: K classes.
    """
    then, now = measure.answers_of(first), measure.answers_of(last)
    before, after = then.probabilities, now.probabilities
    was, told = measure.decided(then), measure.decided(now)
    truth = measure.labels
    was_right, is_right = was == truth, told == truth
    rows = np.arange(len(truth))
    change = after[rows, truth] - before[rows, truth]
    mended, worse = np.flatnonzero(~was_right & is_right), np.flatnonzero(was_right & ~is_right)

    def picture(i: int) -> Picture:
        path = measure.frames[i].path

        def said(row: NDArray[np.float32], decided: int) -> str:
            return f"{classes[decided].name} {row[decided]:.2f}"

        return Picture(
            image=path.read_bytes(),
            media_type=media_type_of(path) or "image/png",
            label=classes[int(truth[i])].name,
            before=said(before[i], int(was[i])),
            after=said(after[i], int(told[i])),
        )

    return Pictures(
        mended=[picture(int(i)) for i in mended[np.argsort(-change[mended])][:SHOWN]],
        mended_n=len(mended),
        worse=[picture(int(i)) for i in worse[np.argsort(change[worse])][:SHOWN]],
        worse_n=len(worse),
    )
