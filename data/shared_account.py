"""One account in the bucket for all devices: where the bucket has no users to administer, as OpenStack Swift has none.

1. Every bundle has the same account. It is stated in `services.toml`, and made and ended by whoever runs the bucket.
2. What a device sends is believed by its signature alone, as ever; so the account bounds what a stolen device can cost,
   not what it can make anyone believe (docs/iam.md).
3. One device's account cannot be ended here. Its key can, and is; messages say what is left to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from data.device_rights import AccessKey
from edge_client.contract.errors import Refused
from edge_client.contract.names import check_name


class SharedAccount:
    """The methods of `DeviceAccounts`, for one account."""

    def __init__(self, account: AccessKey) -> None:
        self._account = account

    def create(self, device: str) -> AccessKey:
        """The account (rule 1)."""
        check_name(device, "device")
        return self._account

    def invite(self, device: str) -> AccessKey:
        """The account: an invitation has no lesser one."""
        return self.create(device)

    def add_key(self, device: str, *, known: Sequence[str]) -> AccessKey:
        """Refused (rule 3).

        Raises:
            Refused: Always.
        """
        raise Refused(
            f"replacing the account of {device!r}: all devices share one account of the bucket, which services.toml "
            "names; change it in the bucket, there, and in credentials.toml of each device"
        )

    def keep_keys(self, device: str, known: Sequence[str]) -> int:
        """Nothing is ended here."""
        check_name(device, "device")
        return 0

    def remove(self, device: str) -> bool:
        """Nothing is ended here: other devices use the account."""
        check_name(device, "device")
        return False

    def withdraw(self, device: str) -> bool:
        """As `remove`."""
        return self.remove(device)
