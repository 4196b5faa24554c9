"""What a setting of an inspection is, and those that are checked by themselves.

A name may have dots: `learning.recall_of.crack` is the entry `crack` of the entry `recall_of` of `learning`. It has
three parts at most, since the name of a class may have dots of its own.

>>> from data.inspections import Inspection
>>> plates = Inspection(name="plates", classes=(), settings={"auto_retrain": False})
>>> AUTO_RETRAIN.of(plates, Policy())
False
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from data.inspections import Inspection
from data.policy import Policy
from data.rollouts.stages import are_stages
from edge_client.contract.errors import ConfigError
from training.pasted_defects import KEY, MOST_ASKED


def nothing(_: Policy) -> None:
    """Nothing holds unless it is stated."""
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
    default: Callable[[Policy], Any] = nothing
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


def choice(name: str, meaning: str, options: tuple[str, ...], default: Callable[[Policy], Any] = nothing) -> Setting:
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
    default: Callable[[Policy], Any] = nothing,
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
VARIANTS = choice(
    "variants",
    "shipped: one file; both: beside int8 also float, for devices whose own trial refuses int8",
    ("shipped", "both"),
    lambda _: "shipped",
)
ROLLOUT_STAGES = Setting(
    name="rollout.stages",
    meaning="who gets a version when, as `stages` in [rollout] of policy.toml",
    default=lambda policy: policy.rollout.stages,
    expected="stages such as '1 device, 10%, approve 100%'",
    accepts=are_stages,
)
PASTED_DEFECTS = number(
    f"learning.{KEY}",
    "examples that each class with marked defects is brought to by pasting them onto ok frames",
    0,
    MOST_ASKED,
    whole=True,
    default=lambda policy: policy.learning.get(KEY, 0),
)
