"""Answers signed requests for help, one after the other, on a thread of its own.

1. A request is answered once: that it was used is on disk before anything is done. One that has ended, or that was used
   before, is passed over.
2. What the device's own file does not allow (`[help] allow`), and what this client does not know, is refused, and the
   refusal is told.
3. An answer is cut to its bound, freed of secrets (`redaction`), sealed to the cloud and signed. It is tried again
   until the request ends; then it is dropped.
4. A restart is the application's to do (`Client.on_restart`): the desk only asks it to, at most once in ten minutes.
   The process that comes back tells that it did.
5. Nothing here touches a frame; a failure of it is a line in the log.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.background import step_back
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, BucketError, ConfigError
from edge_client.contract.help import MOST_REPLY_BYTES, HelpReply, HelpRequest, reply_key
from edge_client.contract.signing import canonical_json
from edge_client.help.memory import HelpMemory
from edge_client.help.redaction import Redaction
from edge_client.uplink.backoff import backoff_seconds
from edge_client.version import VERSION

log = logging.getLogger("edge_client.help")

RESTART_PAUSE = timedelta(minutes=10)
_LONGEST_PAUSE = 15.0  # between attempts to put an answer
_ROOM = 20_000  # of an answer, for all but its longest list

#: Gives the content of an answer.
Answers = Callable[[HelpRequest], Mapping[str, Any]]


class Refusal(AndonError):
    """A request is not followed; the message says why, to people far away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who answers: the device's name and key, and the recipient that answers are sealed to."""

    device: str
    key: Ed25519PrivateKey
    recipient: Callable[[], str | None]


