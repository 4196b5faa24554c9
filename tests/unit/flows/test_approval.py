"""Who may release what (rules 1 to 4 of flows/approval.py)."""

import pytest

from flows.approval import approval_of
from flows.tags import Tag

MADE = {Tag.ENGINE_SHA256: "ab"}


def test_a_promoted_version_is_released_in_the_name_of_who_approved_it() -> None:
    tags = {**MADE, Tag.DECISION: "promote", Tag.APPROVED_BY: "policy: auto_promote"}
    assert approval_of(tags, "champion").by == "policy: auto_promote"


def test_without_a_note_the_person_who_moved_the_alias_approved_it() -> None:
    by = approval_of({**MADE, Tag.DECISION: "promote"}, "canary").by
    assert by == "a person: moved the alias canary in MLflow"


def test_a_person_may_decide_where_the_gate_had_not_enough_evidence_and_the_note_says_so() -> None:
    by = approval_of({**MADE, Tag.DECISION: "not_enough"}, "champion").by
    assert "a person" in by
    assert "not enough evidence" in by


@pytest.mark.parametrize("override", ["", "   "])
def test_a_refused_version_is_not_released_by_moving_an_alias_alone(override: str) -> None:
    tags = {**MADE, Tag.DECISION: "reject", Tag.REASONS: "golden AP fell", Tag.OVERRIDE: override}
    approval = approval_of({**tags, Tag.APPROVED_BY: "whoever"}, "champion")
    assert not approval.given
    assert "golden AP fell" in approval.refusal
    assert "andon.override" in approval.refusal


def test_a_refused_version_is_released_when_a_person_also_wrote_why() -> None:
    approval = approval_of({**MADE, Tag.DECISION: "reject", Tag.OVERRIDE: "line is down"}, "champion")
    assert approval.given
    assert approval.by.endswith("overrode the gate: line is down")


@pytest.mark.parametrize("tags", [{}, MADE, {Tag.DECISION: "promote"}, {**MADE, Tag.DECISION: "yes"}])
def test_a_version_that_retrain_did_not_make_is_never_released(tags: dict[str, str]) -> None:
    assert not approval_of(tags, "champion").given
