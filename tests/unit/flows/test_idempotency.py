"""The key of a challenger."""

from flows.idempotency import challenger_key

SAME = {"inspection": "part", "snapshot_id": "s", "seed": 0, "code": "c", "goal": "g", "sabotaged": False}


def test_another_tier_is_another_challenger_and_the_default_keeps_old_keys() -> None:
    keys = {tier: challenger_key(**SAME, tier=tier) for tier in ("head", "finetune", "auto")}  # type: ignore[arg-type]
    assert len(set(keys.values())) == 3
    assert keys["head"] == challenger_key(**SAME)  # type: ignore[arg-type]
