"""``andon settings``: what an inspection states for itself, beside what holds for all."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from flows.change_settings import ShownSetting


def add_parser(sub: Any) -> None:
    """Add the command."""
    settings = command(
        sub,
        "settings",
        "show and change what an inspection states for itself",
        "Shows every setting that an inspection may state, with its value, what holds unless it is stated "
        "(policy.toml, else Andon's own) and what it means; * marks what is stated. With KEY=VALUE it is stated, with "
        "--unset no more. "
        "A change is checked before it is made. It holds from the next retrain on.",
    )
    settings.add_argument("inspection", nargs="?", help="its name (default: the only inspection there is)")
    settings.add_argument(
        "values",
        nargs="*",
        metavar="KEY=VALUE",
        help="such as auto_promote=true, learning.measure=worst_class_average_precision or "
        "learning.recall_of.crack=0.995",
    )
    settings.add_argument(
        "--unset",
        action="append",
        default=[],
        metavar="KEY",
        help="state this no more; a section's name takes it all away",
    )


def run(args: argparse.Namespace) -> int:
    """Change, and show."""
    texts = list(args.values)
    if args.inspection is not None and "=" in args.inspection:  # the only inspection there is
        texts.insert(0, args.inspection)
        args.inspection = None
    values = parse_values(texts)
    both = sorted(set(values) & set(args.unset))
    if both:
        raise ConfigError(f"{both[0]} is to be stated and to be unset: say one of them")
    workspace = open_workspace(args)
    name = the_inspection(workspace, args.inspection)
    from data.inspections import get_inspection
    from flows.change_settings import change, settings_of

    policy = workspace.policy()
    if values or args.unset:
        before, after = change(workspace.catalog(), name, policy, values=values, unset=args.unset)
    else:
        before = after = settings_of(get_inspection(workspace.catalog(), name), policy)
    changed = changes(before, after)
    if args.json:
        settings = [setting.to_dict() for setting in after]
        print_json({"inspection": name, "settings": settings, "changed": [each.name for each, _ in changed]})
    elif values or args.unset:
        print("\n".join(changed_lines(name, changed)))
    else:
        print("\n".join(lines_of(name, after)))
    return 0


def parse_values(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` texts; a value is a number, true, false or a text.

    Raises:
        ConfigError: A text is not of that form, or a key comes twice.

    >>> parse_values(["auto_promote=true", "learning.recall=0.99", "learning.measure=balanced_accuracy"])
    {'auto_promote': True, 'learning.recall': 0.99, 'learning.measure': 'balanced_accuracy'}
    """
    import tomllib

    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise ConfigError(
                f"{text!r}: expected KEY=VALUE, such as learning.recall=0.99 (--unset KEY states no value)"
            )
        if key in found:
            raise ConfigError(f"{key} comes twice: keep one of them")
        try:
            found[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key] = value  # a text without its quotes
    return found


def changes(before: Sequence[ShownSetting], after: Sequence[ShownSetting]) -> list[tuple[ShownSetting, ShownSetting]]:
    """What is stated otherwise than before, each before and after; only what is in both or was taken away."""
    later = {setting.name: setting for setting in after}
    pairs = [(old, later[old.name]) for old in before if old.name in later]
    gone = [(old, old) for old in before if old.name not in later]
    return [(old, new) for old, new in pairs if (old.value, old.stated) != (new.value, new.stated)] + gone


def changed_lines(name: str, changed: Sequence[tuple[ShownSetting, ShownSetting]]) -> list[str]:
    """What a change came to."""
    if not changed:
        return [f"{name}: nothing is otherwise than before"]
    lines = []
    for old, new in changed:
        if new is old:
            lines.append(f"{name}: {old.name} is taken away")
            continue
        whose = "" if new.stated else " (not stated by the inspection)"
        lines.append(f"{name}: {new.name} = {in_words(new.value)}{whose}, before {in_words(old.value)}")
    return lines


def lines_of(name: str, settings: Sequence[ShownSetting]) -> list[str]:
    """All settings, one a line."""
    rows = [
        ("*" if each.stated else " ", each.name, in_words(each.value), in_words(each.default), each.meaning)
        for each in settings
    ]
    heads = (" ", "setting", "value", "unless stated", "meaning")
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(4)]
    lines = [f"{name}: what it states for itself (*), and what holds unless it does"]
    lines += [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in [heads, *rows]
    ]
    return [*lines, f"Change one: andon settings {name} KEY=VALUE; take it back: andon settings {name} --unset KEY"]


def in_words(value: Any) -> str:
    """Write a value as one types it.

    >>> [in_words(value) for value in (True, 0.5, "int8", None)]
    ['true', '0.5', 'int8', '-']
    """
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
