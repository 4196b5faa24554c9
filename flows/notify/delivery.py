"""Note what wants a person, and tell it: a part of every watch run, and `andon notify`.

1. Noting and sending are apart: an event is noted first, in one transaction, and sent from the outbox.
2. A channel that fails holds up neither the other one nor what called this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from data.notices import Notice, due, mark_failed, mark_sent, note
from data.policy import NotifyPolicy
from data.workspace import Workspace
from edge_client.contract.errors import AndonError, ConfigError
from flows.exclusive import only_one
from flows.notify.channels import channels_of
from flows.notify.events import KINDS, events

_log = logging.getLogger("andon.notify")
_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one run noted and sent; `failed` says what went wrong, for each notice and channel."""

    noted: int = 0
    sent: int = 0
    failed: tuple[str, ...] = ()


def notify_once(
    workspace: Workspace,
    more: Iterable[Notice] = (),
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait_seconds: float = _WAIT_SECONDS,
) -> Told:
    """Note what wants a person, with `more` that a caller knows of, and send what is due.

    Raises:
        ConfigError: policy.toml names an event that is none.
        Busy: Another run was at it for all of `wait_seconds`.
    """
    policy = workspace.policy()
    channels = channels_of(policy.notify)
    if not channels:
        return Told()
    wanted = wanted_kinds(policy.notify)
    catalog = workspace.catalog()
    with only_one(workspace.home, "notify", wait_seconds=wait_seconds):
        found = [notice for notice in (*events(catalog, policy, clock()), *more) if notice.kind in wanted]
        noted = note(catalog, found, list(channels), now=clock())
        sent, failed = 0, []
        for outgoing in due(catalog, now=clock()):
            send = channels.get(outgoing.channel)
            if send is None:  # switched off since
                mark_failed(catalog, outgoing, "the channel is switched off", clock())
                continue
            try:
                send(policy.notify, workspace.home, outgoing.notice, clock())
            except AndonError as error:
                _log.warning("%s: %s", outgoing.notice.key, error)
                failed.append(f"{outgoing.notice.key}: {error}")
                mark_failed(catalog, outgoing, str(error), clock())
            else:
                mark_sent(catalog, outgoing, clock())
                sent += 1
    return Told(noted=noted, sent=sent, failed=tuple(failed))


def wanted_kinds(policy: NotifyPolicy) -> frozenset[str]:
    """The kinds of events that policy names.

    Raises:
        ConfigError: One of them is none.
    """
    named = {part.strip() for part in policy.events.split(",") if part.strip()}
    unknown = sorted(named - set(KINDS))
    if unknown:
        raise ConfigError(f"policy.toml [notify] events names {unknown[0]!r}; expected some of {', '.join(KINDS)}")
    return frozenset(named)
