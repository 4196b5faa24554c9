"""Making new keys and putting them in force: what `andon keys rotate` and `andon keys spare` do.

1. A new key is stored before anything names it, in a file of its own (``ROLE-KEYID.pem``); only when it is in force
   does it take the place of the old one, which goes to ``retired/``. Cut anywhere, the key ring finds the right file.
2. A person's new keys go where the person says, the online ones beside those there are.
3. A key that was rotated out signs nothing that devices accept once they have followed. Destroy it then: whoever finds
   an old root key could still mislead a device that was switched off meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Signer

from flows.releases.keys import ONLINE_ROLES, key_path, write_key
from flows.releases.repository import ReleaseRepository
from flows.releases.rotation import Vouches, roles_to_rotate

RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where key files are.

    Attributes:
        online: The folder of the online keys.
        person: Where the person's new keys go.
        before: Other folders in which the person's old keys may lie.
        passphrase: Encrypts the person's new keys; None leaves them open, as on one machine.
    """

    online: Path
    person: Path
    before: Sequence[Path] = ()
    passphrase: bytes | None = field(default=None, repr=False)

    def of(self, role: str) -> Path:
        """The folder of a role's new key."""
        return self.online if role in ONLINE_ROLES else self.person

    def all(self) -> list[Path]:
        """Every folder, each once."""
        return list(dict.fromkeys([self.online, self.person, *self.before]))


def rotate_keys(
    repository: ReleaseRepository,
    roles: Sequence[str],
    places: Places,
    *,
    given: Mapping[str, Signer] | None = None,
    stolen: bool = False,
    vouches: Vouches | None = None,
) -> list[str]:
    """Replace the keys of roles by new ones.

    Args:
        repository: Its key ring brings the keys that sign the change.
        roles: Whose keys are replaced.
        places: Where the files go.
        given: Role -> a new signer that exists already (a KMS), instead of a new file.
        stolen: Somebody else may have the old ones: `snapshot` and `timestamp` are replaced as well.
        vouches: Which signed targets stay; see `flows.releases.rotation.rotate`.

    Returns:
        The roles that were rotated.

    Raises:
        KeyAway: A key that has to sign the change is not at hand; nothing is changed.
        BucketError: The bucket is away; the next call of anything finishes the change.
    """
    wanted = roles_to_rotate(roles, stolen=stolen)
    made: dict[str, Path] = {}
    new: dict[str, list[Signer]] = {role: [signer] for role, signer in (given or {}).items()}
    try:
        for role in wanted:
            if role not in new:
                new[role], made[role] = _make(role, places)
        repository.replace_keys({role: new[role] for role in wanted}, vouches=vouches)
    except BaseException:
        if not repository.change_under_way():
            for path in made.values():
                path.unlink(missing_ok=True)
        raise
    for role in wanted:
        _retire(role, places, made.get(role))
    return wanted


def add_spare_root(repository: ReleaseRepository, folder: Path, passphrase: bytes | None) -> Path:
    """Make a second root key that can do all that the first can, to be locked away elsewhere.

    Raises:
        KeyAway: The root key is not at hand.
    """
    present = repository.signer("root")
    (spare, *_), path = _make("root", Places(online=folder, person=folder, passphrase=passphrase))
    try:
        repository.replace_keys({"root": [present, spare]})
    except BaseException:
        if not repository.change_under_way():
            path.unlink(missing_ok=True)
        raise
    return path


def _make(role: str, places: Places) -> tuple[list[Signer], Path]:
    key = Ed25519PrivateKey.generate()
    signer = CryptoSigner(key)
    folder = places.of(role)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{role}-{signer.public_key.keyid[:8]}.pem"
    write_key(path, key, None if role in ONLINE_ROLES else places.passphrase)
    return [signer], path


def _retire(role: str, places: Places, made: Path | None) -> None:
    """Rule 1, at the end."""
    for folder in places.all():
        old = [p for p in (key_path(folder, role), *sorted(folder.glob(f"{role}-*.pem"))) if p.exists() and p != made]
        for path in old:
            retired = folder / RETIRED
            retired.mkdir(exist_ok=True, mode=0o700)
            number = sum(1 for _ in retired.glob(f"{role}-*.pem")) + 1
            path.rename(retired / f"{role}-{number}.pem")
    if made is not None:
        made.rename(key_path(made.parent, role))
