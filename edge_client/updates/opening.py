"""Opening sealed engines as they come in.

1. The keys are asked for when a release is sealed to one that is not known here: of the bucket, then of the bundle
   (``fleet.age`` beside the root). What was found is kept in the updater's database.
2. A wrong key gives bytes that do not have the signed digest: nothing runs that should not.
3. A device without the key says so and goes on with the engine it has; the next look tries again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_client.contract.bucket import Bucket, ObjectInfo
from edge_client.contract.engine_keys import MAX_KEYS_BYTES, EngineKeys, keys_object, turned
from edge_client.contract.errors import BadRelease, BucketError, ConfigError, NotFound, Refused
from edge_client.contract.signing import load_private_key
from edge_client.updates.signed import SignedFile
from edge_client.updates.store import UpdateStore

_FACT = "engine_keys"


class DeviceEngineKeys:
    """The keys that this device may open engines with.

    Args:
        store: Keeps them.
        inspection: Whose they are.
        device: Its name.
        device_key: Its private key's file; None for a device that can open nothing.
        bundled: A file of keys that came with the bundle; it need not exist.
    """

    def __init__(
        self, store: UpdateStore, *, inspection: str, device: str, device_key: Path | None, bundled: Path | None
    ) -> None:
        self._store = store
        self._inspection = inspection
        self._device = device
        self._device_key = device_key
        self._bundled = bundled

    def any(self) -> bool:
        """Whether engines of this inspection are sealed, as far as this device knows."""
        return self._store.fact(_FACT) is not None

    def opened(self, bucket: Bucket, *files: SignedFile) -> Bucket:
        """Return a bucket that gives these files in the plain; the same one where none is sealed.

        Raises:
            BadRelease: They are sealed to a key that this device does not get.
            Unavailable: The bucket can't be reached for the key.
        """
        sealed = {file.key: file for file in files if file.sealing is not None}
        if not sealed:
            return bucket
        wanted = {file.sealing.key_id for file in sealed.values() if file.sealing is not None}
        keys = self._kept()
        if not wanted <= set(keys):
            keys = self._asked(bucket)
        if missing := sorted(wanted - set(keys)):
            raise BadRelease(
                f"{files[0].path!r} is sealed to the key {missing[0]!r}, which this device has not "
                "been given: ask the cloud to share the engine keys with it (`andon engine-keys`), or whether it was "
                "revoked"
            )
        return _OpeningBucket(bucket, sealed, keys)

    def _kept(self) -> Mapping[str, bytes]:
        text = self._store.fact(_FACT)
        try:
            return EngineKeys.from_json(str(text).encode()).keys if text is not None else {}
        except BadRelease:  # written by another version of the client
            return {}

    def _asked(self, bucket: Bucket) -> Mapping[str, bytes]:
        """Rule 1."""
        if self._device_key is None:
            return {}
        found: list[bytes] = []
        try:
            found.append(bucket.get(keys_object(self._inspection, self._device), max_bytes=MAX_KEYS_BYTES))
        except (NotFound, Refused):
            pass
        if self._bundled is not None and self._bundled.is_file():
            found.append(self._bundled.read_bytes()[:MAX_KEYS_BYTES])
        for sealed in found:
            try:
                keys = EngineKeys.open_with(sealed, load_private_key(self._device_key))
            except (BadRelease, ConfigError):
                continue
            kept = self._kept()
            merged = EngineKeys(current=keys.current, keys={**kept, **keys.keys})
            self._store.save_fact(_FACT, merged.to_json().decode())
            return merged.keys
        return self._kept()


class _OpeningBucket:
    """A bucket that opens the sealed files that it reads."""

    def __init__(self, bucket: Bucket, sealed: Mapping[str, SignedFile], keys: Mapping[str, bytes]) -> None:
        self._bucket = bucket
        self._sealed = sealed
        self._keys = keys

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object of at most `max_bytes`, opened."""
        return self._opened(key, self._bucket.get(key, max_bytes=max_bytes), 0)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`, opened."""
        return self._opened(key, self._bucket.get_range(key, start, length), start)

    def _opened(self, key: str, data: bytes, offset: int) -> bytes:
        file = self._sealed.get(key)
        if file is None or file.sealing is None:
            return data
        return turned(data, key=self._keys[file.sealing.key_id], sha256=file.sha256, offset=offset)

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, or None."""
        return self._bucket.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`."""
        return self._bucket.list(prefix)

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Not possible: releases are only read."""
        raise BucketError(f"releases are only read: {key!r} is not put")

    def delete(self, key: str) -> None:
        """Not possible: releases are only read."""
        raise BucketError(f"releases are only read: {key!r} is not removed")
