"""Read one saved input with one target, as a check of a finding: `python -m tests.fuzz.replay TARGET FILE`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.fuzz.target import SECONDS, run_one
from tests.fuzz.targets import TARGETS


def main(name: str, file: str) -> None:
    """Print the verdict; an exception or more than the time allowed of processor time ends with an error."""
    began = time.process_time()
    verdict = run_one(TARGETS[name], Path(file).read_bytes())
    seconds = time.process_time() - began
    if seconds > SECONDS:
        raise SystemExit(f"took {seconds:.1f} s of processor time: at most {SECONDS} are allowed")
    print(verdict.value)


if __name__ == "__main__":
    main(*sys.argv[1:3])
