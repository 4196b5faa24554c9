"""The plan as a value."""

import pytest

from edge_client.contract.errors import ConfigError
from training.finetune.plan import FineTunePlan


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"rate": float("nan")}, {"smoothing": 0.9}, {"stages": 19}])
def test_a_value_out_of_range_is_refused_by_name(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=name):
        FineTunePlan(**wrong)  # type: ignore[arg-type]


def test_plans_that_differ_anywhere_have_another_id() -> None:
    plan = FineTunePlan()
    assert plan.id == FineTunePlan().id
    assert (
        len({plan.id, plan.with_seed(1).id, FineTunePlan(quarter_turns=True).id, FineTunePlan(balance="none").id}) == 3
    )
