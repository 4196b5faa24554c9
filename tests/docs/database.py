"""`python -m tests.docs.database FILE`: a real PostgreSQL over TLS until it is told to end; FILE gets its address."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.integration.data.postgres import Postgres


def main(file: Path) -> int:
    """Run it."""
    told = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)
    server = Postgres()
    try:
        server.start_on_loopback()
        waiting = file.with_suffix(".new")
        waiting.write_text(server.url_over_tls("andon", password=True), encoding="utf-8")
        waiting.replace(file)
        signal.sigwait(told)
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
