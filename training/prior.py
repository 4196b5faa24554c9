"""The class shares of the world that the engine will see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.evaluate import kish
from training.examples import FACTORY, Examples

#: How many field samples the factory's shares, or those read off unlabelled frames, are worth.
_FACTORY_WORTH = 20.0
#: A sample that was this unlikely to be drawn must not decide the shares alone.
LEAST_PROBABILITY = 0.01
_LEAST_SHARE = 1e-4


def field_weight_of(examples: Examples) -> NDArray[np.float64]:
    """Count [n]: how many frames of the field each example stands for; 0 where that is unknown (factory, extras)."""
    known = examples.field & np.isfinite(examples.probability)
    p = np.clip(np.where(known, examples.probability, 1.0), LEAST_PROBABILITY, 1.0)
    return np.where(known, 1.0 / p, 0.0)


def population_weight(examples: Examples) -> NDArray[np.float64]:
    """How much each example says about the frames to come: field and factory half and half once the field is known.

    Field samples weigh by the frames they stand for, extras and pasted frames not at all.
    """
    stands_for = field_weight_of(examples)
    factory = np.where(examples.origin == FACTORY, 1.0, 0.0)
    if not stands_for.any():
        return np.where(examples.real, 1.0, 0.0)
    effective = stands_for.sum() ** 2 / np.square(stands_for).sum()
    known = stands_for * effective / stands_for.sum()
    # A hundred field samples weigh as much as the whole factory set; more weigh more.
    if factory.any():
        factory = factory * min(100.0, factory.sum()) / factory.sum()
    return np.asarray(known + factory, dtype=np.float64)


def labelled_shares(examples: Examples, classes: int) -> tuple[NDArray[np.float64], float]:
    """Return the class shares of the field by its labelled samples (Hájek), and on how many, effectively, they rest."""
    stands_for = field_weight_of(examples)
    total = float(stands_for.sum())
    if total <= 0:
        return np.zeros(classes), 0.0
    shares = np.bincount(examples.labels, weights=stands_for, minlength=classes) / total
    return np.asarray(shares, dtype=np.float64), kish(stands_for)


def target_prior(examples: Examples, classes: int, *, seen: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Estimate class shares of the frames to come.

    The field's shares are Hájek estimates from inclusion probabilities; while few field samples are labelled they
    are drawn towards what the model makes of the field's other frames, else towards the shares of the factory set (or
    of all examples, where there is no factory set).

    Args:
        examples: Labelled examples.
        classes: K.
        seen: float [K], the field's shares estimated from frames without a label (`label_shift`), where believed.

    Returns:
        float [K], sums to 1, every share at least one in ten thousand.
    """
    factory = examples.origin == FACTORY
    base = examples.labels[factory if factory.any() else examples.real]
    shares = np.bincount(base, minlength=classes) / max(len(base), 1) if seen is None else seen
    field_shares, effective = labelled_shares(examples, classes)
    shares = (effective * field_shares + _FACTORY_WORTH * shares) / (effective + _FACTORY_WORTH)
    shares = np.maximum(shares, _LEAST_SHARE)
    return np.asarray(shares / shares.sum(), dtype=np.float64)
