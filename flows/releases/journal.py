"""A change of keys that survives a crash: written down first, then done, and finished by whoever comes next.

A commit may be cut anywhere, since the timestamp alone brings it into force. A change of keys has two such moments (the
new root and the timestamp), so all that is to be put is first stored beside the keys. Putting it again is harmless.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BadRelease
from edge_client.contract.private_files import replace_private
from flows.releases.commit import Put

JOURNAL_FILE = "rotation.json"


class Journal:
    """The change of keys that is under way, if one is."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE

    def write(self, puts: Sequence[Put]) -> None:
        """Store what is to be put, in order."""
        document = [[key, base64.b64encode(data).decode()] for key, data in puts]
        replace_private(self._path, json.dumps(document).encode())

    def pending(self) -> bool:
        """Whether a change is written down and not finished."""
        return self._path.exists()

    def finish(self, bucket: Bucket) -> Sequence[Put]:
        """Put what was written down, and forget it; nothing if there is nothing.

        Raises:
            BadRelease: The file is damaged.
            BucketError: The bucket is away; the next one goes on.
        """
        try:
            document = json.loads(self._path.read_bytes())
            puts = [(str(key), base64.b64decode(data, validate=True)) for key, data in document]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise BadRelease(
                f"{self._path}, the change of keys that was under way, cannot be read ({error}): move it away and "
                "rotate the keys again"
            ) from error
        for key, data in puts:
            bucket.put(key, data)
        return puts

    def forget(self) -> None:
        """All of it is in force."""
        self._path.unlink(missing_ok=True)
