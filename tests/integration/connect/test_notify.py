"""Notices to a real mail server and a real HTTP receiver: once each, signed, over TLS, no secret told."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from data.catalog.models import DeviceRow, DriftAlarmRow, RolloutRow, SilenceAlarmRow
from data.decisions import GateDecision, record_decision
from data.inspections import create_inspection
from data.workspace import Workspace
from flows.notify.delivery import notify_once
from tests.integration.flows.stack import ROOT, free_port

NAME, NOW = "caps", datetime(2030, 5, 1, 12, tzinfo=UTC)
SECRET, PASSWORD, PATH = "a secret of the webhook", "a password of the mail", "/hooks/a-path-that-is-secret"


@dataclass
class Receiver:
    """An HTTP server that answers as it is told and keeps what it gets."""

    answer: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                self.send_response(receiver.answer)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_port}{PATH}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    yield receiver
    assert receiver.server is not None
    receiver.server.shutdown()
    receiver.server.server_close()


class Mails:
    """aiosmtpd's handler: keeps what comes in, with whether it came over TLS and by whom."""

    def __init__(self) -> None:
        self.got: list[tuple[Message, bool, list[str]]] = []

    async def handle_DATA(self, _server: SMTP, session: Any, envelope: Any) -> str:
        self.got.append((message_from_bytes(envelope.content), session.ssl is not None, list(envelope.rcpt_tos)))
        return "250 OK"


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, private = folder / "mail.pem", folder / "mail.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, private


@dataclass
class Mailbox:
    mails: Mails
    port: int
    authority: Path


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    cert, private = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, private)

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"andon", PASSWORD.encode()), handled=False)

    mails = Mails()
    controller = Controller(
        mails, hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True,
        authenticator=authenticate, auth_required=True,
    )  # fmt: skip
    controller.start()
    yield Mailbox(mails, controller.port, cert)
    controller.stop()


@pytest.fixture
def workspace(tmp_path: Path, receiver: Receiver, mailbox: Mailbox) -> Workspace:
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True)
    (home / "stack.json").write_text(json.dumps({"urls": {}, "bucket": {"name": "andon"}}))
    (home / "secrets.json").write_text(json.dumps({"access_key_id": "a", "secret_access_key": "b"}))
    (home / "keys" / "webhook.secret").write_text(SECRET)
    (home / "keys" / "mail.password").write_text(PASSWORD)
    (home / "keys" / "mail.password").chmod(0o600)
    policy(home, receiver, mailbox)
    workspace = Workspace.open(home, environ={})
    create_inspection(workspace.catalog(), NAME, [("ok", "ok"), ("crack", "defect")])
    return workspace


