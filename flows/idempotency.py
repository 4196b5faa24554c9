"""The name of a challenger, by which a retrain that was killed or asked for twice finds it again."""

import hashlib
import json


def challenger_key(
    *, inspection: str, snapshot_id: str, seed: int, code: str, goal: str, sabotaged: bool, looks_at: str = ""
) -> str:
    """Return the same key for the same inspection, snapshot, seed, code, goal and input ("" is the default one).

    >>> a = challenger_key(inspection="part", snapshot_id="s", seed=0, code="c", goal="g", sabotaged=False)
    >>> a == challenger_key(inspection="part", snapshot_id="s", seed=1, code="c", goal="g", sabotaged=False)
    False
    """
    parts = [inspection, snapshot_id, seed, code, goal, sabotaged, *([looks_at] if looks_at else [])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
