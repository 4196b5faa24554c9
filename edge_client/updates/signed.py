"""What the cloud signed for this device, as values: files, a release, client software, a challenger, documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from edge_client.contract.credentials import Offer
from edge_client.contract.engine_keys import Sealing
from edge_client.contract.errors import BadRelease
from edge_client.contract.help import HelpRequest
from edge_client.contract.releases import TARGETS_PREFIX, Channel
from edge_client.contract.shadow import Shadow
from edge_client.contract.software import SoftwareRelease
from edge_client.settings_in_force import SignedDocuments


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFile:
    """A target as signed."""

    path: str
    sha256: str
    length: int
    sealing: Sealing | None = None

    @property
    def key(self) -> str:
        """Where the bucket keeps it: by the digest of what lies there."""
        folder, _, name = self.path.rpartition("/")
        stored = self.sha256 if self.sealing is None else self.sealing.sha256
        return f"{TARGETS_PREFIX}{folder}/{stored}.{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An engine that both roles name for this device; `channel` reads as if it named that engine for all.

    `chunks` is the list of its pieces, where there is one.
    """

    channel: Channel
    engine: SignedFile
    selftest: SignedFile
    chunks: SignedFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareOffer:
    """Client software that this device should run, with its wheels as `engines` signed them."""

    release: SoftwareRelease
    files: tuple[SignedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowOffer:
    """A challenger that this channel's devices may run unseen, with its files as `engines` signed them."""

    document: Shadow
    engine: SignedFile
    selftest: SignedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """The result of a refresh.

    Attributes:
        releases: What the channel names for this device: files of one model, in the order in which it should try
            them. Empty when the channel does not exist yet.
        documents: Settings and campaigns; what was refused is as it was before.
        help: Requests for help to this device, answered ones too.
        versions: Accepted metadata versions by role.
        problems: What was refused without touching the rest.
        release_refused: Why the channel's release can't be accepted, or "".
        signed_at: The latest issue time that the keys in force signed; None when they signed none.
        software: Client software that this device should run; None for what it has.
        shadow: A challenger to run unseen; None for none.
        offer: What the cloud offers this device alone: new credentials, a new key; None when nothing.
    """

    releases: Sequence[Release]
    documents: SignedDocuments
    help: Sequence[HelpRequest] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[str] = ()
    release_refused: str = ""
    signed_at: datetime | None = None
    software: SoftwareOffer | None = None
    shadow: ShadowOffer | None = None
    offer: Offer | None = None


def signed_file(target: Any) -> SignedFile:
    """Read a target as python-tuf gives it.

    Raises:
        BadRelease: It is signed without a digest that this client knows.
    """
    digest = target.hashes.get("sha256")
    if digest is None:
        raise BadRelease(f"target {target.path!r} is signed without a SHA-256 digest: refused")
    sealing = Sealing.from_custom(target.unrecognized_fields.get("custom"))
    return SignedFile(path=target.path, sha256=digest, length=target.length, sealing=sealing)
