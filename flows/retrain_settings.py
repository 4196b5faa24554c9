"""What an inspection may do by itself: its own settings, else the policy's.

`auto_retrain` (default true): enough new labels start a retrain. `auto_promote` (default the policy's): a challenger
that the gate promotes becomes champion without a person. `gate` (default none): values that replace those of the
policy's section of that name.
"""

from collections.abc import Mapping
from typing import Any

from data.inspections import Inspection
from data.policy import Policy
from edge_client.contract.errors import ConfigError


def may_start_by_itself(inspection: Inspection) -> bool:
    """Return whether new labels alone may start a retrain."""
    return _flag(inspection, "auto_retrain", True)


def promotes_by_itself(inspection: Inspection, policy: Policy) -> bool:
    """Return whether a promoted challenger gets the alias `champion` without a person."""
    return _flag(inspection, "auto_promote", policy.retrain.auto_promote)


def gate_of(inspection: Inspection, policy: Policy) -> dict[str, Any]:
    """Return the gate's values: the policy's, replaced by the inspection's own."""
    own = inspection.settings.get("gate", {})
    if not isinstance(own, Mapping):
        raise ConfigError(f"inspection {inspection.name}: its setting gate is {own!r}; expected names with values")
    return {**policy.gate, **own}


def _flag(inspection: Inspection, name: str, default: bool) -> bool:
    value = inspection.settings.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"inspection {inspection.name}: its setting {name} is {value!r}; expected true or false")
    return value
