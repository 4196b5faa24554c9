"""The device's help desk: each request once, bounded, without secrets; restarts never in a loop (rules by number)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.errors import NotFound, Unavailable
from edge_client.contract.help import MOST_ENVELOPE_BYTES, MOST_REPLY_BYTES, HelpReply, HelpRequest, reply_key
from edge_client.contract.sealing import generate_identity, load_identity
from edge_client.contract.signing import canonical_json, generate_private_key, load_private_key
from edge_client.help.desk import RESTART_PAUSE, HelpDesk, Identity, cut
from edge_client.help.memory import HelpMemory
from edge_client.help.recent_logs import RecentLogs
from edge_client.help.redaction import REMOVED, Redaction

AT = datetime(2026, 6, 3, 12, tzinfo=UTC)
SECRET = "s3cr3t-of-this-device"


class Flaky(DirectoryBucket):
    """A bucket that is away for the first few puts."""

    away = 0

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        super().put(key, data, content_type=content_type)


class World:
    """A desk, what it answered, and the cloud that reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = AT
        self.bucket = Flaky(folder / "bucket")
        self.public = generate_private_key(folder / "device.key")
        self.recipient = generate_identity(folder / "cloud.age")
        self.identity = load_identity(folder / "cloud.age")
        self.answered: list[str] = []
        self.content: Mapping[str, Any] = {"lines": ["all is well"]}
        self.restarts = 0

    def desk(self, *, allow: tuple[str, ...] = ("logs", "restart"), bucket: Bucket | None = None) -> HelpDesk:
        """A new process's desk; what it remembers is on disk."""
        return HelpDesk(
            Identity(
                device="line-1", key=load_private_key(self.folder / "device.key"), recipient=lambda: self.recipient
            ),
            bucket or self.bucket,
            HelpMemory(self.folder / "help.json"),
            allow=allow,
            answers={"logs": self._logs},
            redaction=Redaction([SECRET]),
            now=lambda: self.now,
            jitter=lambda: 0.0,
        )

    def restartable(self) -> HelpDesk:
        desk = self.desk()
        desk.on_restart(self._restart)
        return desk

    def request(self, verb: str = "logs", id: str = "r1", minutes: float = 5) -> HelpRequest:
        return HelpRequest(id=id, verb=verb, issued_at=AT, expires_at=AT + timedelta(minutes=minutes))

    def reply(self, id: str = "r1") -> HelpReply | None:
        try:
            data = self.bucket.get(reply_key("line-1", id), max_bytes=MOST_ENVELOPE_BYTES)
        except NotFound:
            return None
        return HelpReply.open(data, self.public, self.identity)

    def _logs(self, request: HelpRequest) -> Mapping[str, Any]:
        self.answered.append(request.id)
        return self.content

    def _restart(self) -> None:
        self.restarts += 1


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def state_of(reply: HelpReply | None) -> str:
    return reply.state if reply is not None else "none"


def test_a_request_is_answered_once_also_over_a_restart_of_the_process(world: World) -> None:  # rule 1
    world.desk().answer(world.request())
    assert world.reply() is not None
    world.desk().answer(world.request())
    assert world.answered == ["r1"]


def test_what_was_used_is_on_disk_before_anything_is_done(world: World) -> None:  # rule 1
    def dies(_: HelpRequest) -> Mapping[str, Any]:
        raise KeyboardInterrupt  # as a kill would: nothing after it runs

    desk = world.desk()
    desk._answers["logs"] = dies
    with pytest.raises(KeyboardInterrupt):
        desk.answer(world.request())
    world.desk().answer(world.request())
    assert world.answered == []


def test_a_disk_that_cannot_remember_is_no_reason_to_answer_twice(world: World) -> None:  # rule 1
    desk = world.desk()
    (world.folder / ".help.json.new").mkdir()
    with pytest.raises(OSError, match=r"help\.json"):
        desk.answer(world.request())
    assert world.answered == []


def test_a_request_that_ended_is_passed_over(world: World) -> None:  # rule 1
    world.now = AT + timedelta(minutes=5)
    world.desk().answer(world.request())
    assert (world.answered, world.reply()) == ([], None)


@pytest.mark.parametrize(("verb", "says"), [("doctor", "does not know 'doctor'"), ("restart", "[help] allow")])
def test_what_is_not_allowed_or_not_known_is_refused_and_told(world: World, verb: str, says: str) -> None:  # rule 2
    world.desk(allow=("logs", "doctor")).answer(world.request(verb))
    reply = world.reply()
    assert state_of(reply) == "refused"
    assert reply is not None
    assert says in reply.content["reason"]


def test_an_answer_that_fails_is_told_and_the_desk_goes_on(world: World) -> None:
    desk = world.desk()
    desk._answers["logs"] = lambda _: {}[0]
    desk.answer(world.request())
    assert state_of(world.reply()) == "refused"


