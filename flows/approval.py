"""Whether a version may be released, and who said so. Pure rules.

1. The gate said promote: yes. Who approved is noted already (policy), else whoever moved the alias in MLflow did.
2. The gate had not enough evidence: a person who moves the alias decides; the tag says that they did.
3. The gate refused: moving an alias is not enough. A person must also write the reason into the tag `andon.override`;
   one careless click ships nothing.
4. A version without a decision was not made by `retrain`: never.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.tags import Tag

PROMOTE, REJECT, NOT_ENOUGH = "promote", "reject", "not_enough"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The answer: `by` when it may be released, `refusal` when not."""

    by: str = ""
    refusal: str = ""

    @property
    def given(self) -> bool:
        """Whether the version may be released."""
        return bool(self.by)


def approval_of(tags: Mapping[str, str], alias: str) -> Approval:
    """Judge a version by its tags, given the alias that points at it.

    >>> approval_of({"andon.decision": "promote", "andon.engine_sha256": "ab"}, "champion").by
    'a person: moved the alias champion in MLflow'
    >>> approval_of({"andon.decision": "reject", "andon.engine_sha256": "ab"}, "champion").given
    False
    """
    decision = tags.get(Tag.DECISION, "")
    if not tags.get(Tag.ENGINE_SHA256) or decision not in (PROMOTE, REJECT, NOT_ENOUGH):
        return Approval(refusal="it has no gate decision; only versions made by `andon retrain` are released")
    moved = f"a person: moved the alias {alias} in MLflow"
    if decision == REJECT:
        reason = tags.get(Tag.OVERRIDE, "").strip()
        if not reason:
            return Approval(
                refusal=f"the gate refused it ({tags.get(Tag.REASONS) or 'see its gate report'}); to release it "
                f"all the same, write why into its tag {Tag.OVERRIDE}, or move the alias {alias} back"
            )
        return Approval(by=f"{moved}, and overrode the gate: {reason}")
    if tags.get(Tag.APPROVED_BY):
        return Approval(by=tags[Tag.APPROVED_BY])
    return Approval(by=moved if decision == PROMOTE else f"{moved}; the gate had not enough evidence")
