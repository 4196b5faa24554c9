"""A device's account in the bucket: what it may do, made, replaced and ended through the IAM API.

1. A device may put below its own ``inbox/<device>/`` and ``fleet/<device>/`` and get below ``releases/``. Nothing else:
   no list, no delete, no other device, not even reading back what it sent. A stolen device's account can fill its own
   prefix, and no more.
2. An invitation (a bundle that was not used yet) may put one object, the device's claim, and get below ``releases/``.
   It is an account of its own, so that it ends without touching the device's.
3. A device's user has at most two keys, the present one and one that is offered. Keys that nobody knows of were made by
   something that was killed; they are ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_client.contract.bucket import S3Settings
from edge_client.contract.claim import claim_key
from edge_client.contract.errors import Refused, Unavailable
from edge_client.contract.names import check_name

POLICY_NAME = "andon-device"
_CONNECT_SECONDS, _READ_SECONDS = 5, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """Credentials of a device."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


def device_policy(bucket: str, device: str) -> dict[str, Any]:
    """The IAM policy document of a device."""
    check_name(device, "device")
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject"],
                "Resource": [f"{arn}/inbox/{device}/*", f"{arn}/fleet/{device}/*"],
            },
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{arn}/releases/*"]},
        ],
    }


def invitation_policy(bucket: str, device: str) -> dict[str, Any]:
    """The IAM policy document of a bundle that was not used yet (rule 2)."""
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"{arn}/{claim_key(device)}"]},
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{arn}/releases/*"]},
        ],
    }


def invitation_user(device: str) -> str:
    """The user of a device's invitation; no device can have this name."""
    return f"{check_name(device, 'device')}@invited"


class DeviceAccounts:
    """Accounts of devices at the bucket's IAM API. A user is named as its device.

    Args:
        settings: The bucket, with credentials that may administer users. Without an endpoint it is AWS itself.
    """

    def __init__(self, settings: S3Settings) -> None:
        import boto3
        from botocore.config import Config

        self._bucket = settings.bucket
        session = boto3.session.Session(
            aws_access_key_id=settings.access_key_id or None,
            aws_secret_access_key=settings.secret_access_key or None,
            region_name=settings.region,
        )
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"max_attempts": 3, "mode": "standard"},
        )
        self._iam = session.client("iam", endpoint_url=settings.endpoint_url, config=config, verify=settings.ca_bundle)

    def create(self, device: str) -> AccessKey:
        """Make the account anew: whatever keys an earlier or interrupted enrolment made are ended.

        Raises:
            Refused: These credentials may not administer users.
            Unavailable: The bucket does not answer.
        """
        self.remove(device)
        return self._make(check_name(device, "device"), device_policy(self._bucket, device))

    def invite(self, device: str) -> AccessKey:
        """Make the account of a device's invitation, anew.

        Raises:
            Refused, Unavailable: As for `create`.
        """
        user = invitation_user(device)
        self._remove(user)
        return self._make(user, invitation_policy(self._bucket, device))

    def add_key(self, device: str, *, known: Sequence[str]) -> AccessKey:
        """Make another key of a device's account, which is made if there is none; keys that are not `known` are ended
        (rule 3).

        Raises:
            Refused, Unavailable: As for `create`.
        """
        check_name(device, "device")
        self.keep_keys(device, known)
        with _translated(f"making a key of {device!r}"):
            try:
                self._iam.get_user(UserName=device)
            except self._iam.exceptions.NoSuchEntityException:
                return self._make(device, device_policy(self._bucket, device))
            key = self._iam.create_access_key(UserName=device)["AccessKey"]
        return AccessKey(access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])

    def keep_keys(self, device: str, known: Sequence[str]) -> int:
        """End every key of a device's account but these; return how many were ended.

        Raises:
            Refused, Unavailable: As for `create`.
        """
        check_name(device, "device")
        with _translated(f"ending keys of {device!r}"):
            try:
                keys = self._iam.list_access_keys(UserName=device)["AccessKeyMetadata"]
            except self._iam.exceptions.NoSuchEntityException:
                return 0
            ended = [key["AccessKeyId"] for key in keys if key["AccessKeyId"] not in known]
            for key_id in ended:
                self._iam.delete_access_key(UserName=device, AccessKeyId=key_id)
        return len(ended)

    def remove(self, device: str) -> bool:
        """End the account; tell whether there was one.

        Raises:
            Refused, Unavailable: As for `create`.
        """
        return self._remove(check_name(device, "device"))

    def withdraw(self, device: str) -> bool:
        """End the account of a device's invitation; tell whether there was one.

        Raises:
            Refused, Unavailable: As for `create`.
        """
        return self._remove(invitation_user(device))

    def _make(self, user: str, policy: dict[str, Any]) -> AccessKey:
        with _translated(f"making the account of {user!r}"):
            self._iam.create_user(UserName=user)
            self._iam.put_user_policy(UserName=user, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(policy))
            key = self._iam.create_access_key(UserName=user)["AccessKey"]
        return AccessKey(access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])

    def _remove(self, user: str) -> bool:
        missing = self._iam.exceptions.NoSuchEntityException
        with _translated(f"ending the account of {user!r}"):
            try:
                self._iam.get_user(UserName=user)
                keys = self._iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
            except missing:
                return False
            for key in keys:
                self._iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
            try:
                self._iam.delete_user_policy(UserName=user, PolicyName=POLICY_NAME)
            except missing:
                pass
            self._iam.delete_user(UserName=user)
        return True


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status in (401, 403):
            raise Refused(
                f"{doing}: the bucket refuses it ({error}); these credentials may not administer users"
            ) from error
        raise Unavailable(f"{doing}: the bucket answered {status} ({error}); try again later") from error
    except (BotoCoreError, OSError) as error:
        raise Unavailable(f"{doing}: the bucket cannot be reached ({error}); see `andon status`") from error
