"""What an inspection may do by itself: its own settings, else the policy's.

`auto_retrain` (default true): enough new labels start a retrain. `auto_promote` (default the policy's): a challenger
that the gate promotes becomes champion without a person. `gate` (default none): values that replace those of the
policy's section of that name. `learning` (default none): the same for what plans are compared by and what sets the
thresholds; an inspection that states costs or a recall of its own is not also held to the policy's. Its key
`pasted_defects` (default 0) asks for synthetic defects.
"""

from collections.abc import Mapping
from typing import Any

from data.inspections import Inspection
from data.lake import Lake
from data.policy import Policy
from edge_client.contract.errors import ConfigError
from training.goal import THRESHOLD_KEYS, Goal
from training.pasted_defects import wanted_of

_PASTED = "pasted_defects"


def may_start_by_itself(inspection: Inspection) -> bool:
    """Return whether new labels alone may start a retrain."""
    return _flag(inspection, "auto_retrain", True)


def promotes_by_itself(inspection: Inspection, policy: Policy) -> bool:
    """Return whether a promoted challenger gets the alias `champion` without a person."""
    return _flag(inspection, "auto_promote", policy.retrain.auto_promote)


def gate_of(inspection: Inspection, policy: Policy) -> dict[str, Any]:
    """Return the gate's values: the policy's, replaced by the inspection's own."""
    return {**policy.gate, **_section(inspection, "gate")}


def goal_of(inspection: Inspection, policy: Policy) -> Goal:
    """Return what the inspection asks of its model.

    Raises:
        ConfigError: A value of the inspection's setting `learning`, or of the policy's section, is not acceptable.
    """
    own, general = _section(inspection, "learning"), dict(policy.learning)
    where = _where(own, inspection)
    if THRESHOLD_KEYS & set(own):
        general = {key: value for key, value in general.items() if key not in THRESHOLD_KEYS}
    stated = {key: value for key, value in {**general, **own}.items() if key != _PASTED}
    return Goal.from_dict(stated, inspection.classes, where=where)


def pasted_defects_of(inspection: Inspection, policy: Policy) -> int:
    """Return to how many examples each class with marked defects is brought by pasting; 0: none are made.

    Raises:
        ConfigError: The value is not acceptable.
    """
    own = _section(inspection, "learning")
    return wanted_of({**policy.learning, **own}, where=_where(own, inspection))


def asked_of(inspection: Inspection, policy: Policy, lake: Lake) -> str:
    """Return in words all that a fit is asked for beside the snapshot: another answer is another challenger."""
    pasted = pasted_defects_of(inspection, policy)
    goal = str(goal_of(inspection, policy))
    return f"{goal}, {pasted} pasted from {len(lake.marked(inspection.name))} marks" if pasted else goal


def _where(own: Mapping[str, Any], inspection: Inspection) -> str:
    return f"inspection {inspection.name}: its setting learning" if own else "policy [learning]"


def _section(inspection: Inspection, name: str) -> Mapping[str, Any]:
    own = inspection.settings.get(name, {})
    if not isinstance(own, Mapping):
        raise ConfigError(f"inspection {inspection.name}: its setting {name} is {own!r}; expected names with values")
    return own


def _flag(inspection: Inspection, name: str, default: bool) -> bool:
    value = inspection.settings.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"inspection {inspection.name}: its setting {name} is {value!r}; expected true or false")
    return value
