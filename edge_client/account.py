"""The device's account in the bucket, and how it is replaced without a visit.

1. The device has an age identity of its own (``identity.age`` in its state folder, made on first use, never sent); its
   public half goes out with every heartbeat, so that the cloud can seal something for this device alone.
2. New credentials come as a signed target. They are tried first; only what the bucket accepts is taken over.
3. The file is replaced whole, synced, and then the running requests use it. Cut before: the old account still works,
   since the cloud ends it only after a heartbeat that names the new one. Cut after: the next start reads the new one.
4. What goes wrong here costs nothing but the change: the old account goes on, and the next look tries again.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

from edge_client.config import Config
from edge_client.contract.bucket import Bucket, S3Bucket
from edge_client.contract.credentials import Credentials
from edge_client.contract.errors import AndonError, BadRelease, BucketError, Refused
from edge_client.contract.private_files import replace_private
from edge_client.contract.releases import METADATA_PREFIX
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of

log = logging.getLogger("edge_client.account")
_MOST_BYTES = 5_000_000


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

    def take(self, sealed: bytes) -> bool:
        """Take over credentials that the cloud offers.

        Returns:
            Whether they are in use now.
        """
        path = self._config.bucket.credentials if self._config.bucket is not None else None
        if path is None or not isinstance(self._bucket, S3Bucket):
            return False
        try:
            offered = Credentials.open(sealed, self.identity())
            if offered.device != self._config.device.name:
                raise BadRelease(f"the credentials that the cloud offers are for {offered.device!r}")
            if offered.access_key_id != self.access_key_id:
                self._try(offered)
                _write(path, offered)
                self._bucket.use(offered.access_key_id, offered.secret_access_key)
                log.info("the account in the bucket was replaced by %s", offered.access_key_id)
        except (AndonError, OSError) as error:
            self.problem = f"account: new credentials are not taken over: {error}"
            log.warning("%s", self.problem)
            return False
        self.problem = ""
        return True

    def _try(self, offered: Credentials) -> None:
        """Rule 2."""
        settings = self._config.s3_settings()
        assert settings is not None
        settings = replace(settings, access_key_id=offered.access_key_id, secret_access_key=offered.secret_access_key)
        assert isinstance(self._bucket, S3Bucket)
        bucket = S3Bucket.connect(settings, attempts=1, server_time=self._bucket.server_time)
        try:
            bucket.get(f"{METADATA_PREFIX}timestamp.json", max_bytes=_MOST_BYTES)
        except Refused as error:
            raise Refused(f"the bucket does not accept them yet ({error})") from error
        except BucketError as error:
            raise BucketError(f"they could not be tried ({error})") from error


def _write(path: Path, credentials: Credentials) -> None:
    text = f'access_key_id = "{credentials.access_key_id}"\nsecret_access_key = "{credentials.secret_access_key}"\n'
    replace_private(path, text.encode())
