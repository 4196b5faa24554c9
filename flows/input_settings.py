"""What an inspection's model looks at: its own setting `input` before the policy's section of that name.

Backbone, side, region, tiles, overlap and views, as `training.input_choice` has them. A change takes effect with the
next retrain, which makes a new trunk: every frame is embedded anew.
"""

from collections.abc import Mapping

from data.inspections import Inspection
from data.policy import Policy
from edge_client.contract.errors import ConfigError
from training.input_choice import InputChoice


def input_of(inspection: Inspection, policy: Policy) -> InputChoice:
    """Return what the inspection's model looks at.

    Raises:
        ConfigError: A value of the setting, or of the policy's section, is not acceptable.
    """
    own = inspection.settings.get("input", {})
    if not isinstance(own, Mapping):
        raise ConfigError(
            f"inspection {inspection.name}: its setting input is {own!r}; expected names with values, such as "
            "{'side': 320}"
        )
    where = f"inspection {inspection.name}: its setting input:" if own else "policy [input]"
    return InputChoice.from_dict({**policy.input, **own}, where=where)
