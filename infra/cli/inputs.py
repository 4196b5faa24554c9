"""``andon inputs``: which backbone, side, region, tiles and views pay for an inspection, measured on its own frames."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.workspace import Workspace
    from training.input_choice import InputChoice
    from training.input_trial import Compared, Comparison

_LEAST_FRAMES = 40


def add_parser(sub: Any) -> None:
    """Add the command."""
    inputs = command(
        sub,
        "inputs",
        "which backbone, side, region, tiles and views pay for an inspection",
        "Tries other input choices beside today's on labelled frames of the training side: by the inspection's own "
        "measure, out of fold, with what each costs a device. A choice is recommended only if its gain exceeds its "
        "uncertainty. Takes some minutes: each choice needs a trunk (half a minute the first time) and embeddings. "
        "Nothing is changed without --set.",
    )
    inputs.add_argument("inspection", nargs="?", help="default: the only one")
    inputs.add_argument(
        "--try",
        dest="candidates",
        action="append",
        metavar="CHOICE",
        help="a choice such as efficientnet-lite0@320, efficientnet-lite0@224/2x2/overlap=0.25, "
        "efficientnet-lite0@224/views=2 or package.module:Factory@224; several times "
        "(default: sides 160, 224 and 320, the other backbone, 2x2 tiles, two views)",
    )
    inputs.add_argument(
        "--region",
        metavar="LEFT,TOP,RIGHT,BOTTOM",
        help="also try this part of the frame, as shares of its width and height, such as 0.2,0.1,0.8,0.9",
    )
    inputs.add_argument("--frames", type=int, default=None, metavar="N", help="most frames that are used (default 600)")
    inputs.add_argument("--float", action="store_true", help="compare float trunks only, which is faster")
    inputs.add_argument("--seed", type=int, default=0, help="of folds and bootstrap (default 0)")
    inputs.add_argument(
        "--set",
        dest="wanted",
        metavar="CHOICE",
        help="measure nothing: write this choice into the inspection's settings; the next retrain works by it",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, or set."""
    workspace = open_workspace(args)
    name = the_inspection(workspace, args.inspection)
    if args.wanted is not None:
        return _set(workspace, name, args)
    return _compare(workspace, name, args)


def _compare(workspace: Workspace, name: str, args: argparse.Namespace) -> int:
    from edge_client.contract.errors import ConfigError
    from flows.compare_inputs import FRAMES, compare_inputs

    frames = FRAMES if args.frames is None else args.frames
    if frames < _LEAST_FRAMES:
        raise ConfigError(f"--frames {frames}: expected at least {_LEAST_FRAMES}, better {FRAMES}")
    comparison = compare_inputs(
        workspace,
        name,
        _candidates(workspace, name, args),
        frames=frames,
        in_float=args.float,
        seed=args.seed,
        progress=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
    )
    if args.json:
        print_json({"inspection": name, **comparison.to_dict()})
    else:
        print("\n".join(lines_of(name, comparison)))
    return 0


def _candidates(workspace: Workspace, name: str, args: argparse.Namespace) -> list[InputChoice]:
    from data.inspections import get_inspection
    from flows.input_settings import input_of
    from training.backbones import BUILT_IN, BadBackbone, find_backbone, registered
    from training.input_choice import InputChoice
    from training.input_trial import region_candidates, usual_candidates

    today = input_of(get_inspection(workspace.catalog(), name), workspace.policy())
    in_region = []
    if args.region is not None:
        region = InputChoice.from_dict({"region": args.region}, where="--region:").region
        in_region = region_candidates(today, region)
    if args.candidates:
        return [*(InputChoice.parse(text) for text in args.candidates), *in_region]
    others = []
    for other in (*BUILT_IN, *registered()):
        try:
            find_backbone(other)
        except BadBackbone as error:
            print(f"  left out: {error}", file=sys.stderr, flush=True)
        else:
            others.append(other)
    return [*usual_candidates(today, backbones=others), *in_region]


