"""How many bytes of bodies a server holds at once, over all its connections.

1. A body is charged before its memory is taken and until the connection's next request, or its end.
2. What would go over the budget is refused at once and counted; nobody waits for another's body.
"""

from __future__ import annotations

import threading

from edge_client.serving.problems import Kind, Refusal


class BodyBudget:
    """The bytes of all connections.

    Args:
        most: The budget.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes charged now."""
        return self._held

    def take(self, size: int) -> None:
        """Charge bytes; each must be given back.

        Raises:
            Refusal: OVERLOADED, by rule 2.
        """
        with self._lock:
            if self._held + size <= self._most:
                self._held += size
                return
            held = self._held
        raise Refusal(
            Kind.OVERLOADED,
            f"bodies of {held} bytes are being received and this one takes {size}: at most {self._most} are held at "
            "once; come again later, or to another server",
            reason="bodies",
        )

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self._held -= size


class Account:
    """What one connection is charged.

    Args:
        budget: Of all connections.
        free: The first so many bytes of a body cost nothing: each connection has them anyway.
    """

    def __init__(self, budget: BodyBudget, *, free: int) -> None:
        self._budget = budget
        self._free = free
        self._charged = 0

    def hold(self, size: int) -> None:
        """Be charged for bodies of so many bytes in all from now on.

        Raises:
            Refusal: As `BodyBudget.take`; the charge stays what it was.
        """
        wanted = max(0, size - self._free)
        if wanted > self._charged:
            self._budget.take(wanted - self._charged)
        elif wanted < self._charged:
            self._budget.give(self._charged - wanted)
        self._charged = wanted

    def clear(self) -> None:
        """Hold nothing any more."""
        self.hold(0)
