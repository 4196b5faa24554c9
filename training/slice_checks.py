"""The gate's checks by device and station: nobody pays for the others' gain, and no gain is one device's (rule 7).

1. A slice with enough samples of its own is GUARD: shown harm there refuses, whatever the average says.
2. With the samples of one device left out, shown harm to the others is GUARD too: a device with many samples can carry
   the average alone.
3. A gain that is gone when one device is left out is a NOTE, not a refusal. When one line changes its product, the
   challenger that heals it gains there and nowhere else, and should be promoted; a condition that the gain be
   elsewhere as well would block just this. What one device can do to a model by false labels is bounded before, by
   the cap on its training rows.
4. Refusals share the level: more slices do not make a refusal likelier.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.decision import Check, Finding, Role
from training.evidence import Evidence, PairedSet
from training.field_checks import FIELD, RANKING, ranking_of_defects
from training.gate_policy import GatePolicy
from training.paired import Difference, paired_differences
from training.verdict_of_bounds import not_worse

_MOST_DEVICES = 20  # left out one at a time: those with most samples


def slice_checks(evidence: Evidence, rows: PairedSet, policy: GatePolicy, seed: int) -> list[Check]:
    """Guard each device and station, and all of them without each device."""
    parts = {f"{FIELD} of {where}": mask for where, mask in slices(rows)}
    rest = {f"{FIELD} without device {name}": rows.device != name for name in _devices(rows)}
    kept = {where: mask for where, mask in {**parts, **rest}.items() if _judgeable(evidence, rows, mask, policy)}
    if not kept:
        return []
    measures = {where: ranking_of_defects(evidence, rows, mask) for where, mask in kept.items()}
    found = paired_differences(
        {FIELD: ranking_of_defects(evidence, rows), **measures},
        rows.weight,
        evidence.is_defect(rows.labels).astype(np.int64),
        rows.group,
        resamples=policy.resamples,
        seed=seed,
    )
    once = {mask.tobytes(): where for where, mask in reversed(kept.items())}  # of two devices, one is the other's rest
    refuse = policy.refuse_alpha / len(once)
    guards = [
        not_worse(
            found[where],
            name=RANKING,
            where=where,
            margin=policy.field_margin,
            alpha=refuse,
            refuse=refuse,
            role=Role.GUARD,
        )
        for where in kept
        if where in once.values()
    ]
    gains = [_leans(found[FIELD], found[where], where) for where in rest if where in kept]
    return [*guards, *(check for check in gains if check is not None)]


def slices(rows: PairedSet) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the masks of each device and each station, where there is more than one of a kind."""
    for kind, column in (("device", rows.device), ("station", rows.station)):
        names = np.unique(column)
        if len(names) < 2 or (kind == "station" and _same_parts(rows)):
            continue
        for name in names:
            yield f"{kind} {name}", np.asarray(column == name)


def _devices(rows: PairedSet) -> list[str]:
    """Devices to leave out, those with most samples first; none where there is only one."""
    names, samples = np.unique(rows.device, return_counts=True)
    order = np.argsort(-samples, kind="stable")
    return [str(names[i]) for i in order[:_MOST_DEVICES]] if len(names) > 1 else []


def _leans(everywhere: Difference, without: Difference, where: str) -> Check | None:
    if not everywhere.value > 0 >= without.value:
        return None
    return Check(
        name=f"gain in {RANKING}",
        where=where,
        role=Role.NOTE,
        finding=Finding.UNDECIDED,
        sentence=f"the gain rests on one device: {RANKING} changes by {everywhere.value:+.3f} on all {FIELD}, by "
        f"{without.value:+.3f} on {where} (n = {without.n}); right if it alone changed, else look at its labels",
        champion=f"{without.champion:.3f}",
        challenger=f"{without.challenger:.3f}",
    )


def _judgeable(evidence: Evidence, rows: PairedSet, mask: NDArray[np.bool_], policy: GatePolicy) -> bool:
    truth = evidence.is_defect(rows.labels[mask])
    least = policy.min_positives
    return len(truth) >= policy.min_slice and int(truth.sum()) >= least and int((~truth).sum()) >= least


def _same_parts(rows: PairedSet) -> bool:
    """Whether each station is one device: then it says nothing new."""
    pairs = np.unique(np.stack([rows.device, rows.station]), axis=1).shape[1]
    return bool(pairs == len(np.unique(rows.device)) == len(np.unique(rows.station)))
