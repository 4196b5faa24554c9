"""A device's new account in the bucket: sealed to the device's own key, delivered as a signed target.

Beside the digest the target has facts, signed and open: ``account``, the id of the account; ``key``, which is "wanted"
when the device should make a new signing key, and else the key that the cloud has taken over.

Anybody may read the target; the device alone can open it. Its signature (`rollouts`), its version floors and its way
over a USB stick are those of every target.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from edge_client.contract.errors import BadRelease, BadSample
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.names import check_name
from edge_client.contract.sealing import seal, unseal
from edge_client.contract.signing import canonical_json

_DOCUMENT = "sealed credentials"


def credentials_target(device: str) -> str:
    """TUF target path of a device's new credentials."""
    return f"settings/{check_name(device, 'device')}.credentials"


KEY_WANTED = "wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the cloud offers to one device, as it was signed."""

    sealed: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account for one device."""

    device: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    issued_at: datetime

    def seal(self, recipient: str) -> bytes:
        """Seal to a device's age recipient."""
        document = {
            "device": self.device,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "issued_at": self.issued_at.isoformat(),
        }
        return seal(canonical_json(document), recipient)

    @staticmethod
    def open(sealed: bytes, identity: str) -> "Credentials":
        """Open with the device's identity.

        Raises:
            BadRelease: Not sealed to this device, or not credentials.
        """
        try:
            plain = unseal(sealed, identity)
        except BadSample as error:
            raise BadRelease(
                "the credentials that the cloud offers are not sealed to this device's key: another device was "
                f"enrolled by this name, or this one lost its identity ({error}); enrol it again"
            ) from error
        fields = Fields(read_json(plain, _DOCUMENT, BadRelease), _DOCUMENT, BadRelease)
        return Credentials(
            device=fields.name("device", "device"),
            access_key_id=fields.text("access_key_id", most=128),
            secret_access_key=fields.text("secret_access_key", most=128),
            issued_at=fields.time("issued_at"),
        )
