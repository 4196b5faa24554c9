"""Devices' accounts in the bucket, settled: claims are answered, new keys offered, old ones ended.

1. A claim is believed if the one-time key of an open invitation signed it. The first one makes the device; a later one
   with another key is a clone: refused, reported, and nothing changes.
2. A new account is made in this order: key at the bucket, its id in the catalog, sealed credentials as a signed target.
   A kill between two of them is made up for by the next run: a key that was not published is ended, so that the device
   never holds one that goes.
3. The old account ends only when a verified heartbeat names the new one. Then the target goes too.
4. A new signing key is made by the device and told by a claim that its present key signs. The present one is believed
   for 90 days more, since the spool may hold what it signed.
5. Nothing waits here: what is not yet there is looked for in the next run. With nothing open it costs two statements.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from data.device_accounts import (
    AccountError,
    DeviceAccount,
    account_of,
    end_invitation,
    list_accounts,
    note_claim,
    note_next_key,
    note_replaced,
    want_key,
)
from data.devices import (
    DeviceError,
    device_status,
    end_previous_keys,
    get_device,
    register_device,
    replace_public_key,
)
from data.quarantine import Kind, Quarantined, record_quarantined
from data.workspace import Workspace
from edge_client.contract.claim import MAX_BYTES, Claim, claim_key
from edge_client.contract.credentials import KEY_WANTED, Credentials, credentials_target
from edge_client.contract.errors import AndonError, BadSignature, BucketError, NotFound
from flows.engine_keys import share_with

if TYPE_CHECKING:
    from data.device_rights import DeviceAccounts
    from data.shared_account import SharedAccount
    from edge_client.contract.bucket import Bucket
from flows.releases.repository import ReleaseRepository

_log = logging.getLogger("andon.accounts")
PREVIOUS_KEY_LIFE = timedelta(days=90)  # a spool may have held windows for long before it is emptied


def settle_accounts(workspace: Workspace, clock: Callable[[], datetime], settler: Settler | None = None) -> list[str]:
    """Do what can be done now about every account that something is open about.

    Args:
        workspace: The installation.
        clock: Aware time.
        settler: One that was made before; its connections are slow to make.

    Returns:
        What was done, a line each.
    """
    end_previous_keys(workspace.catalog(), clock())
    open_accounts = list_accounts(workspace.catalog(), unsettled=True)
    if not open_accounts:
        return []
    settler = settler or Settler.of(workspace, clock)
    told: list[str] = []
    for account in open_accounts:
        try:
            told += settler.settle(account)
        except AndonError as error:
            _log.warning("account of %s: %s", account.device, error)
    for line in told:
        _log.info("%s", line)
    return told


class Settler:
    """Settles accounts of one workspace.

    Args:
        workspace: The installation.
        bucket: Holds claims and bundles.
        rights: The bucket's users.
        repository: Signs what is offered.
        clock: Aware time.
    """

    def __init__(
        self,
        workspace: Workspace,
        bucket: Bucket,
        rights: DeviceAccounts | SharedAccount,
        repository: ReleaseRepository,
        clock: Callable[[], datetime],
    ) -> None:
        self._workspace = workspace
        self._catalog = workspace.catalog()
        self._bucket = bucket
        self._rights = rights
        self._repository = repository
        self._clock = clock

    @staticmethod
    def of(workspace: Workspace, clock: Callable[[], datetime]) -> Settler:
        """The one that reaches the workspace's own bucket."""
        from flows.stack import repository_of

        return Settler(
            workspace,
            workspace.bucket(),
            workspace.device_accounts(),
            repository_of(workspace, clock),
            clock,
        )

    def settle(self, account: DeviceAccount) -> list[str]:
        """Do what can be done now about one account."""
        told: list[str] = []
        if account.claim_key_hex is not None:
            told += self._invitation(account, account.claim_key_hex)
            account = account_of(self._catalog, account.device)
        if account.key_wanted_at is not None:
            told += self._key(account)
            account = account_of(self._catalog, account.device)
        if account.state == "claimed" or account.next_access_key_id is not None:
            told += self._offer_or_finish(account)
        return told

    def replace_account(self, device: str, *, key: bool = False) -> str:
        """Begin to replace a device's account, and with `key` its signing key too; return what was done.

        Raises:
            AccountError: It can't be replaced from here: the device never told its recipient.
            DeviceError: No such device, or a revoked one.
        """
        if get_device(self._catalog, device).revoked:
            raise DeviceError(f"device {device!r} was revoked: enrol it anew (`andon enroll {device}`)")
        account, status = account_of(self._catalog, device), device_status(self._catalog, device)
        heartbeat = status.heartbeat if status is not None else None
        if heartbeat is None or not heartbeat.recipient:
            raise AccountError(
                f"device {device!r} has not told its own recipient yet, so nothing can be sealed to it: wait for a "
                "heartbeat of a current client, or enrol it anew (`andon enroll --replace`)"
            )
        if key:
            want_key(self._catalog, device, self._clock())
            account = account_of(self._catalog, device)
        known = account.access_key_id or heartbeat.account or None
        return self._offer(replace(account, access_key_id=known), heartbeat.recipient)

    # --- inside

    def _invitation(self, account: DeviceAccount, one_time: str) -> list[str]:
        device = account.device
        try:
            document = self._bucket.get(claim_key(device), max_bytes=MAX_BYTES)
        except NotFound:
            document = None
        if document is None:
            until = account.invited_until
            if account.claimed_at is None and until is not None and self._clock() > until:
                self._end_invitation(device)
                return [f"{device}: its bundle expired unused; make another one with `andon enroll`"]
            return []
        try:
            claim = Claim.verify(document, one_time)
            if claim.device != device:
                raise BadSignature(f"the claim is of device {claim.device!r}, but lies in the place of {device!r}")
        except BadSignature as error:
            return self._report(device, f"a claim is not believed: {error}", len(document))
        if account.claimed_at is not None:
            if claim.public_key_hex == get_device(self._catalog, device).public_key_hex:
                return []
            reason = "a second device claimed the bundle of the first: its bundle was copied; it gets no account"
            return self._report(device, reason, len(document))
        invitation = account.invitation or {}
        now = self._clock()
        register_device(
            self._catalog,
            device,
            invitation["site"],
            invitation["station"],
            [invitation["inspection"]],
            claim.public_key_hex,
            at=now,
            channel=invitation["channel"],
            replace_key=bool(invitation.get("replace")),
        )
        share_with(self._workspace, invitation["inspection"], device, claim.public_key_hex)
        note_claim(self._catalog, device, recipient=claim.recipient, at=now)
        return [f"{device}: its bundle was claimed"]

    def _offer_or_finish(self, account: DeviceAccount) -> list[str]:
        device, status = account.device, device_status(self._catalog, account.device)
        following = account.next_access_key_id
        if following is not None and status is not None and status.heartbeat.account == following:
            if account.key_wanted_at is not None:
                return []  # the device has not yet told its new key
            taken = (self._repository.facts_of(credentials_target(device)) or {}).get("key", "")
            if taken and status.heartbeat.signs_as != taken[:16]:
                return []  # nor put it in place
            self._rights.keep_keys(device, [following])
            note_replaced(self._catalog, device, at=self._clock())
            self._repository.remove_document(credentials_target(device))
            if account.claim_key_hex is not None:
                self._end_invitation(device)
            return [f"{device}: runs on its new account; the old one is ended"]
        if account.recipient is None:
            return []
        path = credentials_target(device)
        if following is not None and (self._repository.facts_of(path) or {}).get("account") == following:
            return []  # offered; the device has not told yet
        return [self._offer(account, account.recipient)]

    def _offer(self, account: DeviceAccount, recipient: str) -> str:
        """Rule 2."""
        device, path, now = account.device, credentials_target(account.device), self._clock()
        following = account.next_access_key_id
        if following is not None and (self._repository.facts_of(path) or {}).get("account") == following:
            return f"{device}: its new account is offered already; it has not taken it over yet"
        key = self._rights.add_key(device, known=[account.access_key_id] if account.access_key_id else [])
        note_next_key(
            self._catalog, device, key.access_key_id, present=account.access_key_id, recipient=recipient, at=now
        )
        credentials = Credentials(
            device=device, access_key_id=key.access_key_id, secret_access_key=key.secret_access_key, issued_at=now
        )
        wish = {"key": KEY_WANTED} if account.key_wanted_at is not None else {}
        facts = {"account": key.access_key_id, **wish}
        self._repository.put_document(path, credentials.seal(recipient), facts)
        return f"{device}: a new account is offered to it"

    def _key(self, account: DeviceAccount) -> list[str]:
        """Take over the key that a device made because it was asked to."""
        device, path = account.device, credentials_target(account.device)
        facts = self._repository.facts_of(path)
        if facts is not None and "key" not in facts:  # asked for after the account was offered
            self._repository.state_facts(path, {**facts, "key": KEY_WANTED})
        try:
            document = self._bucket.get(claim_key(device), max_bytes=MAX_BYTES)
        except NotFound:
            return []
        known = get_device(self._catalog, device)
        try:
            claim = known.verified(lambda public_key: Claim.verify(document, public_key))
        except BadSignature as error:
            return self._report(device, f"a new key is not believed: {error}", len(document))
        replace_public_key(
            self._catalog, device, claim.public_key_hex, previous_until=self._clock() + PREVIOUS_KEY_LIFE
        )
        for inspection in known.inspection_names:
            share_with(self._workspace, inspection, device, claim.public_key_hex)
        self._repository.state_facts(path, {**(facts or {}), "key": claim.public_key_hex})
        want_key(self._catalog, device, None)
        self._bucket.delete(claim_key(device))
        return [f"{device}: its new key is taken over; the one before it is believed for {PREVIOUS_KEY_LIFE.days} days"]

    def _end_invitation(self, device: str) -> None:
        self._rights.withdraw(device)
        account = account_of(self._catalog, device)
        bundle = (account.invitation or {}).get("bundle")
        for key in filter(None, (claim_key(device), bundle)):
            try:
                self._bucket.delete(key)
            except BucketError as error:
                _log.warning("%s is left: %s", key, error)
        end_invitation(self._catalog, device)

    def _report(self, device: str, reason: str, size: int) -> list[str]:
        item = Quarantined(kind=Kind.HEARTBEAT, key=claim_key(device), device=device, reason=reason, bytes=size)
        with self._catalog.session() as session:
            record_quarantined(session, item, at=self._clock())
        _log.warning("%s: %s", device, reason)
        return [f"{device}: {reason}"]
