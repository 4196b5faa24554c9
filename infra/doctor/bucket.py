"""The bucket: access, its clock, and the release repository in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from data.workspace import Workspace
from edge_client.contract.bucket import S3Bucket
from edge_client.contract.errors import AndonError, BucketError, Unavailable
from edge_client.contract.releases import MAX_METADATA_BYTES, METADATA_PREFIX
from flows.stack import repository_of
from infra.doctor.finding import Finding, Level
from infra.stack.readiness import NotReady, bucket_probe

_MOST_SKEW = timedelta(seconds=60)  # S3 refuses signatures 15 minutes off; Andon's own times should be far better
#: Role -> how long before its end somebody should act.
_NOTICE = {role: timedelta(days=7) for role in ("timestamp", "snapshot", "rollouts")}  # signed anew after 15
_PERSONS_NOTICE = timedelta(days=60)
_RENEW = {"root": "`andon keys rotate root --keys DIR`: a new root key signs for ten years"}


def check_access(workspace: Workspace) -> Iterator[Finding]:
    """Put, get and delete."""
    where = workspace.bucket_settings.endpoint_url or "AWS"
    try:
        bucket_probe(workspace.bucket_settings)()
    except NotReady as reason:
        yield Finding(
            check="bucket",
            level=Level.WRONG,
            text=str(reason),
            action=f"is it up? `andon status`; its log: {workspace.home}/logs/bucket.log",
        )
    else:
        yield Finding(
            check="bucket",
            level=Level.OK,
            text=f"put, get and delete in {workspace.bucket_settings.bucket!r} at {where}",
        )


def check_clock(workspace: Workspace, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Finding]:
    """This machine's clock against the bucket's `Date`."""
    try:
        there = server_time(workspace.bucket())
    except AndonError as error:
        yield Finding(
            check="clock", level=Level.WRONG, text=f"the bucket's time is not known: {error}", action="see `bucket`"
        )
        return
    off = abs(clock() - there)
    text = f"this clock and the bucket's are {off.total_seconds():.0f} s apart"
    if off > _MOST_SKEW:
        action = "set this machine's clock (systemd-timesyncd or chrony): signatures and expiry rest on it"
        yield Finding(check="clock", level=Level.WRONG, text=text, action=action)
    else:
        yield Finding(check="clock", level=Level.OK, text=text)


def server_time(bucket: S3Bucket) -> datetime:
    """The `Date` of the bucket's answer.

    Raises:
        Unavailable: No answer, or none with a date.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = bucket.client.head_bucket(Bucket=bucket.name)
    except ClientError as error:
        answer = error.response
    except BotoCoreError as error:
        raise Unavailable(f"bucket {bucket.name!r} cannot be reached: {error}") from error
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError) as error:
        raise Unavailable(f"bucket {bucket.name!r} answers without a date") from error


def check_releases(
    workspace: Workspace, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Finding]:
    """The first root can be read and is ours; nothing expires soon."""
    try:
        found = workspace.bucket().get(f"{METADATA_PREFIX}1.root.json", max_bytes=MAX_METADATA_BYTES)
    except BucketError as error:
        yield Finding(
            check="releases",
            level=Level.WRONG,
            text=f"the first root cannot be read ({error}): devices would take that for 'nothing new' for ever",
            action="run `andon up`, which creates the repository; if the bucket refuses, correct its policy for "
            "releases/",
        )
        return
    anchor = workspace.keys / "root.json"
    if anchor.exists() and anchor.read_bytes() != found:
        yield Finding(
            check="releases",
            level=Level.WRONG,
            text=f"the bucket's first root is not {anchor}: it is another installation's repository, or was replaced",
            action="find out who wrote releases/metadata/1.root.json; devices enrolled here do not trust it",
        )
        return
    yield Finding(check="releases", level=Level.OK, text="the first root is readable and ours")
    try:
        repository = repository_of(workspace, clock)
        expiry, outdated = repository.expiry(), repository.state().outdated()
    except AndonError as error:
        action = "run `andon release`; if that fails too, restore releases/metadata from your backup"
        yield Finding(
            check="expiry", level=Level.WRONG, text=f"the repository cannot be verified: {error}", action=action
        )
        return
    yield from _expiry(expiry, clock())
    if outdated:
        yield Finding(
            check="delegations",
            level=Level.NOTE,
            text=f"what {', '.join(outdated)} may sign was written by an older version: new kinds of documents are "
            "not signed until it is renewed",
            action="`andon keys renew --keys DIR`, with the person's key `targets`",
        )


def _expiry(expiry: dict[str, datetime], now: datetime) -> Iterator[Finding]:
    soon = False
    for role, end in sorted(expiry.items(), key=lambda item: item[1]):
        left = end - now
        online = role in _NOTICE
        action = (
            "keep the stack up: it signs anew by itself; `andon up` does so at once"
            if online
            else _RENEW.get(role, f"bring the key {role!r}: `andon keys renew --keys DIR` signs anew for two years")
        )
        if left <= timedelta(0):
            soon = True
            text = f"{role} expired on {end:%Y-%m-%d}: devices take nothing new"
            yield Finding(check="expiry", level=Level.WRONG, text=text, action=action)
        elif left < _NOTICE.get(role, _PERSONS_NOTICE):
            soon = True
            text = f"{role} expires on {end:%Y-%m-%d}, in {left.days} days"
            yield Finding(check="expiry", level=Level.NOTE, text=text, action=action)
    if expiry and not soon:
        role, end = min(expiry.items(), key=lambda item: item[1])
        yield Finding(check="expiry", level=Level.OK, text=f"next to expire: {role}, on {end:%Y-%m-%d}")
