"""What devices do when they are attacked: ``python -m benchmarks.attacks [--json] [--table]``.

Carries out every row of the attack matrix (`tests/integration/updates/attacks.py`) against a real repository with real
keys and a real device's updater, and prints what was seen: the device's answer, its reason, what changed (nothing), and
whether the next true release was taken once the attack was over. ``--table`` prints it as the table of docs/keys.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.result import Row, machine, tell
from tests.integration.updates.attacks import MATRIX, Attack, Seen, carry_out, prepare
from training.evaluate import Measure

_REASON_CHARACTERS = 110


def run() -> list[tuple[Attack, Seen, float]]:
    """Carry out all of them."""
    found = []
    with tempfile.TemporaryDirectory(prefix="andon-attacks-") as folder:
        prepared = prepare(Path(folder) / "scene")
        for number, attack in enumerate(MATRIX):
            begun = time.monotonic()
            seen = carry_out(attack, prepared, Path(folder) / str(number))
            found.append((attack, seen, time.monotonic() - begun))
    return found


def held(attack: Attack, seen: Seen) -> bool:
    """Whether the device did what the row says."""
    right = seen.check is attack.check and attack.because in seen.reason
    return right and not seen.changed and seen.recovered


def reason_of(seen: Seen) -> str:
    """A device's reason without the folders of this run."""
    words = [word if "/tmp/" not in word else "…/" + word.rpartition("/")[2] for word in seen.reason.split()]
    text = re.sub(r"[0-9a-f]{64}", lambda found: found[0][:8] + "…", " ".join(words))
    return text if len(text) <= _REASON_CHARACTERS else text[: _REASON_CHARACTERS - 1] + "…"


def table(found: list[tuple[Attack, Seen, float]]) -> str:
    """The matrix in Markdown."""
    lines = ["| attack | how | the device's answer | changed | next true release |", "|---|---|---|---|---|"]
    for attack, seen, _ in found:
        changed = ", ".join(seen.changed) or "nothing"
        taken = "taken" if seen.recovered else "NOT taken"
        lines.append(f"| {attack.name} | {attack.how} | {seen.check.value}: {reason_of(seen)} | {changed} | {taken} |")
    return "\n".join(lines)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attacks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--table", action="store_true", help="print the matrix as a Markdown table")
    parser.add_argument("--cache", help="not used here")
    args = parser.parse_args()
    found = run()
    n = len(found)
    refused = sum(held(attack, seen) for attack, seen, _ in found)
    changed = sum(bool(seen.changed) for _, seen, _ in found)
    stuck = sum(not seen.recovered for _, seen, _ in found)
    figures = {
        "attacks": Measure(value=n, low=n, high=n, n=n),
        "refused_with_their_reason": Measure(value=refused, low=refused, high=refused, n=n),
        "changed_something": Measure(value=changed, low=changed, high=changed, n=n),
        "left_stuck": Measure(value=stuck, low=stuck, high=stuck, n=n),
    }
    rows = [Row.of(f"{attack.name}: {attack.how}", "s", [seconds]) for attack, _, seconds in found]
    if args.table:
        print(table(found))
    elif args.json:
        seen_rows = [
            {
                "attack": attack.name,
                "how": attack.how,
                "check": seen.check.value,
                "reason": reason_of(seen),
                "changed": list(seen.changed),
                "recovered": seen.recovered,
            }
            for attack, seen, _ in found
        ]
        value = {
            "benchmark": "attacks",
            "machine": machine(),
            "rows": seen_rows,
            "figures": {k: {"value": m.value, "low": m.low, "high": m.high, "n": m.n} for k, m in figures.items()},
        }
        json.dump(value, sys.stdout, indent=1)
        print()
    else:
        tell("attacks", rows, figures, as_json=False)
        for attack, seen, _ in found:
            verdict = "held" if held(attack, seen) else "FAILED"
            print(f"  {verdict}  {attack.name}: {seen.check.value}: {reason_of(seen)}")
    return 0 if refused == n else 1


if __name__ == "__main__":
    sys.exit(main())
