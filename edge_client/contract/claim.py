"""A claim: how a device that was given a bundle makes it its own, once.

    fleet/<device>/claim.json

The bundle holds a one-time key that the cloud knows the public half of; the device makes its own keys, and the bundle
never had them. The claim names their public halves; the one-time key signs it, and so does the device's own key, so
that nobody can claim with a key that is not theirs.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge_client.contract.errors import BadSignature
from edge_client.contract.fields import Fields
from edge_client.contract.names import check_name
from edge_client.contract.signing import canonical_json, public_hex, sign_payload, verify_payload

PURPOSE = "claim"
MAX_BYTES = 65_536


def claim_key(device: str) -> str:
    """Key of a device's claim."""
    return f"fleet/{check_name(device, 'device')}/claim.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a device says of itself when it claims its bundle.

    Attributes:
        public_key_hex: Of the key that will sign its records and heartbeats.
        recipient: Its own age recipient, to which its account is sealed.
    """

    device: str
    public_key_hex: str
    recipient: str
    made_at: datetime

    def _said(self) -> dict[str, str]:
        return {
            "device": self.device,
            "public_key": self.public_key_hex,
            "recipient": self.recipient,
            "made_at": self.made_at.isoformat(),
        }

    def sign(self, one_time: Ed25519PrivateKey, own: Ed25519PrivateKey) -> bytes:
        """Return the document: signed by the bundle's one-time key, with a proof by the device's own."""
        if public_hex(own) != self.public_key_hex:
            raise ValueError("a claim is signed by the key that it names")
        said = self._said()
        return sign_payload({**said, "proof": own.sign(canonical_json(said)).hex()}, one_time, purpose=PURPOSE)

    @staticmethod
    def verify(document: bytes, one_time_public_hex: str) -> "Claim":
        """Read a claim.

        Raises:
            BadSignature: Not signed by this bundle's one-time key, or by the key that it names.
        """
        fields = Fields(verify_payload(document, one_time_public_hex, purpose=PURPOSE), "claim", BadSignature)
        claim = Claim(
            device=fields.name("device", "device"),
            public_key_hex=fields.text("public_key", most=64),
            recipient=fields.text("recipient", most=128),
            made_at=fields.time("made_at"),
        )
        try:
            proof = bytes.fromhex(fields.text("proof", most=128))
            own = Ed25519PublicKey.from_public_bytes(bytes.fromhex(claim.public_key_hex))
            own.verify(proof, canonical_json(claim._said()))
        except (InvalidSignature, ValueError):
            raise BadSignature(f"the claim of {claim.device!r} is not signed by the key that it names") from None
        return claim
