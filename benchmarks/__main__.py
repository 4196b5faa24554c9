"""``python -m benchmarks``: run every benchmark, one after another."""

import subprocess
import sys
import tempfile

BENCHMARKS = ("client_overhead", "engine", "serving", "sampler", "spool", "offline", "survival", "learning")


def main() -> int:
    """Run them; the exit code is that of the first that fails."""
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as cache:  # the cells are embedded once for all
        for name in BENCHMARKS:
            print(f"== {name}", flush=True)
            command = [sys.executable, "-m", f"benchmarks.{name}", "--cache", cache]
            code = subprocess.run(command, check=False).returncode
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
