"""`python -m tests.docs.a_database FILE`: a PostgreSQL over TLS until it is told to end; its URL is in the file."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.integration.data.postgres import Postgres


def main() -> None:
    """Start it, write the URL, wait for SIGTERM, end it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server, told = Postgres(), Path(sys.argv[1])
    try:
        server.start_on_loopback()
        new = told.with_suffix(".new")
        new.write_text(server.url_over_tls("andon", password=True))
        new.rename(told)
        signal.pause()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