def policy(home: Path, receiver: Receiver, mailbox: Mailbox, **more: str) -> None:
    values = {
        "webhook_url": receiver.url, "mail_to": "ann@example.org, ben@example.org", "mail_host": "127.0.0.1",
        "mail_user": "andon", "mail_ca_file": str(mailbox.authority), **more,
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (home / "policy.toml").write_text("\n".join(["[notify]", f"mail_port = {mailbox.port}", *lines]) + "\n")


def happen(workspace: Workspace, at: datetime = NOW) -> None:
    """A decision waits, a line drifts, two devices of a site and one of another are silent, a rollout is halted."""
    decision = GateDecision(
        inspection=NAME, version="4", champion_version="3", run_id="r4", snapshot_id=None, engine_id="e4", at=at,
        answer="promote", reasons=["field AP 0.9 against 0.8"],
    )  # fmt: skip
    record_decision(workspace.catalog(), decision)
    with workspace.catalog().session() as session:
        for device in ("d1", "d2", "d3"):
            session.add(DeviceRow(name=device, site="a", station="s", public_key_hex="0" * 64, registered_at=at))
        session.flush()
        session.add(
            DriftAlarmRow(
                inspection=NAME, device="d1", station="west", kind="pictures", cause="light", words="darker",
                figures={}, at=at, window_at=at, began_at=None,
            )
        )  # fmt: skip
        for device, site in (("d1", "a"), ("d2", "a"), ("d3", "b")):
            session.add(SilenceAlarmRow(device=device, site=site, heard_at=None, raised_at=at))
        events = [
            {"at": at.isoformat(), "who": "the release flow", "what": "halt", "why": "more requests are lost"},
            {"at": at.isoformat(), "who": "ann", "what": "halt", "why": "a person's own"},
        ]
        session.add(
            RolloutRow(
                inspection=NAME, channel="stable", version="3", state="halted", stage=0, started_at=at, stage_at=at,
                ready_at=None, reason="", revision=1, signed_revision=1, evidence={}, events=events,
                plan={"engines": [], "base_version": "2", "base": [], "salt": "s", "stages": []},
            )
        )  # fmt: skip


def test_each_event_is_told_once_on_each_channel(workspace: Workspace, receiver: Receiver, mailbox: Mailbox) -> None:
    happen(workspace)
    first = notify_once(workspace, clock=lambda: NOW)
    assert (first.noted, first.sent, first.failed) == (10, 10, ())
    again = notify_once(workspace, clock=lambda: NOW + timedelta(hours=1))
    assert (again.noted, again.sent) == (0, 0)
    kinds = sorted(json.loads(body)["kind"] for _, body in receiver.got)
    assert kinds == ["decision", "drift", "rollout", "silence", "silence"]
    (silent,) = [d for _, b in receiver.got if (d := json.loads(b))["facts"].get("site") == "a"]
    assert silent["facts"]["devices"] == ["d1", "d2"]
    for headers, body in receiver.got:
        seconds, _, given = headers["X-Andon-Signature"].removeprefix("t=").partition(",v1=")
        expected = hmac.new(SECRET.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(given, expected)
        assert headers["X-Andon-Event"] == json.loads(body)["id"]
    assert len(mailbox.mails.got) == 5
    for message, over_tls, to in mailbox.mails.got:
        assert over_tls
        assert to == ["ann@example.org", "ben@example.org"]
        assert str(message["Subject"]).startswith("[Andon] ")


def test_a_receiver_that_fails_gets_it_later_and_holds_up_nobody(
    workspace: Workspace, receiver: Receiver, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="andon")
    happen(workspace)
    receiver.answer = 503
    told = notify_once(workspace, clock=lambda: NOW)
    assert (told.sent, len(told.failed), len(mailbox.mails.got)) == (5, 5, 5)
    early = notify_once(workspace, clock=lambda: NOW + timedelta(seconds=30))
    assert (early.sent, early.failed) == (0, ())
    receiver.answer = 200
    later = notify_once(workspace, clock=lambda: NOW + timedelta(seconds=61))
    assert (later.sent, len(mailbox.mails.got), len(receiver.got)) == (5, 5, 10)
    ids = [json.loads(body)["id"] for _, body in receiver.got]
    assert sorted(ids[:5]) == sorted(ids[5:])
    said = caplog.text + str(told.failed)
    assert "503" in said
    for secret in (SECRET, PASSWORD, PATH):
        assert secret not in said


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mail_ca_file": ""}, "not trusted"),
        ({"mail_user": "somebody"}, "user name and password"),
        ({"mail_security": "none"}, "never sent without TLS"),
    ],
)
def test_mail_goes_over_trusted_tls_or_not_at_all(
    workspace: Workspace, receiver: Receiver, mailbox: Mailbox, changed: dict[str, str], words: str
) -> None:
    policy(workspace.home, receiver, mailbox, **changed)
    happen(workspace)
    told = notify_once(workspace, clock=lambda: NOW)
    assert mailbox.mails.got == []
    assert len(told.failed) == 5
    assert words in told.failed[0]
    assert PASSWORD not in str(told.failed)


def test_what_is_older_than_a_day_is_not_told(workspace: Workspace, receiver: Receiver) -> None:
    happen(workspace, NOW - timedelta(days=2))
    assert notify_once(workspace, clock=lambda: NOW).noted == 0


def test_the_command_tries_every_channel(workspace: Workspace, receiver: Receiver, mailbox: Mailbox) -> None:
    command = [sys.executable, "-m", "infra.cli.main", "notify", "test", "--home", str(workspace.home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert json.loads(done.stdout) == {"webhook": "sent", "mail": "sent"}, done.stderr
    assert (done.returncode, len(receiver.got), len(mailbox.mails.got)) == (0, 1, 1)
