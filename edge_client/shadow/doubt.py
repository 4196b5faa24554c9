"""What a challenger thinks of one frame, told when it is known: the link between the shadow and capture.

The weight of a frame is fixed when capture weighs it, before its u is drawn, and never after: so its inclusion
probability is exact whatever the challenger says, and when. A challenger that answers too late raises no weight; its
disagreement is still counted.
"""

from __future__ import annotations


class Doubt:
    """A challenger's distance from the answer that was given, in [0, 1]; 0 while it is not known."""

    __slots__ = ("_distance", "known", "weighed")

    def __init__(self) -> None:
        self._distance = 0.0
        self.known = False  # the challenger has answered, or will not
        self.weighed = False

    def tell(self, distance: float) -> bool:
        """Say how far the challenger's answer is; False when it is too late to weigh."""
        if self.weighed:
            return False
        self._distance = distance
        self.known = True
        return True

    def leave(self) -> None:
        """Say that no answer will come."""
        self.known = True

    def take(self) -> float:
        """Return the distance as it counts for the weight. Asked once, by capture."""
        self.weighed = True
        return self._distance
