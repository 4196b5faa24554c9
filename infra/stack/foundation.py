"""The one task between an empty bucket and the first flow: ``python -m infra.stack.foundation --home DIR``.

Brings the catalog's schema up to date, and creates the release repository, or, where there is one, signs a new
timestamp, so that a stack that was down for weeks does not leave devices with metadata that has run out. Harmless to
run twice.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from edge_client.contract.errors import AndonError


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)


def lay(home: Path) -> None:
    """Do the task.

    Raises:
        AndonError: The bucket, the keys or the catalog cannot be used.
    """
    from data.server_lock import publisher_lock
    from data.workspace import Workspace
    from flows.releases.repository import ReleaseRepository

    workspace = Workspace.open(home)
    workspace.catalog()
    lock = publisher_lock(workspace.catalog_url)
    repository = ReleaseRepository(workspace.bucket(), workspace.keys, SystemClock(), lock=lock)
    repository.create()
    repository.refresh_timestamp()


def main(arguments: list[str] | None = None) -> int:
    """Run it as a process."""
    parser = argparse.ArgumentParser(prog="python -m infra.stack.foundation", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        lay(given.home)
    except AndonError as error:
        sys.stderr.write(f"foundation: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
