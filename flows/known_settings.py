"""Every setting that an inspection may state for itself: its name, its meaning, and what holds unless it is stated.

1. One table: what is not in it is no setting. `andon settings` shows it.
2. In a name (`flows/setting.py`) `*` stands for each defect class.
3. A setting of its own kind (a flag, a choice, a number) is checked by itself. The sections `gate`, `learning` and
   `input` are checked as wholes by their readers (`flows/retrain_settings.py`, `flows/input_settings.py`), since their
   values may contradict one another.

To add one, make it, put it into `SETTINGS`, and read it with `of`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from data.inspections import Inspection
from data.policy import Policy, ValuePolicy
from data.value.prices import SECTION, check_price
from edge_client.contract.errors import ConfigError
from flows.setting import (
    AUTO_PROMOTE,
    AUTO_RETRAIN,
    PASTED_DEFECTS,
    ROLLOUT_STAGES,
    VARIANT,
    VARIANTS,
    Setting,
    nothing,
)
from training.gate_policy import GatePolicy
from training.goal import DEFAULTS, MEANINGS
from training.input_choice import DEFAULT_CHOICE
from training.input_choice import MEANINGS as INPUT_MEANINGS

EACH_DEFECT = "*"


def _of_learning(key: str) -> Callable[[Policy], Any]:
    return lambda policy: policy.learning.get(key, DEFAULTS.get(key))


def _of_input(key: str) -> Callable[[Policy], Any]:
    return lambda policy: policy.input.get(key, DEFAULT_CHOICE.to_dict()[key])


def _of_gate(key: str, default: Any) -> Callable[[Policy], Any]:
    return lambda policy: policy.gate.get(key, default)


def _of_value(key: str) -> Callable[[Policy], Any]:
    return lambda policy: getattr(policy.value, key) or None


def _is_price(key: str) -> Callable[[Any], bool]:
    def is_price(value: Any) -> bool:
        try:
            check_price(key, value)
        except ConfigError:
            return False
        return True

    return is_price


LEARNING = tuple(
    Setting(
        name=f"learning.{key}.{EACH_DEFECT}" if key.endswith("_of") else f"learning.{key}",
        meaning=meaning,
        default=nothing if key.endswith("_of") else _of_learning(key),
    )
    for key, meaning in MEANINGS.items()
)
INPUT = tuple(
    Setting(name=f"input.{key}", meaning=meaning, default=_of_input(key)) for key, meaning in INPUT_MEANINGS.items()
)
GATE = tuple(
    Setting(name=f"gate.{spec.name}", meaning=spec.metadata["doc"], default=_of_gate(spec.name, spec.default))
    for spec in fields(GatePolicy)
)

VALUE = tuple(
    Setting(
        name=f"{SECTION}.{spec.name}",
        meaning=spec.metadata["doc"].replace("; 0: not stated", ""),
        default=_of_value(spec.name),
        expected="a price of 0 or more, or a currency such as EUR",
        accepts=_is_price(spec.name),
    )
    for spec in fields(ValuePolicy)
)

#: All of them, in the order in which they are shown.
SETTINGS: tuple[Setting, ...] = (
    AUTO_RETRAIN,
    AUTO_PROMOTE,
    VARIANT,
    VARIANTS,
    ROLLOUT_STAGES,
    *INPUT,
    *LEARNING,
    PASTED_DEFECTS,
    *GATE,
    *VALUE,
)


def names_for(setting: Setting, inspection: Inspection) -> list[str]:
    """Return a setting's name, or with `*` its name for each defect class."""
    if not setting.name.endswith(EACH_DEFECT):
        return [setting.name]
    defects = [name for name in inspection.class_names if name in inspection.defect_names]
    return [setting.name.removesuffix(EACH_DEFECT) + name for name in defects]
