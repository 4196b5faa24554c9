"""Show and change what an inspection states for itself.

1. A change is checked as a whole, in the transaction that makes it: values that contradict one another, or what the
   policy says, are refused, and then nothing is changed.
2. A name that is no setting is refused with the one that is most like it. What somebody else keeps with the inspection
   is shown and may be taken away, but not set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any

from data.catalog import Catalog
from data.inspections import Inspection, edit_settings
from data.policy import Policy
from edge_client.contract.errors import ConfigError
from flows.input_settings import input_of
from flows.known_settings import EACH_DEFECT, SETTINGS, names_for
from flows.retrain_settings import gate_of, general_learning, goal_of
from flows.setting import parts_of, stated
from training.gate_policy import GatePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSetting:
    """A setting of one inspection.

    Attributes:
        value: That holds; None: nothing is stated anywhere.
        default: That holds where the inspection states nothing.
        stated: Whether the inspection states it.
    """

    name: str
    value: Any
    default: Any
    stated: bool
    meaning: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def settings_of(inspection: Inspection, policy: Policy) -> list[ShownSetting]:
    """Return every setting there is, and last what else is kept with the inspection."""
    holds = replace(policy, learning=general_learning(inspection, policy))
    shown, known = [], set()
    for setting in SETTINGS:
        for name in names_for(setting, inspection):
            own = stated(inspection.settings, name)
            default = setting.default(holds)
            value = default if own is None else own
            shown.append(
                ShownSetting(name=name, value=value, default=default, stated=own is not None, meaning=setting.meaning)
            )
            known.add(name)
    for name, value in _leaves(inspection.settings):
        if name not in known:
            meaning = "no setting of Andon's: kept for somebody else"
            shown.append(ShownSetting(name=name, value=value, default=None, stated=True, meaning=meaning))
    return shown


def change(
    catalog: Catalog, inspection: str, policy: Policy, *, values: Mapping[str, Any], unset: Iterable[str] = ()
) -> tuple[list[ShownSetting], list[ShownSetting]]:
    """Change settings (rules 1 and 2). Returns all of them before and after.

    Args:
        catalog: Where the inspection is.
        inspection: Its name.
        policy: What holds for all inspections.
        values: Name -> value.
        unset: Names to state no more; a section's name takes all of it away.

    Raises:
        InspectionError: Unknown inspection.
        ConfigError: An unknown name, or a value that is not acceptable.
    """
    before: list[ShownSetting] = []

    def edit(current: Inspection) -> Mapping[str, Any]:
        before[:] = settings_of(current, policy)
        settings: dict[str, Any] = deepcopy(dict(current.settings))
        for name in unset:
            _take_away(settings, name, current)
        for name, value in values.items():
            _check_name(name, current)
            _put(settings, name, value)
        check(replace(current, settings=settings), policy)
        return settings

    after = edit_settings(catalog, inspection, edit)
    return before, settings_of(after, policy)


def check(inspection: Inspection, policy: Policy) -> None:
    """Check all that an inspection states, each value and all of them together.

    Raises:
        ConfigError: One is not acceptable; the message names it, and says what was expected.
    """
    for setting in SETTINGS:
        setting.of(inspection, policy)
    goal_of(inspection, policy)
    input_of(inspection, policy)
    try:
        GatePolicy.from_dict(gate_of(inspection, policy))
    except ConfigError as error:
        raise ConfigError(f"inspection {inspection.name}: {error}") from error


def _check_name(name: str, inspection: Inspection) -> None:
    known = [each for setting in SETTINGS for each in names_for(setting, inspection)]
    if name in known:
        return
    for setting in SETTINGS:
        section = setting.name.removesuffix(EACH_DEFECT)
        if section != setting.name and name.startswith(section):
            defects = [each for each in inspection.class_names if each in inspection.defect_names]
            raise ConfigError(
                f"inspection {inspection.name}: {name} names {name.removeprefix(section)!r}; expected one of its "
                f"defect classes, which are {defects}"
            )
    near = get_close_matches(name, known, n=1) or [each for each in known if each.split(".")[-1] == name]
    perhaps = f"; do you mean {near[0]}?" if near else "."
    raise ConfigError(
        f"inspection {inspection.name} has no setting {name!r}{perhaps} `andon settings {inspection.name}` lists all"
    )


def _put(settings: dict[str, Any], name: str, value: Any) -> None:
    *sections, last = parts_of(name)
    place = settings
    for section in sections:
        if not isinstance(place.get(section), dict):
            place[section] = {}
        place = place[section]
    place[last] = value


def _take_away(settings: dict[str, Any], name: str, inspection: Inspection) -> None:
    if stated(settings, name) is None:
        states = ", ".join(each for each, _ in _leaves(inspection.settings)) or "nothing"
        raise ConfigError(
            f"inspection {inspection.name} does not state {name!r}, so it cannot be unset: it states {states}"
        )
    *sections, last = parts_of(name)
    path = [settings]
    for section in sections:
        path.append(path[-1][section])
    del path[-1][last]
    for holder, section in zip(reversed(path[:-1]), reversed(sections), strict=True):
        if not holder[section]:
            del holder[section]  # an empty section would read as one that is stated


def _leaves(settings: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterable[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and depth < 3:
            yield from _leaves(value, f"{prefix}{name}.", depth + 1)
        else:
            yield f"{prefix}{name}", value
