"""The rule that a frame is judged by: the engine's own thresholds, or what signed settings put in their place.

A change holds from the next frame on. A frame is judged by one rule: the one that held when its engine had answered.
"""

from collections.abc import Mapping

from edge_client.contract.decision import Judge
from edge_client.contract.threshold_override import overridden
from edge_client.engine import Engine


class Judging:
    """Gives each engine's rule. Safe to use from several threads."""

    def __init__(self) -> None:
        self._changes: dict[str, float] = {}
        self._made: tuple[str, dict[str, float], Judge] | None = None
        self.mark = ""  # another one whenever another rule holds for the same engine

    def change(self, thresholds: Mapping[str, float]) -> None:
        """Judge by these thresholds in place of the engine's; none: by the engine's own."""
        if dict(thresholds) != self._changes:
            self._changes = dict(thresholds)
            self.mark = "".join(f" {name}={value!r}" for name, value in sorted(self._changes.items()))

    def of(self, engine: Engine) -> Judge:
        """Return the rule that holds for an engine now."""
        changes = self._changes
        if not changes:
            return engine.judge
        made = self._made
        if made is None or made[0] != engine.sha256 or made[1] is not changes:
            made = (engine.sha256, changes, Judge(overridden(engine.metadata, changes)))
            self._made = made
        return made[2]
