"""What an inspection asks of its model: its own settings before the policy's."""

from typing import Any, cast

import pytest

from data.inspections import Inspection
from data.lake import Lake
from data.policy import Policy
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import ConfigError
from flows.retrain_settings import asked_of, gate_of, goal_of, pasted_defects_of
from training.goal import Costs, Goal, PlanMeasure, Recall

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT))


def plates(**settings: Any) -> Inspection:
    return Inspection(name="plates", classes=CLASSES, settings=settings)


POLICY = Policy(learning={"measure": "balanced_accuracy", "escape_cost": 50, "ask_cost": 0.2})


def test_the_policys_goal_holds_where_the_inspection_says_nothing() -> None:
    assert goal_of(plates(), Policy()) == Goal()
    costs = Costs(escape=50.0, ask=0.2)
    assert goal_of(plates(), POLICY) == Goal(measure=PlanMeasure.BALANCED_ACCURACY, costs=costs)


def test_an_inspections_own_measure_leaves_the_policys_costs() -> None:
    goal = goal_of(plates(learning={"measure": "expected_cost"}), POLICY)
    assert (goal.measure, goal.costs) == (PlanMeasure.EXPECTED_COST, Costs(escape=50.0, ask=0.2))


def test_an_inspection_with_a_recall_of_its_own_is_not_held_to_the_policys_costs() -> None:
    goal = goal_of(plates(learning={"recall": 0.95, "recall_of": {"crack": 0.99}}), POLICY)
    assert goal.costs is None
    assert goal.recall == Recall(least=0.95, least_of={"crack": 0.99})
    assert goal.measure is PlanMeasure.BALANCED_ACCURACY


def test_mistakes_are_told_with_the_place_where_they_are() -> None:
    with pytest.raises(ConfigError, match=r"inspection plates: its setting learning: unknown key 'escape'"):
        goal_of(plates(learning={"escape": 50}), Policy())
    with pytest.raises(ConfigError, match=r"policy \[learning\] measure = 'f1'"):
        goal_of(plates(), Policy(learning={"measure": "f1"}))
    with pytest.raises(ConfigError, match="its setting learning is 50; expected names with values"):
        goal_of(plates(learning=50), Policy())
    with pytest.raises(ConfigError, match="its setting gate is 1"):
        gate_of(plates(gate=1), Policy())


class Marked:
    """A lake in which two images have a mark."""

    def marked(self, inspection: str) -> set[str]:
        assert inspection == "plates"
        return {"a", "b"}


def test_pasted_defects_are_asked_for_beside_the_goal_and_make_another_challenger() -> None:
    policy, lake = Policy(learning={"pasted_defects": 40, "measure": "balanced_accuracy"}), cast(Lake, Marked())
    assert pasted_defects_of(plates(), policy) == 40
    assert pasted_defects_of(plates(learning={"pasted_defects": 0}), policy) == 0
    assert goal_of(plates(), policy) == Goal(measure=PlanMeasure.BALANCED_ACCURACY)
    assert asked_of(plates(), policy, lake) == f"{goal_of(plates(), policy)}, 40 pasted from 2 marks"
    assert asked_of(plates(), Policy(), lake) == str(Goal())
    with pytest.raises(ConfigError, match=r"learning.pasted_defects is -3; expected a whole number"):
        pasted_defects_of(plates(learning={"pasted_defects": -3}), policy)
