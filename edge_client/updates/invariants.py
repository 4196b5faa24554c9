"""What no state of `rules.py` may break, by the numbers of its rules: held before storing one, and after reading."""

from __future__ import annotations

from edge_client.updates.rules import Phase, Place, UpdateState, free_slot


def broken_rules(state: UpdateState) -> list[str]:
    """Name the rules a state breaks; empty for every state that the functions above return."""
    broken = []
    for name, place in (("active", state.active), ("good", state.good)):
        if place is not Place.FACTORY and state.at(place) is None:
            broken.append(f"1: {name} is the empty slot {place.value}")
    if state.phase is not Phase.PROBATION and state.active is not state.good:
        broken.append("2: not on probation, but active is not the good one")
    if state.phase is Phase.PROBATION:
        held = state.at(state.active)
        if state.active is state.good or held is None or held.confirmed:
            broken.append("2: on probation with an engine that is confirmed already")
    elif (served := state.at(state.active)) is not None and not served.confirmed:
        broken.append("2: an unconfirmed engine is in service without probation")
    if state.phase is Phase.STAGED:
        waiting = state.at(free_slot(state))
        if waiting is None or waiting.confirmed:
            broken.append("4: staged, but no untried release is in the free slot")
    for place in (Place.A, Place.B):
        held = state.at(place)
        if held is not None and state.quarantined(held.engine_sha256) is not None:
            broken.append(f"5: slot {place.value} holds a quarantined engine")
    return broken
