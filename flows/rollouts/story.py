"""What a version's tags in MLflow tell of its rollout. Pure."""

from data.rollouts.values import Rollout, State
from flows.tags import Tag

_VERBS = {
    State.RUNNING: "rolling out to",
    State.HELD: "held on its way to",
    State.HALTED: "halted on its way to",
    State.REVERTED: "taken back from",
    State.SUPERSEDED: "no longer on its way to",
    State.DONE: "released to",
}


def story(rollout: Rollout) -> dict[str, str]:
    """The tags of the version of a rollout that is not done."""
    comparisons = [each["sentence"] for each in rollout.evidence.get("comparisons", ())]
    return {
        str(Tag.ROLLOUT_STATE): f"{_VERBS[rollout.state]} {rollout.channel}, {rollout.stage_words()}: {rollout.reason}",
        str(Tag.EVIDENCE): "\n".join(comparisons) or "nothing to compare yet",
    }