def _set(workspace: Workspace, name: str, args: argparse.Namespace) -> int:
    from data.inspections import change_settings, get_inspection
    from flows.input_settings import input_of
    from training.input_choice import InputChoice
    from training.trunk import float_trunk

    choice = InputChoice.parse(args.wanted)
    before = input_of(get_inspection(workspace.catalog(), name), workspace.policy())
    # Made now, so that a backbone that can't be exported is refused here and not by tonight's retrain.
    plain = float_trunk(workspace.cache / "trunks", choice)
    change_settings(workspace.catalog(), name, {"input": choice.to_dict()})
    if args.json:
        print_json(
            {"inspection": name, "before": str(before), "input": choice.to_dict(), "trunk_bytes": len(plain.onnx)}
        )
    elif choice == before:
        print(f"{name} looks at {choice}, as before.")
    else:
        print("\n".join(told_of_change(name, before, choice)))
    return 0


def told_of_change(name: str, before: InputChoice, choice: InputChoice) -> list[str]:
    """What a new choice means, in lines."""
    return [
        f"{name} looks at {choice} from the next retrain on (until now: {before}).",
        "  That retrain makes a new trunk and embeds every frame anew; embeddings of the old one stay in the cache.",
        "  Its engine is a whole new file for every device, not a small difference to the one it has.",
        "  The gate judges it as any other challenger, its latency and size included; until one is promoted, devices "
        "keep theirs.",
        "  What is learnt from embeddings (drift's reference, near-duplicates) begins anew with the new engine.",
        f"Next: `andon retrain {name}`.",
    ]


def lines_of(name: str, comparison: Comparison) -> list[str]:
    """A comparison in lines."""
    width = max(len(str(row.choice)) for row in comparison.rows)
    lines = [
        f"{name}: {comparison.measure}, out of fold, on {comparison.frames} of {comparison.of} labelled training "
        "frames (95 % intervals, of the differences all together)",
        f"  {'':<{width}}  {'measure':<28}{'over today':<28}{'ms a frame':>10}{'engine':>10}",
    ]
    lines += [_line(row, comparison, width) for row in comparison.rows]
    return [*lines, *recommendation(name, comparison)]


def _line(row: Compared, comparison: Comparison, width: int) -> str:
    gap = row.difference
    over = "today" if gap is None else f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
    measure = f"{row.measure.value:.3f} ({row.measure.low:.3f} to {row.measure.high:.3f})"
    mark = "  <-" if row.choice == comparison.recommended else ""
    size = f"{row.engine_bytes / 1e6:.1f} MB"
    return f"  {row.choice!s:<{width}}  {measure:<28}{over:<28}{row.ms:>10.1f}{size:>10} {row.variant}{mark}"


def recommendation(name: str, comparison: Comparison) -> list[str]:
    """What to do, and what it costs."""
    if comparison.recommended is None:
        return [
            f"Stay with {comparison.today.choice}: no other choice is better by more than its uncertainty. More "
            "labels of defects would tell smaller differences apart."
        ]
    row, today = comparison.row_of(comparison.recommended), comparison.today
    gap, limit = row.difference, comparison.latency_limit_ms
    assert gap is not None
    refused = []
    if limit is not None and row.ms > limit:
        refused = [
            f"The gate would refuse it: it allows {limit:.1f} ms after today's engine (policy [gate] "
            "max_latency_ratio, free_latency_ms, max_latency_ms); raise that first, if devices have the time."
        ]
    return [
        f"{row.choice} finds more: {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}, n = {gap.n}).",
        f"It costs {row.ms:.1f} ms a frame instead of {today.ms:.1f} ({row.ms / today.ms:.1f} times, one thread of "
        f"this machine), {row.engine_bytes / 1e6:.1f} MB instead of {today.engine_bytes / 1e6:.1f}, and every frame "
        "embedded anew.",
        *refused,
        f"To have it: `andon inputs {name} --set {row.choice}`.",
    ]
