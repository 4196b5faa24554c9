"""The device's account in the bucket, and how it is replaced without a visit.

1. The device has an age identity of its own (``identity.age`` in its state folder, made on first use, never sent); its
   public half goes out with every heartbeat, so that the cloud can seal something for this device alone.
2. New credentials come as a signed target. They are tried first; only what the bucket accepts is taken over.
3. The file is replaced whole, synced, and then the running requests use it. Cut before: the old account still works,
   since the cloud ends it only after a heartbeat that names the new one. Cut after: the next start reads the new one.
4. What goes wrong here costs nothing but the change: the old account goes on, and the next look tries again.
5. A new signing key is made here when it is asked for, and told by a claim that the old key signs. Only when the cloud
   signed that it has taken it over, it replaces the old one in one step; from the next start on it signs. The cloud
   believes both meanwhile, and so what the spool still holds.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from edge_client.config import Config
from edge_client.contract.bucket import Bucket, S3Bucket
from edge_client.contract.claim import Claim, claim_key
from edge_client.contract.credentials import KEY_WANTED, Credentials, Offer
from edge_client.contract.errors import AndonError, BadRelease, BucketError, Refused
from edge_client.contract.private_files import replace_private
from edge_client.contract.releases import MAX_METADATA_BYTES, METADATA_PREFIX
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of
from edge_client.contract.signing import generate_private_key, load_private_key, public_hex

log = logging.getLogger("edge_client.account")


class Account:
    """The account that requests are signed with.

    Args:
        config: The device's configuration.
        bucket: The bucket that is in use; others that share its client follow.
    """

    def __init__(self, config: Config, bucket: Bucket | None) -> None:
        self._config = config
        self._bucket = bucket
        self._lock = threading.Lock()
        self._identity_file = config.device.state / "identity.age"
        self._known = ""
        self._signs_as = ""
        self._told_key = False
        self.problem = ""

    @property
    def access_key_id(self) -> str:
        """The account in use; "" for a bucket without accounts."""
        return self._bucket.access_key_id if isinstance(self._bucket, S3Bucket) else ""

    @property
    def recipient(self) -> str:
        """The device's own age recipient (rule 1); "" where it can't be kept."""
        try:
            return recipient_of(self.identity())
        except (AndonError, OSError) as error:
            self.problem = f"account: {error}"
            return ""

    def identity(self) -> str:
        """The device's age identity, made now if there is none.

        Raises:
            ConfigError: The file is damaged.
            OSError: The disk failed.
        """
        with self._lock:
            if not self._known:
                if not self._identity_file.exists():
                    generate_identity(self._identity_file)
                self._known = load_identity(self._identity_file)
            return self._known

    @property
    def signs_as(self) -> str:
        """Begin of the key that this device signs with from its next start on; "" where it can't be read."""
        if not self._signs_as:
            with contextlib.suppress(AndonError, OSError):
                self._signs_as = public_hex(load_private_key(self._config.device.key))[:16]
        return self._signs_as

    def take(self, offer: Offer) -> bool:
        """Take over what the cloud offers: credentials, and a new signing key of the device's own making.

        Returns:
            Whether the credentials are in use now.
        """
        path = self._config.bucket.credentials if self._config.bucket is not None else None
        if path is None or not isinstance(self._bucket, S3Bucket):
            return False
        try:
            offered = Credentials.open(offer.sealed, self.identity())
            if offered.device != self._config.device.name:
                raise BadRelease(f"the credentials that the cloud offers are for {offered.device!r}")
            if offered.access_key_id != self.access_key_id:
                self._try(offered)
                _write(path, offered)
                self._bucket.use(offered.access_key_id, offered.secret_access_key)
                log.info("the account in the bucket was replaced by %s", offered.access_key_id)
            self._renew_key(offer.facts.get("key"))
        except (AndonError, OSError) as error:
            self.problem = f"account: new credentials are not taken over: {error}"
            log.warning("%s", self.problem)
            return False
        self.problem = ""
        return True

    def _renew_key(self, wish: object) -> None:
        """Rule 5."""
        present = self._config.device.key
        following = present.with_name(f"{present.name}.next")
        if wish == KEY_WANTED:
            if not following.exists():
                generate_private_key(following)
            assert self._bucket is not None
            own = load_private_key(following)
            claim = Claim(
                device=self._config.device.name,
                public_key_hex=public_hex(own),
                recipient=self.recipient,
                made_at=datetime.now(UTC),
            )
            if not self._told_key:
                document = claim.sign(load_private_key(present), own)
                self._bucket.put(claim_key(claim.device), document, content_type="application/json")
                self._told_key = True
        elif isinstance(wish, str) and following.exists() and public_hex(load_private_key(following)) == wish:
            following.replace(present)
            self._signs_as = ""
            log.info("this device signs with a new key from its next start on")

    def _try(self, offered: Credentials) -> None:
        """Rule 2."""
        settings = self._config.s3_settings()
        assert settings is not None
        settings = replace(settings, access_key_id=offered.access_key_id, secret_access_key=offered.secret_access_key)
        assert isinstance(self._bucket, S3Bucket)
        bucket = S3Bucket.connect(settings, attempts=1, server_time=self._bucket.server_time)
        try:
            bucket.get(f"{METADATA_PREFIX}timestamp.json", max_bytes=MAX_METADATA_BYTES)
        except Refused as error:
            raise Refused(f"the bucket does not accept them yet ({error})") from error
        except BucketError as error:
            raise BucketError(f"they could not be tried ({error})") from error


def _write(path: Path, credentials: Credentials) -> None:
    text = f'access_key_id = "{credentials.access_key_id}"\nsecret_access_key = "{credentials.secret_access_key}"\n'
    replace_private(path, text.encode())