def test_an_answer_holds_no_secret(world: World) -> None:  # rule 3
    world.content = {
        "lines": [f"put with {SECRET}", "secret_access_key = 'AAAAbbbb'", "Authorization: Bearer abc.def.ghi"],
        "nested": {"pem": "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----", "n": 3},
    }
    world.desk().answer(world.request())
    reply = world.reply()
    assert reply is not None
    told = json.dumps(reply.content)
    assert not any(secret in told for secret in (SECRET, "AAAAbbbb", "abc.def.ghi", "MC4CAQ"))
    assert reply.content["nested"]["n"] == 3


def test_an_answer_is_cut_to_its_bound_the_last_lines_stay(world: World) -> None:  # rule 3
    world.content = {"lines": [f"{i:05d} " + "é" * 500 for i in range(800)], "status": {"frames": 1}}
    world.desk().answer(world.request())
    reply = world.reply()
    assert reply is not None
    assert reply.content["lines"][-1].startswith("00799")
    assert reply.content["left_out"] + len(reply.content["lines"]) == 800
    assert reply.content["status"] == {"frames": 1}
    assert len(canonical_json(cut({"one": "x" * MOST_REPLY_BYTES}))) < 1000


def test_an_answer_waits_for_the_bucket(world: World) -> None:  # rule 3
    world.bucket.away = 3
    world.desk().answer(world.request())
    assert state_of(world.reply()) == "done"


def test_a_restart_is_accepted_then_told_by_the_process_that_comes_back(world: World) -> None:  # rule 4
    world.restartable().answer(world.request("restart"))
    assert (world.restarts, state_of(world.reply())) == (1, "accepted")
    world.now += timedelta(seconds=4)
    world.desk().tell_restarted()
    reply = world.reply()
    assert state_of(reply) == "done"
    assert reply is not None
    assert reply.content["seconds"] == 4.0
    world.desk().tell_restarted()  # the next start has nothing to tell
    assert world.restarts == 1


def test_restarts_never_come_in_a_loop(world: World) -> None:  # rule 4
    world.restartable().answer(world.request("restart"))
    world.restartable().answer(world.request("restart"))  # the same, after the restart
    world.restartable().answer(world.request("restart", id="r2"))  # another, at once
    assert (world.restarts, state_of(world.reply("r2"))) == (1, "refused")
    world.now = AT + RESTART_PAUSE
    world.restartable().answer(world.request("restart", id="r3", minutes=30))
    assert world.restarts == 2


def test_an_application_that_offers_no_restart_is_left_alone(world: World) -> None:  # rule 4
    world.desk().answer(world.request("restart"))
    reply = world.reply()
    assert state_of(reply) == "refused"
    assert reply is not None
    assert "Client.on_restart" in reply.content["reason"]


def test_a_damaged_memory_counts_as_empty(world: World) -> None:
    for damage in ("", "{}", "[1]", '{"used": {"a": "yesterday"}, "restarted_at": "", "restarting": null}'):
        (world.folder / "help.json").write_text(damage)
        assert HelpMemory(world.folder / "help.json").load().used == {}


def test_recent_logs_keep_the_last_lines_and_stop_when_nobody_listens() -> None:
    logs, logger = RecentLogs(lines=3), logging.getLogger("edge_client.test_help")
    before = logging.getLogger("edge_client").handlers[:]
    logs.listen()
    logs.listen()
    for i in range(5):
        logger.warning("line %d\nof two", i)
    logs.leave()
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("last")
    logs.leave()
    logger.warning("unheard")
    assert [line.split(": ", 1)[1][:6] for line in logs.last(3)] == ["line 3", "line 4", "last |"]
    assert "ValueError: why" in logs.last(1)[0]
    assert not any("\n" in line for line in logs.last(3))
    assert logging.getLogger("edge_client").handlers == before


@pytest.mark.parametrize(
    "text",
    [
        "AGE-SECRET-KEY-1QQQQQQQQQ",
        "AKIAIOSFODNN7EXAMPLE",
        "https://user:hunter22@host/path",
        "?X-Amz-Credential=AKIA%2F20260101&X-Amz-Signature=deadbeef",
        "password=hunter22",
        '{"token": "hunter22"}',
        "Basic aHVudGVyMjI=",
    ],
)
def test_what_looks_like_a_secret_is_removed(text: str) -> None:
    told = Redaction([]).text(f"before {text} after")
    assert REMOVED in told
    assert told.startswith("before ")
    assert told.endswith(" after")
    assert not any(secret in told for secret in ("hunter22", "QQQQ", "EXAMPLE", "deadbeef", "aHVudGVyMjI", "20260101"))
