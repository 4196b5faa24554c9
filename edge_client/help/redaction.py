"""Takes secrets out of what leaves the device in answer to a request for help. Pure.

1. Every secret that this device knows of itself is taken out wherever it stands: its account in the bucket, its key.
2. What looks like one is taken out too: a key in PEM, an age identity, a password in an address, a bearer token, the
   signature of a signed address, the value beside a name such as `password` or `secret`.
3. When in doubt more goes: an answer is read by people, and they can ask again.

>>> Redaction(["s3cr3t-of-device"]).text("put failed for s3cr3t-of-device at https://me:pw@bucket/x?X-Amz-Signature=ab12")
'put failed for [removed] at https://[removed]@bucket/x?X-Amz-Signature=[removed]'
"""

import re
from collections.abc import Iterable
from typing import Any

REMOVED = "[removed]"
_LEAST_LENGTH = 6  # a shorter "secret" would take half of every text out
_LOOKS_LIKE = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), REMOVED),
    (re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]+", re.I), REMOVED),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), REMOVED),
    (re.compile(r"(?<=://)[^/\s@'\"]+(?=@)"), REMOVED),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {REMOVED}"),
    (re.compile(r"(?i)(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s'\"]+"), rf"\1{REMOVED}"),
    (re.compile(r"(?i)(Signature=|Credential=)[^,&\s'\"]+"), rf"\1{REMOVED}"),
    (
        re.compile(
            r"(?i)((?:pass(?:word|phrase)?|secret(?:_access)?(?:_key)?|access_key_id|api[_-]?key|token)"
            r"['\"]?\s*[=:]\s*['\"]?)[^\s'\",;}]+"
        ),
        rf"\1{REMOVED}",
    ),
)


class Redaction:
    """Takes secrets out of texts.

    Args:
        secrets: What this device knows to be one.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # the longest first: one may be a part of another
        self._secrets = sorted({s for s in secrets if len(s) >= _LEAST_LENGTH}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, REMOVED)
        for pattern, instead in _LOOKS_LIKE:
            text = pattern.sub(instead, text)
        return text

    def value(self, value: Any) -> Any:
        """Return plain JSON values without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {str(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value
