"""Versions below which nothing is signed any more: a repository that was restored lies behind what devices have seen.

A device remembers the versions of the metadata it took, and refuses older ones for ever (a replay). A restored
repository begins at the versions of its backup, while devices saw everything that was signed until the old one was
lost. So:

1. After a restore every role jumps by `GAP`, or above what any device has reported, whichever is more. `GAP` is more
   than ten years of one commit every six minutes, and far below the 2^31 that a thief would have to be undone from.
2. The least versions are remembered beside the keys: a role that a person signs, whose key was not at hand then, jumps
   when it is signed next. Until then devices that have seen a later one of it take nothing new, and go on with what
   they run.
3. Root versions follow each other one by one and cannot jump. A backup that is older than a rotation of keys can't lead
   devices that followed it: its keys are not theirs any more. So a backup follows each rotation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_client.contract.errors import BadRelease
from edge_client.contract.private_files import replace_private

if TYPE_CHECKING:
    from data.workspace import Workspace

GAP = 1_000_000
PERSON_ROLES = ("targets", "engines")
ROLES = ("timestamp", "snapshot", "rollouts", *PERSON_ROLES)
LEAST_FILE = "least-versions.json"


class LeastVersions:
    """The remembered versions, in the folder of the keys."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEAST_FILE

    def read(self) -> dict[str, int]:
        """Role -> least version; empty where nothing was ever restored.

        Raises:
            BadRelease: The file is damaged.
        """
        try:
            document = json.loads(self._path.read_bytes())
            return {str(role): int(version) for role, version in document.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise BadRelease(
                f"{self._path} is damaged ({error}): it holds versions below which nothing may be signed; restore "
                "it from "
                "your backup"
            ) from error

    def raise_to(self, least: Mapping[str, int]) -> None:
        """Remember these, where they are higher than what is remembered."""
        known = self.read()
        raised = {role: max(known.get(role, 0), version) for role, version in least.items()}
        if {**known, **raised} != known:
            replace_private(self._path, json.dumps({**known, **raised}).encode())


def least_after_restore(workspace: Workspace, in_force: Mapping[str, int]) -> dict[str, int]:
    """Rule 1: from the versions in the backup, and those that devices told of in it."""
    from sqlalchemy import select

    from data.catalog.models import DeviceStatusRow

    seen: dict[str, int] = {}
    with workspace.catalog().reading() as session:
        for payload in session.scalars(select(DeviceStatusRow.payload)):
            for role, version in (payload.get("metadata_versions") or {}).items():
                if isinstance(version, int):
                    seen[role] = max(seen.get(role, 0), version)
    return {role: max(in_force[role], seen.get(role, 0)) + GAP for role in ROLES if role in in_force}
