"""``andon report``: how each inspection's loop is doing, every figure with its uncertainty and its n."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.intervals import Estimate
    from data.loop_status import LoopStatus

_SHOWN = 5


def add_parser(sub: Any) -> None:
    """Add the command."""
    report = command(sub, "report", "how the loop of each inspection is doing, with uncertainties")
    report.add_argument("inspection", nargs="?", help="default: all")


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    from data.field_measures import field_measures
    from data.loop_status import loop_status, loop_statuses
    from infra.cli.field_report import field_lines

    workspace = open_workspace(args)
    catalog = workspace.catalog()
    if args.inspection is not None:
        loops = [loop_status(catalog, the_inspection(workspace, args.inspection))]
    else:
        loops = loop_statuses(catalog)
    outcomes = workspace.policy().outcomes
    fields = [field_measures(catalog, loop.inspection, outcomes=outcomes) for loop in loops]
    if args.json:
        print_json([{**loop.to_dict(), "field": field.to_dict()} for loop, field in zip(loops, fields, strict=True)])
        return 0
    if not loops:
        print("There is no inspection yet: make one with `andon init NAME --from FOLDER`.")
    for loop, field in zip(loops, fields, strict=True):
        print("\n".join([*lines_of(loop), *field_lines(field)]))
    return 0


def lines_of(loop: LoopStatus) -> list[str]:
    """One inspection in lines."""
    share = f" ({loop.captured / loop.frames:.1%} of the frames)" if loop.frames else ""
    labelled = ", ".join(f"{count:,} {origin}" for origin, count in sorted(loop.labelled.items())) or "none"
    classes = ", ".join(f"{name} {count}" for name, count in loop.labels_by_class.items() if count)
    lines = [
        f"{loop.inspection}: {', '.join(f'{name} ({kind})' for name, kind in loop.classes)}",
        f"  seen       {loop.frames:,} frames in {loop.windows:,} windows",
        f"  captured   {loop.captured:,} samples{share}, {loop.uploaded_bytes:,} bytes; {loop.missing} missing",
        f"  labelled   {labelled}{f' (field: {classes})' if classes else ''}; {loop.waiting:,} wait, "
        f"{loop.new_labels:,} are new",
        f"  defective  {in_words(loop.defect_rate)}",
        f"  missed     {loop.miss_statement}",
    ]
    if loop.disagreements or loop.cannot_tell or loop.quarantine:
        lines.append(
            f"  attention  {loop.disagreements} disagreements, {loop.cannot_tell} nobody can tell, "
            f"{loop.quarantine} set aside"
        )
    if loop.drift_alarms:
        alarms = "alarm" if loop.drift_alarms == 1 else "alarms"
        lines.append(f"  drift      {loop.drift_alarms} open {alarms}: andon drift {loop.inspection}")
    lines += trust_of(loop)
    for state in loop.devices:
        beat = state.heartbeat
        engine = f"engine {beat.engine_id}, {beat.health}" if beat else "not heard of yet"
        gone = ", revoked" if state.device.revoked else ""
        lines.append(
            f"  device     {state.device.name} ({state.device.station}, {state.channel}{gone}): {engine}; "
            f"{state.frames:,} frames"
        )
    if loop.device_total > len(loop.devices):
        lines.append(f"  devices    {loop.device_total:,} in all, those that are not well first: andon fleet")
    lines += [f"  decision   version {d.version}: {d.answer}: {'; '.join(d.reasons)}" for d in loop.decisions[:_SHOWN]]
    lines += [
        f"  release    {r.at:%Y-%m-%d %H:%M} {r.channel}: {r.action} version {r.version} by {r.who}"
        for r in loop.releases[:_SHOWN]
    ]
    return lines


def trust_of(loop: LoopStatus) -> list[str]:
    """How far the labels can be trusted: two people, known answers, and what training doubts."""
    lines = []
    kappa, observed = loop.agreement.kappa, loop.agreement.observed
    if observed.n:
        beyond = "" if math.isnan(kappa.value) else f"; kappa {kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"
        lines.append(f"  agreement  {observed.value:.0%} of {observed.n} samples that two people labelled{beyond}")
    for labeller in loop.labellers:
        right = labeller.accuracy
        lines.append(
            f"  labeller   {labeller.who}: {right.value:.0%} of {right.n} known answers right "
            f"({right.low:.0%} to {right.high:.0%})"
        )
    if loop.reviews:
        lines.append(f"  review     {loop.reviews} labels should be looked at again: the labelling page shows them")
    return lines


def in_words(estimate: Estimate) -> str:
    """A rate among the frames seen, with its interval and n.

    >>> from data.intervals import Estimate
    >>> in_words(Estimate(value=0.1234, low=0.1, high=0.15, n=40))
    '12.3 % of the frames (10.0 to 15.0 %, n = 40)'
    """
    if not estimate.n or math.isnan(estimate.value):
        return "not known: nothing is labelled yet"
    span = f"{estimate.low * 100:.1f} to {estimate.high * 100:.1f} %"
    return f"{estimate.value * 100:.1f} % of the frames ({span}, n = {estimate.n})"
