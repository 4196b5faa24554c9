"""Asks one device for help, and reads its answer. The device comes for the request; nobody connects to it.

1. A request ends by itself; those that ended leave the document with the next one. No more than `MOST_REQUESTS` wait.
2. Who asked for what is recorded as a version of the document.
3. An answer is believed if the device's registered key signed it, for this request; it is removed from the bucket once
   it was read.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from data.devices import DeviceError, get_device
from data.signed_documents import SignedVersion, last_version, record_version
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, NotFound
from edge_client.contract.help import (
    MOST_ENVELOPE_BYTES,
    MOST_REQUESTS,
    VERBS,
    HelpReply,
    HelpRequest,
    HelpRequests,
    help_target,
    reply_key,
)
from flows.fleet_settings.signing import By, SettingsError, Signer

LIFE = timedelta(minutes=15)  # of a request
_LOOK_SECONDS = 1.0


class HelpError(AndonError):
    """A device did not answer, or its answer is not acceptable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is known while one waits: seconds so far, and whether the device has taken the request."""

    seconds: float
    accepted: bool


def ask(signer: Signer, device: str, verb: str, by: By, *, lines: int = 200, life: timedelta = LIFE) -> HelpRequest:
    """Sign a request.

    Raises:
        DeviceError: No such device, or it was revoked.
        SettingsError: Too many requests wait, or nobody knows the verb.
    """
    if verb not in VERBS:
        raise SettingsError(f"a device cannot be asked for {verb!r}: expected one of {', '.join(VERBS)}")
    if get_device(signer.catalog, device).revoked:
        raise DeviceError(f"device {device!r} was revoked: it reads nothing any more")
    path, now = help_target(device), signer.now()
    request = HelpRequest(id=secrets.token_hex(8), verb=verb, issued_at=now, expires_at=now + life, lines=lines)
    signer.repository.read_document(path)  # a bucket that is away is found before the catalog waits for it
    with signer.catalog.session() as session:
        last = last_version(session, path)
        signed = signer.signed(path, HelpRequests.from_json)
        waiting = [each for each in (signed.requests if signed is not None else ()) if each.expires_at > now]
        if len(waiting) >= MOST_REQUESTS:
            raise SettingsError(
                f"{len(waiting)} requests to {device!r} have not ended yet: the first does at "
                f"{waiting[0].expires_at:%H:%M} UTC; look at its last heartbeat meanwhile"
            )
        data = HelpRequests(requests=(*waiting, request)).to_json()
        HelpRequests.from_json(data)
        record_version(
            session,
            SignedVersion(
                path=path,
                version=last + 1,
                content=data.decode(),
                action=f"help: {verb}",
                who=by.who,
                at=now,
                why=by.why,
            ),
        )
        signer.repository.publish_documents({path: data})
    return request


def wait_for(
    bucket: Bucket,
    request: HelpRequest,
    device: str,
    *,
    public_key_hex: str,
    identity: str,
    seconds: float,
    tell: Callable[[Progress], None] = lambda _: None,
    monotonic: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> HelpReply:
    """Wait for a device's answer (rule 3).

    Raises:
        HelpError: None came in time, or it is not this request's.
        BadSignature: The device did not sign it.
        BucketError: The bucket is away.
    """
    key, began = reply_key(device, request.id), monotonic()
    accepted: datetime | None = None
    while True:
        try:
            reply = HelpReply.open(bucket.get(key, max_bytes=MOST_ENVELOPE_BYTES), public_key_hex, identity)
        except NotFound:
            pass
        else:
            if (reply.device, reply.id, reply.verb) != (device, request.id, request.verb):
                raise HelpError(
                    f"the answer at {key} is of {reply.device!r} to {reply.verb} {reply.id!r}: it was put there "
                    "wrongly, and is not believed"
                )
            if reply.state != "accepted":
                bucket.delete(key)
                return reply
            accepted = reply.at
        waited = monotonic() - began
        if waited >= seconds:
            raise HelpError(_late(device, request, waited, accepted))
        tell(Progress(seconds=waited, accepted=accepted is not None))
        rest(min(_LOOK_SECONDS, max(0.05, seconds - waited)))


def _late(device: str, request: HelpRequest, waited: float, accepted: datetime | None) -> str:
    if accepted is not None:
        return (
            f"{device} accepted the {request.verb} at {accepted:%H:%M:%S} UTC and has not come back in {waited:.0f} s: "
            "look at its heartbeat, or at its supervisor"
        )
    return (
        f"{device} did not answer in {waited:.0f} s. The request ends at {request.expires_at:%H:%M} UTC; a device "
        "looks for it within its poll interval, an older client never does. Its heartbeat tells whether it is there"
    )
