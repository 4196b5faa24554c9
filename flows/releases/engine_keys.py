"""The keys that an inspection's engines are sealed to: kept beside the keys that sign, shared with its devices.

1. An inspection without such a file has its engines in the plain; once it has one, every engine that is approved from
   then on is sealed to the current key.
2. A rotation makes the next key. Engines that are in force stay sealed to theirs; keys are never dropped, so that no
   device is left without the engine that it should run.
3. Keys are shared by an object for each device, sealed to that device's own key. A revoked device's object is removed
   and it never gets a later key; what it could already open, it could already have copied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]  # re-exported there without saying so

from edge_client.contract.bucket import Bucket
from edge_client.contract.engine_keys import EngineKeys, Sealing, keys_object, turned
from edge_client.contract.errors import BadRelease, ConfigError
from edge_client.contract.names import check_name
from edge_client.contract.private_files import write_private

_FOLDER = "engine-keys"


def load_engine_keys(keys_dir: Path, inspection: str) -> EngineKeys | None:
    """The keys of an inspection; None when its engines lie in the plain.

    Raises:
        ConfigError: The file can't be read.
    """
    path = _path(keys_dir, inspection)
    try:
        return EngineKeys.from_json(path.read_bytes()) if path.exists() else None
    except (OSError, BadRelease) as error:
        raise ConfigError(f"engine keys {path} cannot be read ({error}); restore them from your backup") from error


def next_engine_key(keys_dir: Path, inspection: str) -> EngineKeys:
    """Make the first key of an inspection, or the next, and store it durably before anything is sealed to it."""
    path = _path(keys_dir, inspection)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = EngineKeys.new(load_engine_keys(keys_dir, inspection))
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    write_private(draft, keys.to_json())
    draft.replace(path)
    return keys


def seal_targets(keys: EngineKeys | None, files: Mapping[str, TargetFile], contents: dict[str, bytes]) -> None:
    """Seal an engine and its self-test for the bucket, and say so beside their digests; nothing without keys.

    Args:
        keys: Of the inspection.
        files: Target path -> what will be signed; gets how it is sealed.
        contents: Target path -> what the bucket is to hold; is replaced by the sealed bytes.
    """
    if keys is None:
        return
    for path in [path for path in contents if not path.endswith(".chunks")]:
        stored = turned(contents[path], key=keys.keys[keys.current], sha256=files[path].hashes["sha256"])
        sealing = Sealing(key_id=keys.current, sha256=hashlib.sha256(stored).hexdigest())
        facts = files[path].unrecognized_fields
        facts["custom"] = {**facts.get("custom", {}), **sealing.to_custom()}
        contents[path] = stored


def share_engine_keys(
    bucket: Bucket, keys: EngineKeys, inspection: str, devices: Mapping[str, str], *, ended: tuple[str, ...] = ()
) -> None:
    """Give the keys to devices (rule 3).

    Args:
        bucket: Where they fetch them.
        keys: Of the inspection.
        inspection: Its name.
        devices: Name -> public key in hex, of those that may have them.
        ended: Names of those that may not any more.
    """
    for device, public in devices.items():
        bucket.put(keys_object(inspection, device), keys.seal_for(public))
    for device in ended:  # last: as long as one is there, its revocation is not finished
        bucket.delete(keys_object(inspection, device))


def _path(keys_dir: Path, inspection: str) -> Path:
    return keys_dir / _FOLDER / f"{check_name(inspection, 'inspection')}.json"
