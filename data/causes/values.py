"""What goes into the analysis: truths about parts, context recorded of parts, and the names of what was told.

Part ids, keys and values of the context come from the line and are not to be trusted: they are bounded where they are
joined (:mod:`data.causes.join`) and coded (:mod:`data.causes.variables`), and escaped where they are shown.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

Context = Mapping[str, float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What one captured frame, or one reported outcome, says of a part.

    Attributes:
        part: The part id; None where none is known: then the frame is a part of its own, without a past.
        at: When, by the clock of the device that saw or reported it.
        station: Where; "" for an outcome, which is told of the part as such.
        device: Which device.
        engine: The engine that ran.
        weight: 1/(p₁·m): how many parts it stands for, as captured; m are the frames of its run. 1 for an outcome.
        known: 1/p₂, the inverse chance that a captured frame had to be labelled, if it was; 0 if it was not.
        holds: The targets that its label says are so, such as ``{"crack"}``; empty for an ok part.
        guess: Target -> what the engine thought, its probability; nothing for an outcome.
        context: What was recorded with the frame itself.
    """

    part: str | None
    at: datetime
    station: str = ""
    device: str = ""
    engine: str = ""
    weight: float = 1.0
    known: float = 1.0
    holds: frozenset[str] = frozenset()
    guess: Mapping[str, float] = field(default_factory=dict)
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Context that was recorded of a part at some station, with a captured frame, labelled or not.

    Attributes:
        visit: The run that the frame belongs to; frames of one visit stand for the same recording.
        weight: 1/(p₁·m).
    """

    part: str
    at: datetime
    station: str
    device: str
    visit: Hashable
    weight: float
    context: Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Truths that speak about the same parts.

    Attributes:
        name: ``labels``, or ``outcomes`` with their stage.
        targets: What may hold of a part, in the order in which it is shown.
        truths: What is known.
    """

    name: str
    targets: tuple[str, ...]
    truths: tuple[Truth, ...]
