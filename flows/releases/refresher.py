"""The process that keeps the release repository fresh: ``python -m flows.releases.refresher --home DIR``.

Devices take nothing new from metadata that is older than 30 days. Signing it anew needs the bucket and the online keys,
nothing else: so a small process of its own does it, and an outage of Prefect or MLflow cannot let it run out.

1. It signs once when it starts, which also finishes a change of keys that was cut; then once a day.
2. It outlives an outage of the bucket: it tries again, less and less often, and goes on.
3. It imports neither MLflow nor Prefect, nor the catalog. Where the catalog is on a server it asks that server for the
   publishers' lock, since others may publish on other machines; while the server is away nobody publishes, it included.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from data.server_lock import publisher_lock
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from flows.releases.commit import ONLINE_LIFE
from flows.releases.signed import SignedRepository

_log = logging.getLogger("andon.refresher")
LOOK_SECONDS = 3600.0
SIGN_AFTER = timedelta(days=1)
FIRST_WAIT_SECONDS, MOST_WAIT_SECONDS = 5.0, 600.0


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)


def due(expires: datetime, now: datetime) -> bool:
    """Whether a timestamp that ends then should be signed anew (rule 1).

    >>> at = datetime(2026, 1, 31, tzinfo=UTC)
    >>> due(at, at - timedelta(days=29, hours=1)), due(at, at - timedelta(days=28, hours=23))
    (False, True)
    """
    return now >= expires - ONLINE_LIFE + SIGN_AFTER


def keep_fresh(
    repository: SignedRepository,
    wait: Callable[[float], bool],
    *,
    look_seconds: float = LOOK_SECONDS,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Sign now and whenever it is due, until `wait` says that it is time to end.

    Args:
        repository: The repository.
        wait: Waits so many seconds; True ends the work.
        look_seconds: Between looks.
        clock: Aware time.
    """
    signed, pause = False, FIRST_WAIT_SECONDS
    while True:
        try:
            if not signed or due(repository.expiry()["timestamp"], clock()):
                repository.refresh_timestamp()
                signed = True
                _log.info("signed anew until %s", repository.expiry()["timestamp"])
            following, pause = look_seconds, FIRST_WAIT_SECONDS
        except AndonError as error:
            following, pause = pause, min(MOST_WAIT_SECONDS, pause * 2)
            _log.warning("not signed, next try in %.0f s: %s", following, error)
        if wait(following):
            return


def repository_at(home: Path | None) -> SignedRepository:
    """The release repository of a home directory.

    Raises:
        ConfigError: There is no stack there.
    """
    workspace = Workspace.open(home)
    lock = publisher_lock(workspace.catalog_url)
    return SignedRepository(workspace.bucket(), workspace.keys, SystemClock(), lock=lock)


def main(arguments: list[str] | None = None) -> int:
    """Run the process until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m flows.releases.refresher", description=__doc__)
    parser.add_argument("--home", type=Path, default=None, help="home directory; default $ANDON_HOME, else ./.andon")
    parser.add_argument("--every", type=float, default=LOOK_SECONDS, metavar="SECONDS", help="between looks")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        keep_fresh(repository_at(given.home), threading.Event().wait, look_seconds=given.every)
    except AndonError as error:
        _log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
