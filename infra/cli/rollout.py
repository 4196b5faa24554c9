"""``andon rollout``: how far a version has got on its way to the devices, and a person's word about it."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import AndonError, ConfigError
from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.workspace import Workspace

SHOW = "show"
ACTIONS = (SHOW, "hold", "resume", "advance", "halt", "revert")
_STOPPED = ("halted", "reverted")


def add_parser(sub: Any) -> None:
    """Add the command."""
    rollout = command(
        sub,
        "rollout",
        "how far a version has got on its way to the devices, and a person's word about it",
        "A version that an alias in MLflow names reaches a channel's devices in stages ([rollout] in policy.toml) and "
        "goes on by itself while heartbeats show no harm. show: how it stands. hold: nobody new gets it until resume. "
        "advance: the next stage begins now, whatever the evidence says; a stage that waits for approval gets it so. "
        "halt: stop as it is, evidence changes nothing any more. revert: back to the version before, at once; resume "
        "then begins anew from the first stage. "
        "Exit code 1 when the newest rollout is halted or was taken back.",
    )
    rollout.add_argument(
        "words",
        nargs="*",
        metavar="[INSPECTION] [ACTION]",
        help=f"ACTION is one of {', '.join(ACTIONS)} (default: show)",
    )
    rollout.add_argument("--channel", default="stable", help="whose devices (default: stable)")
    rollout.add_argument("--why", default="", help="the reason, kept with the rollout")
    rollout.add_argument("--who", default=None, help="who says so (default: the account's name)")


def run(args: argparse.Namespace) -> int:
    """Act, and show."""
    named, action = parse_words(args.words)
    workspace = open_workspace(args)
    name = the_inspection(workspace, named)
    from data.rollouts.stored import act, newest_rollout

    problem = ""
    if action != SHOW:
        who, now = args.who or getpass.getuser(), datetime.now(UTC)
        act(workspace.catalog(), name, args.channel, action, who=who, why=args.why, at=now)
        problem = _sign(workspace, name)
    newest = newest_rollout(workspace.catalog(), name, args.channel)
    from data.rollouts.told import told, told_devices

    value = None if newest is None else {**told(newest), **told_devices(workspace.catalog(), newest)}
    if args.json:
        print_json({"inspection": name, "channel": args.channel, "rollout": value, "problem": problem})
    else:
        print("\n".join(lines_of(name, args.channel, value)))
        if problem:
            print(f"  It is noted, but not signed yet: {problem}. The release flow signs it when it next runs.")
    return 1 if problem or (value is not None and value["state"] in _STOPPED) else 0


def parse_words(words: Sequence[str]) -> tuple[str | None, str]:
    """Tell an inspection and an action apart.

    Raises:
        ConfigError: The words are not of that form.

    >>> parse_words(["solar-cells", "hold"]), parse_words(["halt"]), parse_words(["solar-cells"])
    (('solar-cells', 'hold'), (None, 'halt'), ('solar-cells', 'show'))
    """
    match list(words):
        case []:
            return None, SHOW
        case [word]:
            return (None, word) if word in ACTIONS else (word, SHOW)
        case [name, action] if action in ACTIONS:
            return name, action
    raise ConfigError(f"{' '.join(words)!r}: expected [INSPECTION] [ACTION], with an action of {', '.join(ACTIONS)}")


def _sign(workspace: Workspace, name: str) -> str:
    """Bring the signed channel in line now. Returns what kept it from that, or ""."""
    from flows.release import release_once

    try:
        release_once(workspace, name)
    except AndonError as error:
        return str(error)
    return ""


def lines_of(name: str, channel: str, rollout: Mapping[str, Any] | None) -> list[str]:
    """A rollout in lines."""
    if rollout is None:
        return [f"{name}: no version was rolled out to {channel} yet; moving the alias champion in MLflow begins one"]
    base = f" over version {rollout['base_version']}" if rollout["base_version"] else ""
    lines = [f"{name}: version {rollout['version']} to {channel}{base}: {rollout['state'].upper()}"]
    marks = []
    for number, stage in enumerate(rollout["stages"], start=1):
        mark = "x" if number < rollout["stage"] or rollout["state"] == "done" else ">" if rollout["open"] else " "
        marks.append(f"[{mark if number <= rollout['stage'] else ' '}] {stage['text']}")
    lines += [f"  {'   '.join(marks)}", f"  {rollout['reason']}"]
    evidence = rollout["evidence"]
    if evidence:
        lines.append(
            f"  {evidence['confirmed']} confirmed, {evidence['trying']} trying, {evidence['quarantined']} quarantined, "
            f"{evidence['failed']} failed for now, {evidence['waiting']} waiting; "
            f"{evidence['staged']} devices reached, {evidence['controls']} controls"
        )
        lines += [f"  {each['finding'].upper():8} {each['sentence']}" for each in evidence["comparisons"]]
        lines += [f"  quarantined on {device}: {why}" for device, why in evidence["quarantines"].items()]
        lines += [f"  failed on {device}: {why}" for device, why in evidence["failures"].items()]
    for event in rollout["events"][:8]:
        why = f": {event['why']}" if event["why"] else ""
        lines.append(f"  {event['at'][:16].replace('T', ' ')} {event['who']} {event['what']}{why}")
    if rollout["can"]:
        lines.append(f"  It can: {', '.join(f'andon rollout {name} {each}' for each in rollout['can'])}")
    return lines
