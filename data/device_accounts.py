"""What is known of each device's account in the bucket: its invitation, its key, and the key that is to follow.

1. An invitation is used once. The first claim that its one-time key signed makes the device; it and its account stay as
   they are whatever else arrives.
2. A new key is noted before the device can have it, and is in force when a heartbeat of the device names it. Only then
   the old one may be ended.
3. The catalog never holds a secret: only ids and public halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DeviceAccountRow
from edge_client.contract.errors import AndonError
from edge_client.contract.names import check_name


class AccountError(AndonError):
    """A device's account is not in the state that this needs; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAccount:
    """The account of one device; see `DeviceAccountRow`."""

    device: str
    access_key_id: str | None = None
    next_access_key_id: str | None = None
    next_since: datetime | None = None
    recipient: str | None = None
    claim_key_hex: str | None = None
    invited_at: datetime | None = None
    invited_until: datetime | None = None
    invitation: Mapping[str, Any] | None = None
    claimed_at: datetime | None = None
    replaced_at: datetime | None = None
    key_wanted_at: datetime | None = None

    @property
    def state(self) -> str:
        """In one word: invited, claimed (has no account yet), replacing, or in use."""
        if self.claim_key_hex is not None and self.claimed_at is None:
            return "invited"
        if self.next_access_key_id is not None:
            return "replacing" if self.access_key_id is not None else "claimed"
        return "claimed" if self.claimed_at is not None and self.access_key_id is None else "in use"


def account_of(catalog: Catalog, device: str) -> DeviceAccount:
    """What is known of a device's account; an empty one where nothing is."""
    with catalog.reading() as session:
        row = session.get(DeviceAccountRow, check_name(device, "device"))
        return _account(row) if row is not None else DeviceAccount(device=device)


def list_accounts(catalog: Catalog, *, unsettled: bool = False) -> list[DeviceAccount]:
    """All accounts by device; or only those where something is expected of the device."""
    with catalog.reading() as session:
        query = select(DeviceAccountRow).order_by(DeviceAccountRow.device)
        if unsettled:
            query = query.where(
                or_(
                    DeviceAccountRow.claim_key_hex.is_not(None),
                    DeviceAccountRow.next_access_key_id.is_not(None),
                    DeviceAccountRow.key_wanted_at.is_not(None),
                )
            )
        return [_account(row) for row in session.scalars(query)]


def note_invitation(
    catalog: Catalog, device: str, *, claim_key_hex: str, invitation: Mapping[str, Any], at: datetime, until: datetime
) -> None:
    """Note that a bundle was made; one before it that was not used is void."""
    with catalog.session() as session:
        row = _row(session, device)
        row.claim_key_hex, row.invitation = claim_key_hex, dict(invitation)
        row.invited_at, row.invited_until, row.claimed_at = at, until, None


def note_claim(catalog: Catalog, device: str, *, recipient: str, at: datetime) -> None:
    """Note that a bundle was used (rule 1). What the device had before is another device's now."""
    with catalog.session() as session:
        row = _row(session, device)
        row.claimed_at, row.recipient = at, recipient
        row.access_key_id = row.next_access_key_id = row.next_since = None


def end_invitation(catalog: Catalog, device: str) -> None:
    """Note that a bundle can no longer be used: it was, or it expired."""
    with catalog.session() as session:
        row = _row(session, device)
        row.claim_key_hex = row.invitation = row.invited_until = None


def note_account(catalog: Catalog, device: str, access_key_id: str, *, at: datetime) -> None:
    """Note the account that a device was given directly."""
    with catalog.session() as session:
        row = _row(session, device)
        row.access_key_id, row.replaced_at = access_key_id, at
        row.next_access_key_id = row.next_since = row.recipient = row.key_wanted_at = None
        row.claim_key_hex = row.invitation = row.invited_until = row.claimed_at = None


def note_next_key(
    catalog: Catalog, device: str, access_key_id: str, *, present: str | None, recipient: str, at: datetime
) -> None:
    """Note the key that is to follow, before the device can have it (rule 2), beside the present one."""
    with catalog.session() as session:
        row = _row(session, device)
        row.access_key_id, row.next_access_key_id = present, access_key_id
        row.next_since, row.recipient = at, recipient


def note_replaced(catalog: Catalog, device: str, *, at: datetime) -> None:
    """Note that a heartbeat named the key that was to follow: it is in force."""
    with catalog.session() as session:
        row = _row(session, device)
        if row.next_access_key_id is not None:
            row.access_key_id, row.replaced_at = row.next_access_key_id, at
            row.next_access_key_id = row.next_since = None


def want_key(catalog: Catalog, device: str, at: datetime | None) -> None:
    """Note that the device should make a new signing key; None: it did."""
    with catalog.session() as session:
        _row(session, device).key_wanted_at = at


def forget_account(catalog: Catalog, device: str) -> None:
    """Note that a device has no account any more."""
    with catalog.session() as session:
        row = session.get(DeviceAccountRow, device)
        if row is not None:
            session.delete(row)


def _row(session: Session, device: str) -> DeviceAccountRow:
    row = session.get(DeviceAccountRow, check_name(device, "device"), with_for_update=True)
    if row is None:
        row = DeviceAccountRow(device=device)
        session.add(row)
    return row


def _account(row: DeviceAccountRow) -> DeviceAccount:
    return DeviceAccount(
        device=row.device,
        access_key_id=row.access_key_id,
        next_access_key_id=row.next_access_key_id,
        next_since=row.next_since,
        recipient=row.recipient,
        claim_key_hex=row.claim_key_hex,
        invited_at=row.invited_at,
        invited_until=row.invited_until,
        invitation=row.invitation,
        claimed_at=row.claimed_at,
        replaced_at=row.replaced_at,
        key_wanted_at=row.key_wanted_at,
    )
