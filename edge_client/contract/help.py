"""Remote help: what the cloud may ask of one device, and how the device answers. No port is open anywhere.

1. A request is a signed target of the role `rollouts`, `settings/DEVICE.help`, with an id that is used once and a time
   at which it ends. A device answers no request twice, and none that has ended.
2. The answer lies at `fleet/DEVICE/help/ID.json`: signed by the device, its content sealed to the cloud's recipient.
   Until it is done it may say that it was accepted.
3. It is small (`MOST_REPLY_BYTES`), and holds no secret and no image.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.contract.errors import BadRecord, BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.names import check_name
from edge_client.contract.sealing import seal, unseal
from edge_client.contract.signing import canonical_json, sign_payload, verify_payload

SCHEMA = 1
PURPOSE = "help"
VERBS = ("logs", "doctor", "restart")
STATES = ("accepted", "done", "refused")
MOST_REQUESTS = 8
MOST_LINES = 2000
MOST_REPLY_BYTES = 256_000  # of the content before it is sealed
MOST_ENVELOPE_BYTES = 2 * MOST_REPLY_BYTES
_DOCUMENT = "help requests"


def help_target(device: str) -> str:
    """TUF target path of the requests to a device."""
    return f"settings/{check_name(device, 'device')}.help"


def reply_key(device: str, request_id: str) -> str:
    """Key of a device's answer."""
    return f"fleet/{check_name(device, 'device')}/help/{check_name(request_id, 'help request')}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpRequest:
    """One request.

    Attributes:
        verb: One of `VERBS`; another one, of a newer cloud, is answered with a refusal.
        lines: Most lines of the log, the last ones.
    """

    id: str
    verb: str
    issued_at: datetime
    expires_at: datetime
    lines: int = 200

    def to_payload(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "id": self.id,
            "verb": self.verb,
            "issued_at": self.issued_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "lines": self.lines,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpRequests:
    """The document: requests that have not ended, oldest first."""

    requests: tuple[HelpRequest, ...] = ()

    def to_json(self) -> bytes:
        """Serialise for signing."""
        return canonical_json({"schema": SCHEMA, "requests": [request.to_payload() for request in self.requests]})

    @staticmethod
    def from_json(data: bytes) -> "HelpRequests":
        """Read and check.

        Raises:
            BadRelease: Not such a document.
        """
        fields = Fields(read_json(data, _DOCUMENT, BadRelease), _DOCUMENT, BadRelease)
        if fields.whole("schema") != SCHEMA:
            raise fields.wrong("schema", fields.raw("schema"), f"{SCHEMA}; update the client")
        return HelpRequests(requests=tuple(_request(each) for each in fields.objects("requests", most=MOST_REQUESTS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpReply:
    """An answer, or that a request was accepted.

    Attributes:
        state: One of `STATES`.
        content: Plain JSON values: `reason` of a refusal, `lines` of a log, `checks` of a doctor, what a restart did.
    """

    device: str
    id: str
    verb: str
    state: str
    at: datetime
    content: Mapping[str, Any]

    def seal(self, key: Ed25519PrivateKey, recipient: str) -> bytes:
        """Return the signed document (rule 2); the signature is over what is sealed.

        Raises:
            BadRecord: The content is too large.
        """
        plain = canonical_json(dict(self.content))
        if len(plain) > MOST_REPLY_BYTES:
            raise BadRecord(
                f"the answer to help request {self.id!r} has {len(plain)} bytes: at most {MOST_REPLY_BYTES}"
            )
        payload = {
            "schema": SCHEMA,
            "device": self.device,
            "id": self.id,
            "verb": self.verb,
            "state": self.state,
            "at": self.at.isoformat(),
            "sealed": base64.b64encode(seal(plain, recipient)).decode(),
        }
        return sign_payload(payload, key, purpose=PURPOSE)

    @staticmethod
    def open(document: bytes, public_key_hex: str, identity: str) -> "HelpReply":
        """Read an answer.

        Raises:
            BadSignature: Not signed by that device's key.
            BadSample: Not sealed to this identity.
            BadRecord: Signed, but its content is not acceptable.
        """
        payload = verify_payload(document, public_key_hex, purpose=PURPOSE)
        fields = Fields(payload, "help reply", BadRecord)
        if fields.whole("schema") != SCHEMA:
            raise fields.wrong("schema", fields.raw("schema"), f"{SCHEMA}; update the cloud side")
        state = fields.text("state", most=16)
        if state not in STATES:
            raise fields.wrong("state", state, f"one of {STATES}")
        try:
            sealed = base64.b64decode(fields.text("sealed", most=MOST_ENVELOPE_BYTES), validate=True)
        except (binascii.Error, ValueError) as error:
            raise fields.wrong("sealed", "…", "bytes in base 64") from error
        content = read_json(unseal(sealed, identity), "help reply: content", BadRecord)
        if not isinstance(content, dict):
            raise fields.wrong("content", content, "an object")
        return HelpReply(
            device=fields.name("device", "device"),
            id=fields.name("id", "help request"),
            verb=fields.text("verb", most=32),
            state=state,
            at=fields.time("at"),
            content=content,
        )


def _request(fields: Fields) -> HelpRequest:
    return HelpRequest(
        id=fields.name("id", "help request"),
        verb=fields.text("verb", most=32),
        issued_at=fields.time("issued_at"),
        expires_at=fields.time("expires_at"),
        lines=fields.whole("lines", least=1, most=MOST_LINES) if fields.has("lines") else 200,
    )
