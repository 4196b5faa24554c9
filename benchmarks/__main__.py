"""``python -m benchmarks``: run the benchmarks, one after another, and write the page of the documentation.

    python -m benchmarks [NAME ...] [--group GROUP] [--cache DIR] [--page FILE] [--keep DIR] [--tiles PATH]

Half an hour on two cores for the device's, some hours for those of learning. With `--keep` each outcome stays as a JSON
file in that folder and is not measured again when it is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.page import page

DEVICE = ("client_overhead", "encoding", "engine", "serving", "sampler", "spool", "offline", "survival")
LEARNING = (
    *("labels", "rebalancing", "pasted", "fewshot", "oneclass", "finetune", "finetune_stream", "inputs"),
    *("calibration", "retrain", "gate", "field", "drift", "causes"),
)
FLEET = ("updates", "fleet", "fleet_reading", "rollouts", "attacks", "revoke", "software", "shadow", "campaign")
PEOPLE = ("console", "tasks", "catalog", "ingest", "backup")
GROUPS = {"device": DEVICE, "learning": LEARNING, "fleet": FLEET, "people": PEOPLE}
BENCHMARKS = tuple(name for group in GROUPS.values() for name in group)
PLAIN = ("learning",)  # prints a table of stories, no figures
WITHOUT_CACHE = ("fleet", "fleet_reading", "rollouts", "software", *PEOPLE)  # they keep nothing
#: They take images of one's own; `fewshot` needs several classes of defects, `pasted` marks: left out without.
NEED_TILES = ("fewshot", "pasted")
WITH_TILES = (
    "encoding",
    "engine",
    "labels",
    "rebalancing",
    "pasted",
    "fewshot",
    "oneclass",
    "inputs",
    "calibration",
    "retrain",
)


def main() -> int:
    """Run them; the exit code is that of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, *PLAIN, []], metavar="NAME", help="default: all")
    parser.add_argument(
        "--cache", type=Path, help="folder for embeddings, engines and peers (default: a temporary one)"
    )
    parser.add_argument("--group", choices=GROUPS, help="those of one part of the product")
    parser.add_argument("--page", type=Path, help="write the outcomes to this Markdown file")
    parser.add_argument("--keep", type=Path, help="folder for each outcome's JSON")
    parser.add_argument("--tiles", type=Path, help="images with an index.csv, for those that can use them")
    args = parser.parse_args()
    names = args.names or (GROUPS[args.group] if args.group else [*BENCHMARKS, *PLAIN])
    if not args.tiles:
        names = [name for name in names if name not in NEED_TILES]
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as folder:  # the cells are embedded once for all
        cache, keep = args.cache or Path(folder), args.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        outcomes = []
        for name in names:
            print(f"== {name}", file=sys.stderr, flush=True)
            command = ["-m", f"benchmarks.{name}"]
            if name not in WITHOUT_CACHE:
                command += ["--cache", str(cache)]
            if name in WITH_TILES and args.tiles:
                command += ["--tiles", str(args.tiles)]
            if name in PLAIN:
                code = subprocess.run([sys.executable, *command], check=False).returncode
                if code:
                    return code
                continue
            file = keep / f"{name}.json"
            if not file.exists():
                done = subprocess.run([sys.executable, *command, "--json"], check=False, stdout=subprocess.PIPE)
                if done.returncode:
                    return done.returncode
                file.write_bytes(done.stdout)
            outcomes.append(json.loads(file.read_text()))
            for figure, told in outcomes[-1]["figures"].items():
                print(f"{name}.{figure} = {told['value']:.4g} [{told['low']}, {told['high']}], n = {told['n']}")
        if args.page and outcomes:
            args.page.write_text(page(outcomes, command=_command(args), of=args.group or ""))
            print(f"written to {args.page}")
    return 0


def _command(args: argparse.Namespace) -> str:
    group = f"--group {args.group} " if args.group else ""
    return f"python -m benchmarks {''.join(f'{name} ' for name in args.names)}{group}--page {args.page}"


if __name__ == "__main__":
    sys.exit(main())
