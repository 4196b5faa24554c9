"""Changes to signed documents: to the payload, signed again, and to the envelope, which then must be refused."""

from __future__ import annotations

import json
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.contract.signing import public_hex, sign_payload
from tests.fuzz.mutations.values import mutate_json, mutate_tree

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = public_hex(KEY)


def mutate_signed(data: bytes, random: Random, purpose: str) -> bytes:
    """Return an envelope after a change."""
    if random.random() < 0.15:
        return mutate_json(data, random)
    try:
        payload = mutate_tree(json.loads(data)["payload"], random)
        return sign_payload(payload, KEY, purpose=purpose)
    except (
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ):  # what can't be signed at all: NaN, lone surrogates, no object
        return mutate_json(data, random)
