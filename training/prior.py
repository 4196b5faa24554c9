"""The class shares of the world that the engine will see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.examples import Examples

#: How many field samples the factory's shares are worth while the field is being learnt.
_FACTORY_WORTH = 20.0
#: A sample that was this unlikely to be drawn must not decide the shares alone.
_LEAST_PROBABILITY = 0.01
_LEAST_SHARE = 1e-4


def field_weight_of(examples: Examples) -> NDArray[np.float64]:
    """Count [n]: how many frames of the field each example stands for; 0 where that is unknown (factory, extras)."""
    known = examples.field & np.isfinite(examples.probability)
    p = np.clip(np.where(known, examples.probability, 1.0), _LEAST_PROBABILITY, 1.0)
    return np.where(known, 1.0 / p, 0.0)


def target_prior(examples: Examples, classes: int) -> NDArray[np.float64]:
    """Estimate class shares of the frames to come.

    The field's shares are Hájek estimates from inclusion probabilities; while few field samples are labelled they
    are drawn towards the shares of the factory set (or of all examples, where there is no factory set).

    Args:
        examples: Labelled examples.
        classes: K.

    Returns:
        float [K], sums to 1, every share at least one in ten thousand.
    """
    base = examples.labels[~examples.field] if (~examples.field).any() else examples.labels
    shares = np.bincount(base, minlength=classes) / max(len(base), 1)
    stands_for = field_weight_of(examples)
    total = stands_for.sum()
    if total > 0:
        effective = total**2 / np.square(stands_for).sum()
        field_shares = np.bincount(examples.labels, weights=stands_for, minlength=classes) / total
        shares = (effective * field_shares + _FACTORY_WORTH * shares) / (effective + _FACTORY_WORTH)
    shares = np.maximum(shares, _LEAST_SHARE)
    return np.asarray(shares / shares.sum(), dtype=np.float64)
