"""The head that Lightning fits, beside the everyday solver's: here, since importing torch takes seconds."""

import numpy as np
import pytest

from tests.unit.training.test_head import relative, rows
from training.head import fit_head
from training.lightning_head import fit_lightning_head
from training.rebalance import Rebalance, rebalance


@pytest.mark.parametrize("counts", [[60, 20], [50, 20, 10]])
@pytest.mark.parametrize("how", [Rebalance.NONE, Rebalance.LOGIT_ADJUSTMENT])
def test_lightning_finds_the_same_head(how: Rebalance, counts: list[int]) -> None:
    coordinates, labels = rows(counts)
    data = rebalance(how, coordinates, labels, np.ones(len(labels)), classes=len(counts), seed=0)
    ours = fit_lightning_head(data, regularisation=0.5, classes=len(counts))
    theirs = fit_head(data, regularisation=0.5, classes=len(counts))
    np.testing.assert_allclose(relative(ours.logits(coordinates)), relative(theirs.logits(coordinates)), atol=0.02)


def test_logit_adjustment_finds_more_of_the_rare_class_than_no_rebalancing() -> None:
    coordinates, labels = rows([200, 12])
    rare = labels == 1

    def found(how: Rebalance) -> float:
        data = rebalance(how, coordinates, labels, np.ones(212), classes=2, seed=0)
        logits = fit_lightning_head(data, regularisation=1.0, classes=2).logits(coordinates)
        return float((logits[rare].argmax(axis=1) == 1).mean())

    assert found(Rebalance.LOGIT_ADJUSTMENT) > found(Rebalance.NONE)


def test_a_class_without_an_example_is_never_predicted() -> None:
    coordinates, labels = rows([30, 10])
    data = rebalance(Rebalance.NONE, coordinates, labels, np.ones(40), classes=3, seed=0)
    logits = fit_lightning_head(data, regularisation=1.0, classes=3).logits(coordinates)
    assert (logits[:, 2] < logits[:, :2].min(axis=1) - 10).all()
