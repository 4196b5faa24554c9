"""Other files of a challenger's model, made while its training set is at hand."""

from __future__ import annotations

import hashlib

import numpy as np

from data.inspections import get_inspection
from data.workspace import Workspace
from flows.setting import VARIANTS
from flows.training_set import TrainingSet
from flows.trunks import float_of
from flows.variants import Variant, VariantFile
from training.fit import Challenger
from training.float_variant import float_variant

_FRAMES = 64  # for the mean difference of int8 to float


def twins(workspace: Workspace, ready: TrainingSet, challenger: Challenger) -> tuple[VariantFile, ...]:
    """Return the float twin of an int8 engine where the inspection's setting `variants` says `both`; else nothing.

    The gate judges the engine itself; its check of parity, on the same move from int8 to float, speaks for the twin.
    """
    inspection = get_inspection(workspace.catalog(), ready.snapshot.inspection)
    if VARIANTS.of(inspection, workspace.policy()) != "both" or ready.trunk.variant != "int8":
        return ()
    plain = float_of(workspace, inspection.name, ready.trunk)
    if plain is None:
        return ()
    some = np.zeros(len(ready.train), dtype=bool)
    some[np.linspace(0, len(some) - 1, min(len(some), _FRAMES)).astype(np.int64)] = True
    frames = ready.selftest_images() + ready.images(ready.train.select(some))
    twin = float_variant(challenger, ready.trunk, plain, frames, ready.selftest_images())
    workspace.lake().note_space(inspection.name, twin.metadata.engine_id, twin.metadata.embedding_id)
    described = Variant(
        engine_id=twin.metadata.engine_id,
        engine_sha256=hashlib.sha256(twin.engine).hexdigest(),
        engine_bytes=len(twin.engine),
        variant=twin.metadata.variant,
    )
    return (VariantFile(described=described, engine=twin.engine, selftest=twin.selftest),)
