"""What an inspection asks of its model: by which measure plans are compared, and what sets the thresholds.

1. Unless it says otherwise: mean average precision over the defect classes, and thresholds of best balanced accuracy.
2. Stated costs set the thresholds by the least expected cost, a required recall by the fewest false alarms that keep
   it. Both at once would contradict each other and are refused.
3. Costs count in units of the plant's own choice; only their ratios matter. An escape may cost otherwise for one class,
   and so may a class have a recall of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import ConfigError

#: Keys that decide where the verdict changes.
THRESHOLD_KEYS = frozenset({"escape_cost", "false_alarm_cost", "ask_cost", "escape_cost_of", "recall", "recall_of"})
_FALSE_ALARMS = 0.01
_MEAN_AP = "mean_average_precision"
#: Every key, in one line for people. Those that end in `_of` state a value for single classes.
MEANINGS: Mapping[str, str] = {
    "measure": "by which plans are compared: mean_average_precision, worst_class_average_precision, balanced_accuracy, "
    "recall_at_false_alarms or expected_cost",
    "false_alarm_share": "ok frames that may be rejected, as a share, for the measure recall_at_false_alarms",
    "escape_cost": "what a defect that is passed costs; with costs the threshold is that of least expected cost",
    "false_alarm_cost": "what an ok part that is rejected costs; only ratios matter",
    "ask_cost": "what it costs to ask a person; nobody is asked on account of costs unless stated",
    "escape_cost_of": "the same as escape_cost, for one class",
    "recall": "the share of each defect class that must be found; the threshold then has fewest false alarms",
    "recall_of": "the same as recall, for one class",
}
#: What holds for a key that nobody states; those that are not here then mean nothing.
DEFAULTS: Mapping[str, str | float] = {"measure": _MEAN_AP, "false_alarm_share": _FALSE_ALARMS}
_DEAREST = 1e9


class PlanMeasure(Enum):
    """By what plans are compared, out of fold."""

    MEAN_AVERAGE_PRECISION = _MEAN_AP  # over the defect classes
    WORST_CLASS_AVERAGE_PRECISION = "worst_class_average_precision"  # of the defect classes
    BALANCED_ACCURACY = "balanced_accuracy"  # mean recall of all classes, each frame given its likeliest class
    RECALL_AT_FALSE_ALARMS = "recall_at_false_alarms"  # of defects, where a stated share of ok frames is rejected
    EXPECTED_COST = "expected_cost"  # of a frame, by the stated costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What mistakes cost.

    Attributes:
        escape: Of passing a frame with a defect.
        false_alarm: Of rejecting an ok frame.
        ask: Of asking a person, who is right; None where nobody is asked on account of costs.
        escape_of: Class -> its own cost of escaping.
    """

    escape: float
    false_alarm: float = 1.0
    ask: float | None = None
    escape_of: Mapping[str, float] = field(default_factory=dict)

    def escape_by_class(self, classes: Sequence[ClassInfo]) -> tuple[float, ...]:
        """Return what passing a frame of each class costs; 0 for kind ok."""
        return tuple(
            self.escape_of.get(info.name, self.escape) if info.kind is Kind.DEFECT else 0.0 for info in classes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """The share of defects that must be found.

    Attributes:
        least: Of each defect class.
        least_of: Class -> its own share.
    """

    least: float
    least_of: Mapping[str, float] = field(default_factory=dict)

    def of(self, info: ClassInfo) -> float:
        """Return the share asked for one class."""
        return self.least_of.get(info.name, self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What an inspection asks of its model.

    Attributes:
        measure: By which plans are compared.
        false_alarm_share: Share of ok frames that may be rejected, for `RECALL_AT_FALSE_ALARMS`.
        costs: What mistakes cost, where that is stated.
        recall: What must be found, where that is stated.
    """

    measure: PlanMeasure = PlanMeasure.MEAN_AVERAGE_PRECISION
    false_alarm_share: float = _FALSE_ALARMS
    costs: Costs | None = None
    recall: Recall | None = None

    @staticmethod
    def from_dict(values: Mapping[str, Any], classes: Sequence[ClassInfo], *, where: str = "[learning]") -> Goal:
        """Read settings; what they do not name keeps its default.

        Args:
            values: `measure`, `false_alarm_share`, `escape_cost`, `false_alarm_cost`, `ask_cost`, `recall`, and by
                class `escape_cost_of` and `recall_of`.
            classes: Of the inspection.
            where: The settings' name for messages.

        Raises:
            ConfigError: An unknown key or class, a value of the wrong type or out of range, or a contradiction.

        >>> Goal.from_dict({"escape_cost": 50}, ()).costs
        Costs(escape=50.0, false_alarm=1.0, ask=None, escape_of={})
        """
        reader = _Reader(values, classes, where)
        goal = Goal(
            measure=reader.measure(),
            false_alarm_share=reader.share("false_alarm_share", _FALSE_ALARMS),
            costs=reader.costs(),
            recall=reader.recall(),
        )
        if goal.costs and goal.recall:
            raise ConfigError(f"{where} states costs and a recall: both set the thresholds; take one away")
        if goal.measure is PlanMeasure.EXPECTED_COST and goal.costs is None:
            raise ConfigError(f"{where} measure = 'expected_cost' needs escape_cost, what a missed defect costs")
        return goal


class _Reader:
    def __init__(self, values: Mapping[str, Any], classes: Sequence[ClassInfo], where: str) -> None:
        unknown = sorted(set(values) - set(MEANINGS))
        if unknown:
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {sorted(MEANINGS)}")
        self._values, self._where = values, where
        self._defects = [info.name for info in classes if info.kind is Kind.DEFECT]

    def measure(self) -> PlanMeasure:
        found = self._values.get("measure", PlanMeasure.MEAN_AVERAGE_PRECISION.value)
        try:
            return PlanMeasure(found)
        except ValueError:
            known = [measure.value for measure in PlanMeasure]
            raise ConfigError(f"{self._where} measure = {found!r}: expected one of {known}") from None

    def share(self, name: str, default: float) -> float:
        return self._number(name, self._values.get(name, default), 1e-4, 0.9999)

    def costs(self) -> Costs | None:
        others = [name for name in ("false_alarm_cost", "ask_cost", "escape_cost_of") if name in self._values]
        if "escape_cost" not in self._values:
            if others:
                raise ConfigError(f"{self._where} states {others[0]} without escape_cost, what a missed defect costs")
            return None
        costs = Costs(
            escape=self._cost("escape_cost"),
            false_alarm=self._cost("false_alarm_cost") if "false_alarm_cost" in self._values else 1.0,
            ask=self._cost("ask_cost") if "ask_cost" in self._values else None,
            escape_of=self._by_class("escape_cost_of", 1e-9, _DEAREST),
        )
        if costs.ask is not None and costs.ask >= costs.false_alarm:
            raise ConfigError(
                f"{self._where} ask_cost = {costs.ask:g} is not below false_alarm_cost = {costs.false_alarm:g}: "
                "rejecting would always be cheaper than asking; leave ask_cost away"
            )
        return costs

    def recall(self) -> Recall | None:
        if "recall" not in self._values:
            if "recall_of" in self._values:
                raise ConfigError(f"{self._where} states recall_of without recall, the share for all other classes")
            return None
        return Recall(least=self.share("recall", 0.0), least_of=self._by_class("recall_of", 1e-4, 0.9999))

    def _cost(self, name: str) -> float:
        return self._number(name, self._values[name], 1e-9, _DEAREST)

    def _by_class(self, name: str, least: float, most: float) -> dict[str, float]:
        found = self._values.get(name, {})
        if not isinstance(found, Mapping):
            raise ConfigError(f"{self._where} {name} = {found!r}: expected classes with a number each")
        for label in found:
            if label not in self._defects:
                raise ConfigError(
                    f"{self._where} {name} names {label!r}: expected defect classes, which are {self._defects}"
                )
        return {label: self._number(f"{name}.{label}", value, least, most) for label, value in found.items()}

    def _number(self, name: str, value: object, least: float, most: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ConfigError(f"{self._where} {name} = {value!r}: expected a number from {least:g} to {most:g}")
        return float(value)
