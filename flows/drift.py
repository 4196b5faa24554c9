"""Looking for drift, and what follows by policy.

1. Every watch run looks; what was ingested since is all that a look costs.
2. An alarm does what the policy's `on_alarm` says: nothing; `labels` asks people for labels of what came since; with
   `retrain` a retrain also starts after fewer new labels than usual, as long as the alarm is open.
3. What is asked for is drawn with logged probabilities while there are samples that no draw was offered, else as an
   extra. The labelling budget holds for it too.
4. An alarm is answered once: its action is in the catalog, so a run that was killed goes on where it was.
"""

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime

from data.catalog import Catalog
from data.draws import Uniform, budget_left, draw, draw_extra
from data.drift.alarms import DriftAlarm, list_alarms, record_action
from data.policy import Policy
from data.queue import queue_size
from data.workspace import Workspace
from edge_client.contract.errors import ConfigError

_log = logging.getLogger("andon.drift")
NOTHING, LABELS, RETRAIN = "nothing", "labels", "retrain"


def watch_drift(
    workspace: Workspace, inspection: str, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> list[DriftAlarm]:
    """Look at one inspection and answer its alarms. Returns those that were answered now."""
    policy, catalog = workspace.policy(), workspace.catalog()
    if policy.drift.watch:
        from data.drift.look import look  # scipy and pyarrow: the sentinel, which imports this too, needs neither

        for alarm in look(catalog, workspace.lake(), inspection, policy.drift, at=clock()):
            _log.warning("%s, %s: %s", alarm.inspection, alarm.device, alarm.words)
    return answer(catalog, inspection, policy, uniform=random.SystemRandom(), at=clock())


def answer(catalog: Catalog, inspection: str, policy: Policy, *, uniform: Uniform, at: datetime) -> list[DriftAlarm]:
    """Do what policy says about alarms that nothing was done about yet (rule 4). Returns them."""
    action = action_of(policy)
    unanswered = [alarm for alarm in list_alarms(catalog, inspection, only_open=True) if not alarm.action]
    for alarm in unanswered:
        asked = 0 if action == NOTHING else ask_for_labels(catalog, alarm, policy, uniform=uniform, at=at)
        record_action(catalog, alarm.id, action, asked)
    return unanswered


def ask_for_labels(catalog: Catalog, alarm: DriftAlarm, policy: Policy, *, uniform: Uniform, at: datetime) -> int:
    """Draw samples for people (rule 3). Returns how many."""
    name = alarm.inspection
    n = min(policy.drift.labels, budget_left(catalog, name, policy.labelling.budget_share))
    if n < 1:
        return 0
    ask = draw if queue_size(catalog, name).not_offered else draw_extra
    return len(ask(catalog, name, n, random=uniform, at=at).items)


def labels_that_start_a_retrain(catalog: Catalog, inspection: str, policy: Policy) -> int:
    """How many new labels start a retrain now (rule 2)."""
    usual = policy.retrain.min_new_labels
    if any(alarm.action == RETRAIN for alarm in list_alarms(catalog, inspection, only_open=True)):
        return min(usual, policy.drift.retrain_after)
    return usual


def action_of(policy: Policy) -> str:
    """The policy's answer to an alarm.

    Raises:
        ConfigError: It is none of the three.
    """
    action = policy.drift.on_alarm
    if action not in (NOTHING, LABELS, RETRAIN):
        raise ConfigError(f"policy.toml [drift] on_alarm = {action!r}: expected nothing, labels or retrain")
    return action
