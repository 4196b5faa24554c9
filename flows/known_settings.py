"""Every setting that an inspection may state for itself: its name, its meaning, and what holds unless it is stated.

1. One table: what is not in it is no setting. `andon settings` shows it, and whoever follows a setting reads it here.
2. A name may have dots: `learning.recall_of.crack` is the entry `crack` of the entry `recall_of` of `learning`.
   It has three parts at most, since the name of a class may have dots of its own. `*` stands for each defect class.
3. A setting of its own kind (a flag, a choice, a number) is checked by itself. The sections `gate`, `learning` and
   `input` are checked as wholes by their readers (`flows/retrain_settings.py`, `flows/input_settings.py`), since their
   values may contradict one another.

To add one, make it, put it into `SETTINGS`, and read it with `of`:

>>> from data.inspections import Inspection
>>> plates = Inspection(name="plates", classes=(), settings={"auto_retrain": False})
>>> AUTO_RETRAIN.of(plates, Policy())
False
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from data.inspections import Inspection
from data.policy import Policy
from edge_client.contract.errors import ConfigError
from training.gate_policy import GatePolicy
from training.goal import DEFAULTS, MEANINGS
from training.input_choice import DEFAULT_CHOICE
from training.input_choice import MEANINGS as INPUT_MEANINGS
from training.pasted_defects import KEY, MOST_ASKED

EACH_DEFECT = "*"


def _nothing(_: Policy) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting.

    Attributes:
        name: With dots where it is inside a section.
        meaning: One line for people.
        default: What holds where neither the inspection nor anything above it says something; None: nothing does.
        expected: In words, for messages; "" where the section's reader checks.
        accepts: Whether a value is one.
    """

    name: str
    meaning: str
    default: Callable[[Policy], Any] = _nothing
    expected: str = ""
    accepts: Callable[[Any], bool] = field(default=lambda _: True, repr=False)

    def of(self, inspection: Inspection, policy: Policy) -> Any:
        """Return the inspection's value, else the default.

        Raises:
            ConfigError: The value is not one of this setting's.
        """
        value = stated(inspection.settings, self.name)
        if value is None:
            return self.default(policy)
        if not self.accepts(value):
            raise ConfigError(
                f"inspection {inspection.name}: its setting {self.name} is {value!r}; expected {self.expected}"
            )
        return value


def parts_of(name: str) -> list[str]:
    """Return the parts of a name (rule 2)."""
    return name.split(".", 2)


def stated(settings: Mapping[str, Any], name: str) -> Any:
    """Return what is stated under a name with dots, or None.

    >>> stated({"learning": {"recall_of": {"crack": 0.99}}}, "learning.recall_of.crack")
    0.99
    """
    found: Any = settings
    for part in parts_of(name):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def flag(name: str, meaning: str, default: Callable[[Policy], bool]) -> Setting:
    """Make a setting that is true or false."""
    return Setting(
        name=name, meaning=meaning, default=default, expected="true or false", accepts=lambda v: isinstance(v, bool)
    )


def choice(name: str, meaning: str, options: tuple[str, ...], default: Callable[[Policy], Any] = _nothing) -> Setting:
    """Make a setting that is one of some words."""
    words = f"{', '.join(options[:-1])} or {options[-1]}"
    return Setting(
        name=name,
        meaning=meaning,
        default=default,
        expected=words,
        accepts=lambda v: isinstance(v, str) and v in options,
    )


def number(
    name: str,
    meaning: str,
    least: float,
    most: float,
    *,
    whole: bool = False,
    default: Callable[[Policy], Any] = _nothing,
) -> Setting:
    """Make a setting that is a number within bounds."""

    def accepts(value: Any) -> bool:
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        return right and least <= value <= most

    kind = "a whole number" if whole else "a number"
    words = f"{kind} from {least:g} to {most:g}"
    return Setting(name=name, meaning=meaning, default=default, expected=words, accepts=accepts)


AUTO_RETRAIN = flag("auto_retrain", "enough new labels start a retrain by themselves", lambda _: True)
AUTO_PROMOTE = flag(
    "auto_promote",
    "a challenger that the gate promotes becomes champion without a person",
    lambda policy: policy.retrain.auto_promote,
)
VARIANT = choice(
    "variant",
    "what the trunk calculates in; chosen at the first retrain, by measurement unless stated",
    ("int8", "fp32"),
)


def _of_learning(key: str) -> Callable[[Policy], Any]:
    return lambda policy: policy.learning.get(key, DEFAULTS.get(key))


def _of_input(key: str) -> Callable[[Policy], Any]:
    return lambda policy: policy.input.get(key, DEFAULT_CHOICE.to_dict()[key])


def _of_gate(key: str, default: Any) -> Callable[[Policy], Any]:
    return lambda policy: policy.gate.get(key, default)


LEARNING = tuple(
    Setting(
        name=f"learning.{key}.{EACH_DEFECT}" if key.endswith("_of") else f"learning.{key}",
        meaning=meaning,
        default=_nothing if key.endswith("_of") else _of_learning(key),
    )
    for key, meaning in MEANINGS.items()
)
PASTED_DEFECTS = number(
    f"learning.{KEY}",
    "examples that each class with marked defects is brought to by pasting them onto ok frames",
    0,
    MOST_ASKED,
    whole=True,
    default=lambda policy: policy.learning.get(KEY, 0),
)
INPUT = tuple(
    Setting(name=f"input.{key}", meaning=meaning, default=_of_input(key)) for key, meaning in INPUT_MEANINGS.items()
)
GATE = tuple(
    Setting(name=f"gate.{spec.name}", meaning=spec.metadata["doc"], default=_of_gate(spec.name, spec.default))
    for spec in fields(GatePolicy)
)

#: All of them, in the order in which they are shown.
SETTINGS: tuple[Setting, ...] = (AUTO_RETRAIN, AUTO_PROMOTE, VARIANT, *INPUT, *LEARNING, PASTED_DEFECTS, *GATE)


def names_for(setting: Setting, inspection: Inspection) -> list[str]:
    """Return a setting's name, or with `*` its name for each defect class."""
    if not setting.name.endswith(EACH_DEFECT):
        return [setting.name]
    defects = [name for name in inspection.class_names if name in inspection.defect_names]
    return [setting.name.removesuffix(EACH_DEFECT) + name for name in defects]
