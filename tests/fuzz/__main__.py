"""`python -m tests.fuzz TARGET|all [--seconds 600] [--corpus DIR] [--out DIR] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.fuzz.runs import Report, fuzz
from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> int:
    """Fuzz; 1 if anything crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz what reads foreign bytes.")
    parser.add_argument("target", choices=(*TARGETS, "all"))
    parser.add_argument("--seconds", type=float, default=600.0, help="of processor time for each target (default 600)")
    parser.add_argument("--corpus", type=Path, help="folder of inputs by target, kept and grown")
    parser.add_argument("--out", type=Path, help="folder for crashing inputs and logs (default: a new one)")
    parser.add_argument("--seed", type=int, default=1, help="of the random generator")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    out = given.out or Path(tempfile.mkdtemp(prefix="andon-fuzz-"))
    corpus = given.corpus or out / "corpus"
    reports = []
    for name in TARGETS if given.target == "all" else (given.target,):
        report = fuzz(name, seconds=given.seconds, corpus=corpus / name, out=out / name, seed=given.seed)
        reports.append(report)
        if not given.json:
            _print(report)
    if given.json:
        print(json.dumps({"targets": [report.to_json() for report in reports]}, indent=2))
    return 1 if any(report.crashes for report in reports) else 0


def _print(report: Report) -> None:
    print(
        f"{report.target:14} {report.executions:>10,} executions {report.executions_per_second:>9,.0f} a second "
        f"{report.edges:>6} edges {report.features:>6} features {report.corpus:>5} inputs kept "
        f"{report.accepted:>9,} accepted {report.peak_megabytes:>5} MB  crashes {len(report.crashes)}",
        flush=True,
    )
    for crash in report.crashes:
        print(f"    {crash.place}\n      {crash.error.splitlines()[-1] if crash.error else ''}\n      {crash.input}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
