"""Making a bundle this device's own, once: unpack, make keys, claim, take over the account.

    unpack_into(bundle, folder)      the bundle's files, whole or not at all
    claim_bundle(folder)             until the device's own account is in its credentials.toml

1. The device makes its signing key and its age identity itself; they never leave it.
2. Each step can be cut and done again: the folder is renamed into place last; keys that are there are kept; the same
   claim is sent again; credentials are replaced as in every later rotation (`edge_client.account`).
3. ``claim.key`` is removed last. Without it the device is enrolled.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from edge_client.account import Account
from edge_client.clock import Clock, SystemClock
from edge_client.config import Config
from edge_client.contract.bucket import Bucket, S3Bucket, S3Settings
from edge_client.contract.bundle import MAX_BUNDLE_BYTES, BundleCode, unpack_bundle
from edge_client.contract.claim import Claim, claim_key
from edge_client.contract.errors import BadRelease, BucketError, ConfigError, Refused, Unavailable
from edge_client.contract.private_files import write_private
from edge_client.contract.sealing import unseal
from edge_client.contract.signing import generate_private_key, load_private_key, public_hex
from edge_client.settings_in_force import SignedDocuments
from edge_client.updates.store import UpdateStore
from edge_client.updates.trusted import TrustedMetadata
from edge_client.updates.updater_config import UpdaterConfig

CONFIG_FILE, CLAIM_FILE, KEY_FILE = "andon.toml", "claim.key", "device.key"
_POLL_SECONDS = 2.0


def read_bundle(source: str) -> dict[str, bytes]:
    """Read a bundle from a file, or fetch the one that a code names.

    Raises:
        ConfigError: Not a bundle, or not the one that the code means.
        BucketError: The bucket is away, or refuses: the bundle was used already, or has expired.
    """
    if source.startswith("andon1."):
        return unpack_bundle(_fetch(BundleCode.from_text(source)))
    path = Path(source)
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise ConfigError(f"{path} has {path.stat().st_size} bytes: no bundle is that large")
        return unpack_bundle(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"bundle {path} cannot be read ({error})") from error


def _fetch(code: BundleCode) -> bytes:
    settings = S3Settings(
        bucket=code.bucket,
        endpoint_url=code.endpoint_url,
        access_key_id=code.access_key_id,
        secret_access_key=code.secret_access_key,
        region=code.region,
        addressing=code.addressing,
    )
    sealed = S3Bucket.connect(settings).get(code.object_key, max_bytes=MAX_BUNDLE_BYTES)
    if hashlib.sha256(sealed).hexdigest() != code.sha256:
        raise ConfigError("the bundle in the bucket is not the one that the code means: it was replaced or damaged")
    return unseal(sealed, code.identity)


def unpack_into(files: dict[str, bytes], folder: Path) -> None:
    """Write a bundle's files into a new folder.

    Raises:
        ConfigError: There is something already, or the folder can't be made.
    """
    place = folder.absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"{place} is there already: choose another folder with --into, or move it away")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.draft-"))
    except OSError as error:
        raise ConfigError(f"{place} cannot be made ({error}): choose another folder with --into") from error
    try:
        for name, data in files.items():
            write_private(draft / name, data)
        if place.exists():
            place.rmdir()
        draft.rename(place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def claimed(folder: Path) -> bool:
    """Whether the bundle in a folder is this device's own."""
    return (folder / CONFIG_FILE).is_file() and not (folder / CLAIM_FILE).exists()


def claim_bundle(
    folder: Path,
    *,
    wait_seconds: float = 600.0,
    clock: Clock | None = None,
    sleep: Callable[[float], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Config:
    """Claim the bundle in a folder, and wait until the device's own account is there.

    Args:
        folder: Where `unpack_into` put it.
        wait_seconds: How long the cloud is waited for; what was done stays, and the next call goes on.
        clock: Measures that.
        sleep: Waits between looks.
        tell: Gets a line of progress.

    Raises:
        Refused: The bundle was used already, was withdrawn, or has expired.
        Unavailable: The bucket, or the cloud's answer, did not come in time: run it again.
        ConfigError: The folder is not a bundle's.
    """
    clock = clock or SystemClock()
    if sleep is None:
        import time

        sleep = time.sleep
    if not (folder / KEY_FILE).exists() and (folder / CLAIM_FILE).exists():
        generate_private_key(folder / KEY_FILE)
    config = Config.load(folder / CONFIG_FILE)
    if claimed(folder):
        return config
    bucket = config.open_bucket(clock)
    if bucket is None or config.releases is None:
        raise ConfigError(f"{folder / CONFIG_FILE} names no bucket or no releases: it is not a bundle's")
    account = Account(config, bucket)
    invited_as = account.access_key_id
    until = clock.monotonic() + wait_seconds
    _send(config, account, bucket, folder, clock)
    tell("claimed; waiting for the cloud to answer with this device's own account")
    store = UpdateStore(config.device.state / "updates" / "updates.db")
    trusted = TrustedMetadata(
        config.device.state / "updates" / "metadata", config.releases.root.read_bytes(), store, clock
    )
    while True:
        problem = _look(config, account, bucket, trusted)
        if not problem and account.access_key_id != invited_as:
            (folder / CLAIM_FILE).unlink()
            return config
        if clock.monotonic() >= until:
            raise Unavailable(
                f"the cloud has not answered within {wait_seconds:g} s ({problem or 'no account yet'}): run the same "
                "command again; nothing is lost"
            )
        sleep(_POLL_SECONDS)


def _send(config: Config, account: Account, bucket: Bucket, folder: Path, clock: Clock) -> None:
    own = load_private_key(config.device.key)
    claim = Claim(
        device=config.device.name,
        public_key_hex=public_hex(own),
        recipient=account.recipient,
        made_at=clock.now(),
    )
    try:
        document = claim.sign(load_private_key(folder / CLAIM_FILE), own)
        bucket.put(claim_key(config.device.name), document, content_type="application/json")
    except Refused as error:
        raise Refused(
            f"the bucket refuses the claim of {config.device.name!r} ({error}): this bundle was used already, was "
            "withdrawn, or has expired. If this device did not use it, somebody else did: tell the person who made it"
        ) from error


def _look(config: Config, account: Account, bucket: Bucket, trusted: TrustedMetadata) -> str:
    """Look for the account once; return what is the matter, or "" if nothing is."""
    wanted = UpdaterConfig.from_config(config)
    try:
        found = trusted.refresh(
            bucket,
            inspection=wanted.inspection,
            channel=wanted.channel,
            facts=wanted.facts(),
            known=SignedDocuments(),
        )
    except (BadRelease, BucketError) as error:
        return str(error)
    if found.offer is not None and not account.take(found.offer):
        return account.problem
    return ""
