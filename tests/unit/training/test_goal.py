import pytest

from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import ConfigError
from training.goal import Costs, Goal, PlanMeasure, Recall

CLASSES = (
    ClassInfo(name="ok", kind=Kind.OK),
    ClassInfo(name="dent", kind=Kind.DEFECT),
    ClassInfo(name="crack", kind=Kind.DEFECT),
)


def test_what_is_not_stated_keeps_its_default() -> None:
    assert Goal.from_dict({}, CLASSES) == Goal()
    assert Goal().measure is PlanMeasure.MEAN_AVERAGE_PRECISION


def test_costs_and_recalls_are_read_by_class() -> None:
    costs = Goal.from_dict({"escape_cost": 50, "ask_cost": 0.2, "escape_cost_of": {"crack": 200}}, CLASSES).costs
    assert costs == Costs(escape=50.0, ask=0.2, escape_of={"crack": 200.0})
    assert costs.escape_by_class(CLASSES) == (0.0, 50.0, 200.0)
    recall = Goal.from_dict({"recall": 0.9, "recall_of": {"crack": 0.99}}, CLASSES).recall
    assert recall == Recall(least=0.9, least_of={"crack": 0.99})
    assert [recall.of(info) for info in CLASSES[1:]] == [0.9, 0.99]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mesure": "expected_cost"}, "unknown key 'mesure'; known are"),
        ({"measure": "f1"}, "measure = 'f1': expected one of .*'balanced_accuracy'"),
        ({"measure": "expected_cost"}, "needs escape_cost"),
        ({"escape_cost": "much"}, "escape_cost = 'much': expected a number"),
        ({"escape_cost": True}, "escape_cost = True: expected a number"),
        ({"escape_cost": 0}, "escape_cost = 0: expected a number"),
        ({"ask_cost": 0.1}, "states ask_cost without escape_cost"),
        ({"escape_cost": 50, "ask_cost": 1}, "ask_cost = 1 is not below false_alarm_cost = 1"),
        ({"escape_cost": 50, "recall": 0.9}, "states costs and a recall"),
        ({"escape_cost": 50, "escape_cost_of": {"scratch": 1}}, r"names 'scratch': .* \['dent', 'crack'\]"),
        ({"escape_cost": 50, "escape_cost_of": {"ok": 1}}, "names 'ok'"),
        ({"escape_cost": 50, "escape_cost_of": 7}, "expected classes with a number each"),
        ({"recall": 1.0}, "recall = 1.0: expected a number from"),
        ({"recall_of": {"crack": 0.9}}, "recall_of without recall"),
        ({"false_alarm_share": 0}, "false_alarm_share = 0: expected"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Goal.from_dict(values, CLASSES, where="inspection plates: its setting learning")
