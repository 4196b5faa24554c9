"""Labels that a retrain doubts, handed to the labelling page."""

import logging
from datetime import datetime

import numpy as np

from data.label_reviews import Doubt, record_doubts
from data.workspace import Workspace
from flows.training_set import TrainingSet
from training.fit import Challenger
from training.label_errors import suspect_labels

_log = logging.getLogger("andon.retrain")


def doubts_of(ready: TrainingSet, challenger: Challenger) -> list[Doubt]:
    """What the challenger's out-of-fold probabilities speak against, the weakest label first."""
    labels, names = ready.train.label, [info.name for info in ready.classes]
    return [
        Doubt(
            sample_id=str(challenger.oof_ids[suspect.row]),
            given=names[suspect.given],
            suggested=names[suspect.suggested],
            confidence=suspect.confidence,
        )
        for suspect in suspect_labels(labels, challenger.oof.astype(np.float64))
    ]


def suggest_reviews(workspace: Workspace, ready: TrainingSet, challenger: Challenger, *, at: datetime) -> list[Doubt]:
    """Replace the labels that people are asked to look at again; no label changes."""
    kept = record_doubts(
        workspace.catalog(),
        ready.snapshot.inspection,
        doubts_of(ready, challenger),
        snapshot_id=ready.snapshot.id,
        at=at,
    )
    if kept:
        _log.info("%s: %d labels should be looked at again", ready.snapshot.inspection, len(kept))
    return kept
