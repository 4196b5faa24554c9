"""The two ways out: a signed POST and a mail.

1. Webhook: a JSON document with an id that repeats when a delivery is repeated. ``X-Andon-Signature`` is
   ``t=SECONDS,v1=HEX``: HMAC-SHA-256 of ``SECONDS.BODY`` with the secret. ``text`` is what chat tools show.
2. Mail: over TLS that is verified, by STARTTLS or from the first byte; a password is never sent without.
3. What goes wrong is told without addresses' paths, secrets and answers' bodies: paths of webhooks are secrets too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import smtplib
import ssl
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from data.notices import Notice
from data.policy import NotifyPolicy
from edge_client.contract.errors import AndonError, ConfigError
from edge_client.contract.private_files import write_private

_SECONDS = 15.0
WEBHOOK, MAIL = "webhook", "mail"


class NotSent(AndonError):
    """A notice could not be sent now; the message says why, and holds no secret."""


def channels_of(policy: NotifyPolicy) -> dict[str, Callable[[NotifyPolicy, Path, Notice, datetime], None]]:
    """The channels that policy names, and what sends there."""
    named = {WEBHOOK: (policy.webhook_url, send_webhook), MAIL: (policy.mail_to, send_mail)}
    return {channel: send for channel, (address, send) in named.items() if address.strip()}


def send_webhook(policy: NotifyPolicy, home: Path, notice: Notice, now: datetime) -> None:
    """Post a notice (rule 1).

    Raises:
        NotSent: The receiver is away or does not take it.
        ConfigError: The secret's file cannot be read.
    """
    body = body_of(notice)
    host = urlsplit(policy.webhook_url).hostname
    headers = {
        "Content-Type": "application/json",
        "X-Andon-Event": event_id(notice),
        "X-Andon-Signature": signature(webhook_secret(home / policy.webhook_secret_file), body, int(now.timestamp())),
    }
    try:
        answer = httpx.post(policy.webhook_url, content=body, headers=headers, timeout=_SECONDS, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotSent(f"webhook at {host}: no answer ({type(error).__name__})") from None
    if not answer.is_success:
        raise NotSent(f"webhook at {host}: answered {answer.status_code}, expected 2xx")


def body_of(notice: Notice) -> bytes:
    """The document that a webhook gets."""
    document = {
        "id": event_id(notice),
        "kind": notice.kind,
        "inspection": notice.inspection,
        "at": notice.at.isoformat(),
        "subject": notice.subject,
        "text": f"{notice.subject}\n{notice.text}",
        "facts": dict(notice.facts),
    }
    return json.dumps(document, ensure_ascii=False, default=str).encode()


def signature(secret: bytes, body: bytes, seconds: int) -> str:
    """The value of ``X-Andon-Signature``.

    >>> signature(b"secret", b"{}", 1000)[:12]
    't=1000,v1=c1'
    """
    signed = hmac.new(secret, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={signed}"


def webhook_secret(path: Path) -> bytes:
    """The secret; made if there is none.

    Raises:
        ConfigError: It cannot be read or made.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(path, secrets.token_hex(32).encode())
        found = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{path}: the webhook's secret cannot be read ({error.strerror or error})") from error
    if len(found) < 16:
        raise ConfigError(f"{path}: has {len(found)} bytes, expected a secret of 16 or more; delete it for a new one")
    return found


def send_mail(policy: NotifyPolicy, home: Path, notice: Notice, now: datetime) -> None:
    """Send a notice to everybody that policy names (rule 2).

    Raises:
        NotSent: The server is away, is not who it should be, or does not take it.
        ConfigError: The password's file cannot be read.
    """
    where = f"mail server {policy.mail_host}:{policy.mail_port}"
    message = mail_of(policy, notice, now)
    try:
        with _connected(policy) as server:
            if policy.mail_user:
                if policy.mail_security == "none":
                    raise NotSent(f"{where}: a password is never sent without TLS; set mail_security")
                server.login(policy.mail_user, _password(home / policy.mail_password_file))
            refused = server.send_message(message)
    except smtplib.SMTPAuthenticationError:
        raise NotSent(f"{where}: does not take the user name and password") from None
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"{where}: answered {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise NotSent(f"{where}: takes none of the {len(error.recipients)} addresses") from None
    except ssl.SSLError as error:
        raise NotSent(f"{where}: its TLS is not trusted ({error.reason}); see mail_ca_file") from None
    except (smtplib.SMTPException, OSError) as error:
        raise NotSent(f"{where}: no answer ({type(error).__name__})") from None
    if refused:
        raise NotSent(f"{where}: does not take {len(refused)} of the addresses")


def mail_of(policy: NotifyPolicy, notice: Notice, now: datetime) -> EmailMessage:
    """The mail of a notice. Line breaks in a subject, which would be headers, are spaces."""
    message = EmailMessage()
    message["Subject"] = "[Andon] " + " ".join(notice.subject.split())
    message["From"] = policy.mail_from
    message["To"] = ", ".join(part.strip() for part in policy.mail_to.split(",") if part.strip())
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{event_id(notice)}@andon>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{notice.text}\n\n{notice.at:%Y-%m-%d %H:%M} UTC\n")
    return message


def event_id(notice: Notice) -> str:
    """The same for every delivery of one event."""
    return hashlib.sha256(notice.key.encode()).hexdigest()[:32]


def _connected(policy: NotifyPolicy) -> smtplib.SMTP:
    if policy.mail_security == "none":
        return smtplib.SMTP(policy.mail_host, policy.mail_port, timeout=_SECONDS)
    context = ssl.create_default_context(cafile=policy.mail_ca_file or None)
    if policy.mail_security == "tls":
        return smtplib.SMTP_SSL(policy.mail_host, policy.mail_port, timeout=_SECONDS, context=context)
    server = smtplib.SMTP(policy.mail_host, policy.mail_port, timeout=_SECONDS)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _password(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others can read it; run: chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the mail server's password cannot be read ({error})") from error
