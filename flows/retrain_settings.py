"""What an inspection asks of its retrains: its own settings (`flows/known_settings.py`), else the policy's.

A section that the inspection states in part takes its other values from the policy's section of that name. Only costs
and a recall go together: an inspection that states one of them is not also held to the policy's.
"""

from collections.abc import Mapping
from typing import Any

from data.inspections import Inspection
from data.lake import Lake
from data.policy import Policy
from edge_client.contract.errors import ConfigError
from flows.setting import AUTO_PROMOTE, AUTO_RETRAIN, PASTED_DEFECTS
from training.goal import THRESHOLD_KEYS, Goal
from training.pasted_defects import KEY as PASTED
from training.pasted_defects import wanted_of


def may_start_by_itself(inspection: Inspection) -> bool:
    """Return whether new labels alone may start a retrain."""
    return bool(AUTO_RETRAIN.of(inspection, Policy()))


def promotes_by_itself(inspection: Inspection, policy: Policy) -> bool:
    """Return whether a promoted challenger gets the alias `champion` without a person."""
    return bool(AUTO_PROMOTE.of(inspection, policy))


def gate_of(inspection: Inspection, policy: Policy) -> dict[str, Any]:
    """Return the gate's values: the policy's, replaced by the inspection's own."""
    return {**policy.gate, **_section(inspection, "gate")}


def goal_of(inspection: Inspection, policy: Policy) -> Goal:
    """Return what the inspection asks of its model.

    Raises:
        ConfigError: A value of the inspection's setting `learning`, or of the policy's section, is not acceptable.
    """
    own = _section(inspection, "learning")
    where = f"inspection {inspection.name}: its setting learning" if own else "policy [learning]"
    stated = {**general_learning(inspection, policy), **own}
    stated.pop(PASTED, None)
    return Goal.from_dict(stated, inspection.classes, where=where)


def general_learning(inspection: Inspection, policy: Policy) -> dict[str, Any]:
    """Return what of the policy's section `learning` holds for an inspection."""
    own, general = _section(inspection, "learning"), dict(policy.learning)
    if THRESHOLD_KEYS & set(own):
        return {key: value for key, value in general.items() if key not in THRESHOLD_KEYS}
    return general


def pasted_defects_of(inspection: Inspection, policy: Policy) -> int:
    """Return to how many examples each class with marked defects is brought by pasting; 0: none are made.

    Raises:
        ConfigError: The inspection's value, or the policy's, is not acceptable.
    """
    wanted_of(policy.learning, where="policy [learning]")
    return int(PASTED_DEFECTS.of(inspection, policy))


def asked_of(inspection: Inspection, policy: Policy, lake: Lake) -> str:
    """Return in words all that a fit is asked for beside the snapshot: another answer is another challenger."""
    pasted = pasted_defects_of(inspection, policy)
    goal = str(goal_of(inspection, policy))
    return f"{goal}, {pasted} pasted from {len(lake.marked(inspection.name))} marks" if pasted else goal


def _section(inspection: Inspection, name: str) -> Mapping[str, Any]:
    own = inspection.settings.get(name, {})
    if not isinstance(own, Mapping):
        raise ConfigError(f"inspection {inspection.name}: its setting {name} is {own!r}; expected names with values")
    return own
