"""The chain of roots: which keys sign what, from the first root to the newest.

1. ``root.json`` beside the keys is the first root, the anchor; it never changes. ``newest.root.json`` is the newest one
   that was believed here, so that nobody who writes to the bucket can take this side back to an older one.
2. The next root counts if the one before it and its own keys signed it, as devices check it. One that is there and
   does not verify is told loudly: devices stop at it too.
3. Devices are enrolled with the newest root: a key that was rotated out can mislead none of them.
"""

from __future__ import annotations

from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]  # re-exported there without saying so

from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BadRelease, NotFound
from edge_client.contract.private_files import replace_private
from edge_client.contract.releases import MAX_METADATA_BYTES, METADATA_PREFIX
from flows.releases.keys import ANCHOR_FILE, public_key_of

NEWEST_FILE = "newest.root.json"
_MOST_ROOTS = 64  # as devices follow in one go


def root_key(version: int) -> str:
    """Where the bucket keeps a root."""
    return f"{METADATA_PREFIX}{version}.root.json"


class Roots:
    """The roots of one installation.

    Args:
        folder: Beside the online keys.
        bucket: Where all roots are published.
    """

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self._folder = folder
        self._bucket = bucket

    @property
    def anchor(self) -> Path:
        """File of the first root."""
        return self._folder / ANCHOR_FILE

    def first(self) -> bytes:
        """Return the first root from beside the keys, else from the bucket if the root key signed it.

        Raises:
            BadRelease: There is none yet, or it is another installation's.
        """
        if self.anchor.exists():
            return self.anchor.read_bytes()
        try:
            data = self._bucket.get(root_key(1), max_bytes=MAX_METADATA_BYTES)
        except NotFound:
            raise BadRelease("the bucket holds no release repository yet: create it (`andon up` does)") from None
        try:
            root = Metadata[Root].from_bytes(data)
            key = public_key_of(self._folder, "root")
            key.verify_signature(next(iter(root.signatures.values())), root.signed_bytes)
        except Exception as error:
            raise BadRelease(
                f"1.root.json in the bucket is not signed by the root key in {self._folder} ({error}): the bucket "
                "belongs to another installation or was tampered with; restore keys/root.json from your backup"
            ) from error
        replace_private(self.anchor, data)
        return data

    def newest(self) -> bytes:
        """Follow the chain from what is known here.

        Raises:
            BadRelease: There is no root yet, or the next one in the bucket is not signed as it must be.
        """
        path = self._folder / NEWEST_FILE
        data = path.read_bytes() if path.exists() else self.first()
        known = Metadata[Root].from_bytes(data)
        for version in range(known.signed.version + 1, known.signed.version + 1 + _MOST_ROOTS):
            try:
                data = self._bucket.get(root_key(version), max_bytes=MAX_METADATA_BYTES)
            except NotFound:
                break
            known = self._next(known, data, version)
            self.remember(data)
        return data

    def remember(self, data: bytes) -> None:
        """Keep the newest root (rule 1)."""
        replace_private(self._folder / NEWEST_FILE, data)

    def _next(self, known: Metadata[Root], data: bytes, version: int) -> Metadata[Root]:
        try:
            found = Metadata[Root].from_bytes(data)
            known.signed.verify_delegate("root", found.signed_bytes, found.signatures)
            found.signed.verify_delegate("root", found.signed_bytes, found.signatures)
            if found.signed.version != version:
                raise RepositoryError(f"it says that it is version {found.signed.version}")
        except (RepositoryError, ValueError) as error:
            raise BadRelease(
                f"{root_key(version)} in the bucket is no successor of root {known.signed.version} ({error}): somebody "
                "wrote it who has not the root key. Devices take nothing new while it is there: remove it, and find "
                "out who can write to releases/"
            ) from error
        return found
