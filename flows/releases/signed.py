"""The signed metadata of the release repository: kept whole, fresh and in force, and its keys changed.

What it is about (engines, channels, settings) is `flows.releases.repository`'s, whose rules these are.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Role, Root  # type: ignore[attr-defined]  # re-exported there without saying so

from edge_client.contract.bucket import Bucket
from edge_client.contract.private_files import replace_private
from edge_client.contract.releases import METADATA_PREFIX
from flows.releases.commit import ONLINE_LIFE, ROOT_LIFE, sign_commit, sign_timestamp
from flows.releases.journal import Journal
from flows.releases.keyring import KeyRing
from flows.releases.keys import create_keys, public_key_of
from flows.releases.metadata import TOP_ROLES, ReleaseMetadata, load_metadata, to_json
from flows.releases.raised import PERSON_ROLES, LeastVersions
from flows.releases.roots import Roots, root_key
from flows.releases.rotation import Vouches, rotate


class Clock(Protocol):
    """Where the repository learns the time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""


class SignedRepository:
    """The metadata in a bucket, and the keys that sign it.

    Args:
        bucket: Where the repository lies, under ``releases/``.
        keys_dir: Folder of the roles' keys, and of ``root.json``, the local trust anchor.
        clock: Gives the time that is signed.
        ring: Finds the signers; default: the files in `keys_dir`, asking nobody for a passphrase.
        lock: Held while something is published, beside the lock of this machine: for publishers on several.
    """

    def __init__(
        self,
        bucket: Bucket,
        keys_dir: Path,
        clock: Clock,
        *,
        ring: KeyRing | None = None,
        lock: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._bucket = bucket
        self._keys = Path(keys_dir)
        self._clock = clock
        self._ring = ring or KeyRing(self._keys)
        self._lock = lock
        self._roots = Roots(self._keys, bucket)
        self._journal = Journal(self._keys)
        self._least = LeastVersions(self._keys)

    def create(self) -> None:
        """Create the keys that are missing and, unless there is one, an empty repository."""
        with self._locked():
            create_keys(self._keys)
            if self._exists():
                state = self._load()
                if renewed := self._renewed(state):
                    self._commit(state, renewed)
                return
            anchor = self._roots.anchor
            root = anchor.read_bytes() if anchor.exists() else self._make_root()
            self._bucket.put(root_key(1), root)
            replace_private(anchor, root)
            keys = {role: public_key_of(self._keys, role) for role in ("engines", "rollouts")}
            state = ReleaseMetadata.empty(Metadata[Root].from_bytes(root), keys, self._now())
            self._commit(state, ["targets", "engines", "rollouts"])

    def refresh_timestamp(self) -> None:
        """Prolong the online metadata: a new timestamp, and what lives less than half its life longer."""
        with self._locked():
            state = self._load()
            soon = self._now() + ONLINE_LIFE / 2
            aging = ["rollouts"] if state.rollouts.signed.expires < soon else []
            if aging or state.snapshot.signed.expires < soon:
                self._commit(state, aging)
            else:
                self._bucket.put(*sign_timestamp(state, self._signers(state), self._now(), self._least.read()))

    def renew(self) -> Sequence[str]:
        """Sign anew what a person signs, before it ends, and bring the delegations up to date.

        Returns:
            The roles that were signed: those whose key is at hand, except the root (a rotation renews that one).
        """
        with self._locked():
            state = self._load()
            roles = [role for role in ("targets", "engines") if self._ring.has(role, state.keys_of(role))]
            if "targets" in roles:
                state.update_paths()
            if roles:
                self._commit(state, roles)
            return roles

    def rise_above(self, least: Mapping[str, int]) -> Sequence[str]:
        """Sign every role anew with at least these versions: after a restore, so that devices, which may have seen
        later metadata than was restored, don't take it for a replay.

        Args:
            least: Role -> version. Remembered: what is signed later, by whom whatever, does not fall below it.

        Returns:
            Roles whose key is not at hand and which still lie below; their person has to sign (`renew`).
        """
        with self._locked():
            state = self._load()
            self._least.raise_to(least)
            at_hand = [role for role in PERSON_ROLES if self._ring.has(role, state.keys_of(role))]
            self._commit(state, [*at_hand, "rollouts"])
            return [role for role in PERSON_ROLES if role not in at_hand]

    def exists(self) -> bool:
        """Whether there is a repository in the bucket."""
        return self._exists()

    def replace_keys(self, new: Mapping[str, Sequence[Signer]], *, vouches: Vouches | None = None) -> None:
        """Change the keys of roles (rule 9).

        Args:
            new: Role -> its new signers; the first signs, others are spare. Their keys are stored safely already.
            vouches: Which targets of a rotated delegated role stay; None for all.

        Raises:
            KeyAway: A key that has to sign the change is not at hand.
        """
        with self._locked():
            state = self._load()
            signer = self._signers(state)
            puts = rotate(state, new, lambda role: signer(role)[0], self._now(), vouches=vouches)
            self._journal.write(puts)
            self._finish()

    def change_under_way(self) -> bool:
        """Whether a change of keys was written down and is not finished."""
        return self._journal.pending()

    def signer(self, role: str) -> Signer:
        """Return the signer of a role in force.

        Raises:
            KeyAway: It is not at hand.
        """
        return self._ring.signer(role, self._load().keys_of(role))

    def root_bytes(self) -> bytes:
        """Return the newest root, the trust anchor that goes into a device's bundle.

        Raises:
            BadRelease: There is no repository yet.
        """
        return self._roots.newest()

    def state(self) -> ReleaseMetadata:
        """Return the metadata in force, verified; for looking at."""
        return self._load()

    def key_at_hand(self, role: str, state: ReleaseMetadata | None = None) -> bool:
        """Whether the role could sign now."""
        return self._ring.has(role, (state or self._load()).keys_of(role))

    def versions(self) -> dict[str, int]:
        """Return the metadata versions in force, by role."""
        state = self._load()
        return {
            "timestamp": state.timestamp.signed.version,
            "snapshot": state.snapshot.signed.version,
            **{role: state.of(role).signed.version for role in ("targets", "engines", "rollouts")},
        }

    def expiry(self) -> dict[str, datetime]:
        """Return when each role's metadata ends, by role."""
        state = self._load()
        roles: dict[str, Metadata[Any]] = {"timestamp": state.timestamp, "snapshot": state.snapshot}
        roles["root"] = state.root
        roles |= {role: state.of(role) for role in ("targets", "engines", "rollouts")}
        return {role: metadata.signed.expires for role, metadata in roles.items()}

    # --- inside -------------------------------------------------------------------------------------------------------

    def _exists(self) -> bool:
        return self._bucket.head(f"{METADATA_PREFIX}timestamp.json") is not None

    def _load(self) -> ReleaseMetadata:
        return load_metadata(self._bucket, Metadata[Root].from_bytes(self._roots.newest()))

    def _renewed(self, state: ReleaseMetadata) -> list[str]:
        """Rule 10: the roles that have to be signed for it."""
        if not state.outdated() or not self._ring.has("targets", state.keys_of("targets")):
            return []
        state.update_paths()
        return ["targets"]

    def _commit(self, state: ReleaseMetadata, changed: list[str]) -> None:
        """Sign and store what changed, then the snapshot, then the timestamp (rule 2)."""
        for key, data in sign_commit(state, changed, self._signers(state), self._now(), self._least.read()):
            self._bucket.put(key, data)

    def _signers(self, state: ReleaseMetadata) -> Callable[[str], Sequence[Signer]]:
        return lambda role: [self._ring.signer(role, state.keys_of(role))]

    def _finish(self) -> None:
        """Rule 9."""
        for key, data in self._journal.finish(self._bucket):
            if key.endswith(".root.json"):
                self._roots.remember(data)
        self._journal.forget()

    def _make_root(self) -> bytes:
        keys = {role: public_key_of(self._keys, role) for role in TOP_ROLES}
        root = Metadata(
            Root(
                version=1,
                expires=self._now() + ROOT_LIFE,
                keys={key.keyid: key for key in keys.values()},
                roles={role: Role([key.keyid], 1) for role, key in keys.items()},
                consistent_snapshot=True,
            )
        )
        root.sign(self._ring.signer("root", [keys["root"]]))
        return to_json(root)

    def _now(self) -> datetime:
        return self._clock.now().astimezone(UTC).replace(microsecond=0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One publisher at a time: on this machine by the kernel's lock, on others by the one that was given."""
        self._keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._keys / ".lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with self._lock():
                self._finish()
                yield