class HelpDesk:
    """Takes requests and answers them.

    Args:
        identity: Who answers.
        bucket: Where answers go.
        memory: Remembers what was used.
        allow: Verbs that are allowed.
        answers: Verb → what gives its answer. `restart` is the desk's own.
        redaction: Takes secrets out.
        now: The time, aware.
        jitter: Uniform in [0, 1), for pauses.
    """

    def __init__(
        self,
        identity: Identity,
        bucket: Bucket,
        memory: HelpMemory,
        *,
        allow: Sequence[str],
        answers: Mapping[str, Answers],
        redaction: Redaction,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._bucket = bucket
        self._memory = memory
        self._allow = tuple(allow)
        self._answers = dict(answers)
        self._redaction = redaction
        self._now = now
        self._jitter = jitter
        self._restart: Callable[[], None] | None = None
        self._waiting: queue.SimpleQueue[HelpRequest | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._taken: set[str] = set()

    def on_restart(self, restart: Callable[[], None]) -> None:
        """Offer restarts: `restart` asks the application to end in order and begin anew. It returns at once."""
        self._restart = restart

    def start(self) -> None:
        """Start the thread; it first tells of a restart that this start completes."""
        self._thread = threading.Thread(target=self._work, name="andon-help", daemon=True)
        self._thread.start()

    def stop(self, *, timeout: float = 5.0) -> None:
        """End the thread; an answer under way is given up."""
        self._stopping.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def take(self, requests: Sequence[HelpRequest]) -> None:
        """Take what is signed now; what was taken before is passed over (rule 1)."""
        for request in requests:
            if request.id not in self._taken:
                self._taken.add(request.id)
                self._waiting.put(request)

    def answer(self, request: HelpRequest) -> None:
        """Answer a request, or pass it over (rules 1 to 4)."""
        state, now = self._memory.load(), self._now()
        if request.id in state.used or now >= request.expires_at:
            return
        self._memory.save(state.with_used(request, now))
        log.info("help request %s: %s", request.id, request.verb)
        try:
            self._check_allowed(request)
            if request.verb == "restart":
                self._begin_restart(request)
                return
            content = self._answers[request.verb](request)
        except Refusal as error:
            self._send(request, "refused", {"reason": str(error)})
        except Exception as error:  # an answer's boundary: that it failed is the answer
            log.exception("help request %s failed", request.id)
            self._send(request, "refused", {"reason": f"{request.verb} failed here: {error!r}"})
        else:
            self._send(request, "done", content)

    def tell_restarted(self) -> None:
        """Tell of the restart that this start completes, if one was asked for (rule 4)."""
        state = self._memory.load()
        if state.restarting is None:
            return
        self._memory.save(replace(state, restarting=None))
        asked = state.restarting
        try:
            request = HelpRequest(
                id=str(asked["id"]),
                verb="restart",
                issued_at=datetime.fromisoformat(asked["issued_at"]),
                expires_at=datetime.fromisoformat(asked["expires_at"]),
            )
            seconds = (self._now() - datetime.fromisoformat(asked["at"])).total_seconds()
        except (KeyError, ValueError, TypeError):
            return
        content = {"seconds": round(seconds, 1), "client_version": VERSION, "before": str(asked.get("client_version"))}
        self._send(request, "done", content)

    def _check_allowed(self, request: HelpRequest) -> None:
        if request.verb not in self._answers and request.verb != "restart":
            raise Refusal(f"this client does not know {request.verb!r}: update it")
        if request.verb not in self._allow:
            raise Refusal(f"this device's own file does not allow {request.verb!r} ([help] allow)")

    def _begin_restart(self, request: HelpRequest) -> None:
        state, now = self._memory.load(), self._now()
        if self._restart is None:
            raise Refusal(
                "the application on this device does not offer restarts (Client.on_restart); `andon-edge run` and "
                "`serve` do, save where frames come by standard input"
            )
        if state.restarted_at and now - datetime.fromisoformat(state.restarted_at) < RESTART_PAUSE:
            raise Refusal(f"it was restarted at {state.restarted_at}: at most once in {RESTART_PAUSE}")
        self._send(request, "accepted", {"client_version": VERSION})
        restarting = {**request.to_payload(), "at": now.isoformat(), "client_version": VERSION}
        self._memory.save(replace(state, restarted_at=now.isoformat(), restarting=restarting))
        log.warning("restarting: help request %s asks for it", request.id)
        self._restart()

    def _send(self, request: HelpRequest, state: str, content: Mapping[str, Any]) -> None:
        """Put an answer (rule 3)."""
        recipient = self._identity.recipient()
        if recipient is None:
            raise ConfigError("cloud.recipient is missing: an answer is sealed to it; add the table [cloud]")
        reply = HelpReply(
            device=self._identity.device,
            id=request.id,
            verb=request.verb,
            state=state,
            at=self._now(),
            content=cut(self._redaction.value(dict(content))),
        )
        document, key = reply.seal(self._identity.key, recipient), reply_key(reply.device, reply.id)
        failures = 0
        while not self._stopping.is_set():
            try:
                self._bucket.put(key, document, content_type="application/json")
                return
            except BucketError as error:
                failures += 1
                log.info("the answer to help request %s is not sent yet: %s", request.id, error)
                if self._now() >= request.expires_at:
                    return
                self._stopping.wait(min(_LONGEST_PAUSE, backoff_seconds(failures, self._jitter)))

    def _work(self) -> None:
        step_back()
        self._guarded(self.tell_restarted)
        while not self._stopping.is_set():
            request = self._waiting.get()
            if request is None:
                return
            self._guarded(partial(self.answer, request))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # the worker's boundary (rule 5)
            log.exception("a request for help could not be answered")
            time.sleep(0.1)


def cut(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer within its bound: of its longest list the first items go, and how many is told.

    >>> cut({"lines": ["a", "b"]})
    {'lines': ['a', 'b']}
    """
    value = dict(content)
    if len(canonical_json(value)) <= MOST_REPLY_BYTES:
        return value
    lists = {name: items for name, items in value.items() if isinstance(items, list)}
    if not lists:
        return {"reason": "the answer is too large, and nothing of it can be left out"}
    name = max(lists, key=lambda each: len(canonical_json(lists[each])))
    kept: list[Any] = []
    size = 0
    for item in reversed(lists[name]):
        size += len(canonical_json(item)) + 1
        if size > MOST_REPLY_BYTES - _ROOM:
            break
        kept.insert(0, item)
    return {**value, name: kept, "left_out": len(lists[name]) - len(kept)}
