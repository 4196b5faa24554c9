"""Which metadata a change of keys needs. Signs; touches neither disk nor network.

1. The root names the keys of ``root``, ``targets``, ``snapshot`` and ``timestamp``; the targets metadata names those of
   ``engines`` and ``rollouts``. Who names a key signs its change.
2. A new root is signed by a root key before it and by its own: devices follow one by one.
3. What a rotated role signed is signed anew, by the new key and, where it is still at hand, by the old one, and put
   before the new root: at no moment does a device find anything that does not verify. Without the old key the root
   goes first, and a device that looks in between changes nothing.
4. A stolen key may have raised versions that devices now hold for the least. Floors belong to keys, on the device and
   in TUF itself, as long as ``snapshot`` and ``timestamp`` change too: both are rotated with any role that was stolen.
5. A stolen ``engines`` key may have approved, a stolen ``rollouts`` key named, anything: of the targets only those stay
   that the caller vouches for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime

from securesystemslib.signer import Signer
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported there without saying so
    Metadata,
    Role,
    Root,
    TargetFile,
)

from flows.releases.commit import ROOT_LIFE, Put, sign_by_all, sign_commit
from flows.releases.keyring import KeyAway
from flows.releases.keys import ROLES
from flows.releases.metadata import TOP_ROLES, ReleaseMetadata, to_json
from flows.releases.roots import root_key

Vouches = Callable[[str, TargetFile], bool]


def roles_to_rotate(roles: Sequence[str], *, stolen: bool) -> list[str]:
    """The roles that are rotated together (rule 4).

    >>> roles_to_rotate(["engines"], stolen=True)
    ['engines', 'snapshot', 'timestamp']
    """
    wanted = {*roles, *(("snapshot", "timestamp") if stolen else ())}
    return [role for role in ROLES if role in wanted]


def signers_needed(roles: Sequence[str]) -> list[str]:
    """The roles whose present key has to be at hand: those that name the rotated ones (rule 1).

    >>> signers_needed(["engines", "timestamp"])
    ['root', 'targets']
    """
    named_by_targets = any(role not in TOP_ROLES for role in roles) and "targets" not in roles
    return [*(["root"] if any(role in TOP_ROLES for role in roles) else []), *(["targets"] if named_by_targets else [])]


def rotate(
    state: ReleaseMetadata,
    new: Mapping[str, Sequence[Signer]],
    signer: Callable[[str], Signer],
    now: datetime,
    *,
    vouches: Vouches | None = None,
) -> list[Put]:
    """Change keys.

    Args:
        state: The metadata in force; becomes what will be.
        new: Role -> its new signers. The first signs; the others are spare.
        signer: The signer of a role in force; `KeyAway` where there is none.
        now: Time that is signed.
        vouches: Which targets of a rotated delegated role stay; None for all (rule 5).

    Returns:
        What to put into the bucket, in order.

    Raises:
        KeyAway: A key that must sign is not at hand.
    """
    top = [role for role in new if role in TOP_ROLES]
    delegated = [role for role in new if role not in TOP_ROLES]
    at_hand = {role: _or_none(signer, role) for role in new}
    root_signer = signer("root") if top else None
    if delegated:
        _delegate(state, {role: new[role] for role in delegated})
        if vouches is not None:
            for role in delegated:
                kept = {path: file for path, file in state.of(role).signed.targets.items() if vouches(path, file)}
                state.of(role).signed.targets = kept

    def signers(role: str) -> Sequence[Signer]:
        if role not in new:
            return [signer(role)]
        old = at_hand[role]
        both = role in TOP_ROLES and old is not None  # a delegation changes at one moment, with the snapshot
        return [new[role][0], old] if both and old is not None else [new[role][0]]

    changed = [*(["targets"] if delegated or "targets" in new else []), *delegated]
    commit = sign_commit(state, changed, signers, now) if set(new) != {"root"} else []
    if root_signer is None:
        return commit
    state.root = _next_root(state.root, {role: new[role] for role in top}, root_signer, now)
    root: Put = (root_key(state.root.signed.version), to_json(state.root))
    gapless = all(at_hand[role] is not None for role in top if role != "root")
    return [*commit, root] if gapless else [root, *commit]


def _next_root(
    root: Metadata[Root], new: Mapping[str, Sequence[Signer]], root_signer: Signer, now: datetime
) -> Metadata[Root]:
    following = Metadata(deepcopy(root.signed))
    signed = following.signed
    signed.version += 1
    signed.expires = now + ROOT_LIFE
    for role, signers in new.items():
        signed.roles[role] = Role([s.public_key.keyid for s in signers], 1)
        signed.keys.update({s.public_key.keyid: s.public_key for s in signers})
    used = {keyid for role in signed.roles.values() for keyid in role.keyids}
    signed.keys = {keyid: key for keyid, key in signed.keys.items() if keyid in used}
    sign_by_all(following, [root_signer, *new.get("root", [])[:1]])
    return following


def _delegate(state: ReleaseMetadata, new: Mapping[str, Sequence[Signer]]) -> None:
    delegations = state.targets.signed.delegations
    assert delegations is not None
    assert delegations.roles is not None
    for role, signers in new.items():
        delegations.roles[role].keyids = [s.public_key.keyid for s in signers]
        delegations.keys.update({s.public_key.keyid: s.public_key for s in signers})
    used = {keyid for role in delegations.roles.values() for keyid in role.keyids}
    delegations.keys = {keyid: key for keyid, key in delegations.keys.items() if keyid in used}


def _or_none(signer: Callable[[str], Signer], role: str) -> Signer | None:
    try:
        return signer(role)
    except KeyAway:
        return None
