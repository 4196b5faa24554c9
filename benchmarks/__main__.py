"""``python -m benchmarks``: run every benchmark, one after another."""

import subprocess
import sys
import tempfile

BENCHMARKS = ("learning",)


def main() -> int:
    """Run them; the exit code is that of the first that fails."""
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="andon-bench-") as cache:
            code = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{name}", "--cache", cache], check=False
            ).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
