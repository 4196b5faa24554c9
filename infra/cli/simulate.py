"""``andon simulate``: what the gate could decide, before labels are spent (here), and what a fleet does and costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli import simulate_fleet
from infra.cli.arguments import command, home_of, print_json

if TYPE_CHECKING:
    from training.gate_simulation import Power

_LEAST_TRIALS = 20


def add_parser(sub: Any) -> None:
    """Add the commands."""
    parser = command(
        sub,
        "simulate",
        "what the gate could decide with so many labels; what a fleet does and costs",
        "Tries out by simulation what would cost a plant labels or devices: `andon simulate gate --help`, `andon "
        "simulate fleet --help`.",
    )
    kinds = parser.add_subparsers(dest="what", metavar="gate | fleet", required=True)
    simulate_fleet.add_arguments(kind(kinds, "fleet", simulate_fleet.SUMMARY, simulate_fleet.DESCRIPTION))
    simulate = kind(
        kinds,
        "gate",
        "what the gate could decide with so many labels",
        "Judges many simulated challengers of known quality by the gate of this home directory's policy. The columns "
        "are the true gain of a challenger in average precision over the champion: 0 is no better, below 0 is worse. "
        "A cell says how many of a hundred are promoted / refused; the rest need more labels.",
    )
    simulate.add_argument(
        "--labels",
        type=int,
        nargs="+",
        default=[50, 100, 200, 400, 800],
        metavar="N",
        help="field labels that there are",
    )
    simulate.add_argument(
        "--gains",
        type=float,
        nargs="+",
        default=[-0.1, 0.0, 0.05, 0.1, 0.2],
        metavar="GAIN",
        help="true gains in average precision",
    )
    simulate.add_argument("--defect-share", type=float, default=0.2, help="share of defects on the line (default 0.2)")
    simulate.add_argument("--champion", type=float, default=0.7, help="the champion's average precision (default 0.7)")
    simulate.add_argument(
        "--previous",
        type=int,
        default=0,
        metavar="K",
        help="challengers judged against this champion before (default 0)",
    )
    simulate.add_argument("--trials", type=int, default=100, help="challengers for each cell (default 100)")
    simulate.add_argument("--seed", type=int, default=0)


def kind(kinds: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    """Add one simulation; ``--home`` and ``--json`` may stand before its name or after it."""
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=summary, description=description)
    parser.add_argument("--home", type=Path, default=argparse.SUPPRESS, metavar="DIR", help="whose policy.toml is used")
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
    return parser


def run(args: argparse.Namespace) -> int:
    """Simulate, and print what came of it."""
    if args.what == "fleet":
        return simulate_fleet.run(args)
    from data.policy import Policy
    from training.gate_policy import GatePolicy
    from training.gate_simulation import Line, power_table

    check(args)
    policy = GatePolicy.from_dict(Policy.load(home_of(args) / "policy.toml").gate)
    line = Line(defect_share=args.defect_share, champion=args.champion)
    table = power_table(
        policy,
        line,
        labels=args.labels,
        gains=args.gains,
        previous=args.previous,
        trials=args.trials,
        seed=args.seed,
    )
    if args.json:
        print_json(
            [
                {
                    "labels": cell.labels,
                    "gain": cell.gain,
                    "promote": cell.promote.to_dict(),
                    "reject": cell.reject.to_dict(),
                    "asked": cell.asked,
                }
                for cell in table
            ]
        )
        return 0
    print("\n".join(lines_of(table, args)))
    return 0


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot be simulated.

    Raises:
        ConfigError: A share, a precision or a count out of range.
    """
    if not 0 < args.defect_share < 1:
        raise ConfigError(f"--defect-share {args.defect_share}: expected a share between 0 and 1")
    if not args.defect_share < args.champion < 1:
        raise ConfigError(
            f"--champion {args.champion}: expected an average precision above {args.defect_share}, which guessing has, "
            "and below 1"
        )
    for gain in args.gains:
        if not args.defect_share <= args.champion + gain < 1:
            raise ConfigError(
                f"--gains {gain}: with a champion of {args.champion} that is an average precision of "
                f"{args.champion + gain:.2f}; expected one from {args.defect_share} to below 1"
            )
    if min(args.labels) < 1 or args.trials < _LEAST_TRIALS or args.previous < 0:
        raise ConfigError(
            f"expected --labels of at least 1, --trials of at least {_LEAST_TRIALS} and --previous of at least 0; "
            f"found {min(args.labels)}, {args.trials} and {args.previous}"
        )


def lines_of(table: list[Power], args: argparse.Namespace) -> list[str]:
    """The table in lines, with the widest interval below."""
    cells = {(cell.labels, cell.gain): cell for cell in table}
    head = "".join(f"{gain:>+13.2f}" for gain in args.gains)
    lines = [
        f"Of 100 challengers, promoted / refused, by their true gain in average precision ({args.trials} simulated for "
        f"each",
        f"cell; {args.defect_share:.1%} defects, champion {args.champion}, {args.previous} challengers before):",
        f"{'labels':>8}{head}   asked for where it cannot tell (median labels, at the largest gain)",
    ]
    for n in args.labels:
        row = [cells[n, gain] for gain in args.gains]
        told = "".join(f"{100 * c.promote.value:>7.0f} / {100 * c.reject.value:<3.0f}" for c in row)
        asked = row[-1].asked
        lines.append(f"{n:>8}{told}   {'–' if asked is None else asked}")
    widest = max((cell.promote for cell in table), key=lambda m: m.high - m.low)
    lines.append(f"95 % interval of the least certain share: {100 * widest.low:.0f} to {100 * widest.high:.0f} of 100.")
    return lines
