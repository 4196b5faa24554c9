"""The name of a challenger, by which a retrain that was killed or asked for twice finds it again."""

import hashlib
import json


def challenger_key(
    *,
    inspection: str,
    snapshot_id: str,
    seed: int,
    code: str,
    goal: str,
    sabotaged: bool,
    looks_at: str = "",
    tier: str = "head",
) -> str:
    """Return the same key for the same inspection, snapshot, seed, code, goal, input and tier.

    The default input is ""; a default leaves the key as it was before there was a choice.

    >>> a = challenger_key(inspection="part", snapshot_id="s", seed=0, code="c", goal="g", sabotaged=False)
    >>> a == challenger_key(inspection="part", snapshot_id="s", seed=1, code="c", goal="g", sabotaged=False)
    False
    """
    parts = [inspection, snapshot_id, seed, code, goal, sabotaged, *([looks_at] if looks_at else [])]
    if tier != "head":
        parts.append(f"tier {tier}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
