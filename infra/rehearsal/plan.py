"""Who sees which frame when: the plan of a rehearsal, decided before anything starts.

1. Every frame has one stage: factory (known before the line starts), stream (passes a camera) or holdout (never
   streamed, never trained on; measures each round). An archive may say so itself; else the plan decides:
2. with times, the earliest part of the groups is factory; without, groups are drawn for it; of the other groups a
   share is held out by drawing.
3. A group is never split between stages.
4. The stream is ordered by time where given, else shuffled, and cut into rounds of equal length.
5. A station belongs to one device; frames without a station are dealt to the devices by their group.
6. The same archive, options and seed give the same plan.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from data.sources.sample import Stage
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import ConfigError
from edge_client.contract.names import check_class_name

OK_NAMES = ("ok", "good", "normal", "free", "pass", "no-defect")  # what archives call a part without a fault
FACTORY_SHARE = 0.4  # of an archive that names no stages: enough to train a first model on
HOLDOUT_SHARE = 1 / 3  # of the other groups: the measure needs its n too
MOST_CLASSES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One labelled image of the archive; `turn` is its place in the stream."""

    frame_id: str
    path: Path
    label: str
    group: str
    station: str | None
    time: datetime | None
    stage: Stage | None
    turn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDevice:
    """One device of the rehearsal and the frames that pass it, by round."""

    name: str
    station: str
    rounds: tuple[tuple[Frame, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole rehearsal on paper."""

    classes: tuple[ClassInfo, ...]
    factory: tuple[Frame, ...]
    holdout: tuple[Frame, ...]
    devices: tuple[LineDevice, ...]

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.devices[0].rounds)

    def streamed(self, until: int | None = None) -> tuple[Frame, ...]:
        """Return the frames of the rounds 0 … `until` - 1, of all by default."""
        return tuple(frame for device in self.devices for part in device.rounds[:until] for frame in part)

    def in_round(self, number: int) -> tuple[Frame, ...]:
        """Return the frames of one round, counted from 0."""
        return tuple(frame for device in self.devices for frame in device.rounds[number])

    def labels_until(self, number: int, share: float) -> int:
        """Return how many labels may have been spent after round `number` (from 0), `share` of the frames streamed by
        then.

        Rounded down, so that the whole budget is never passed.
        """
        return int(len(self.streamed(number + 1)) * share + 1e-9)


def make_plan(frames: Sequence[Frame], *, rounds: int, devices: int, seed: int, ok_classes: Iterable[str] = ()) -> Plan:
    """Plan the rehearsal of an archive.

    Args:
        frames: The archive.
        rounds: How many times people label and the model is retrained.
        devices: How many device processes inspect.
        seed: Of every draw in the plan.
        ok_classes: Classes that mean "no fault"; by default those with a name of `OK_NAMES`.

    Raises:
        ConfigError: The archive is too small or has no usable stages or classes.
    """
    if rounds < 1 or devices < 1:
        raise ConfigError(f"a rehearsal of {rounds} rounds with {devices} devices: expected at least 1 of each")
    classes = classes_of(frames, ok_classes)
    staged = _with_stages(frames, seed)
    factory, stream, holdout = (
        tuple(f for f in staged if f.stage is stage) for stage in (Stage.FACTORY, Stage.STREAM, Stage.HOLDOUT)
    )
    _check_enough(factory, stream, holdout, rounds, devices)
    ordered = _ordered(stream, seed)
    assigned = _assign(ordered, devices, seed)
    cut = [round(len(ordered) * i / rounds) for i in range(rounds + 1)]
    parts = [ordered[cut[i] : cut[i + 1]] for i in range(rounds)]
    lines = tuple(
        LineDevice(
            name=f"line-{i + 1}",
            station=_station_name(i, ordered, assigned),
            rounds=tuple(tuple(f for f in part if assigned[f.frame_id] == i) for part in parts),
        )
        for i in range(devices)
    )
    return Plan(classes=classes, factory=factory, holdout=holdout, devices=lines)


def classes_of(frames: Iterable[Frame], ok_classes: Iterable[str] = ()) -> tuple[ClassInfo, ...]:
    """Return the archive's classes, ok ones first, then by name.

    Raises:
        ConfigError: No class is known to mean "no fault", or one that was named is not in the archive.
    """
    counts = Counter(check_class_name(frame.label) for frame in frames)
    named = set(ok_classes)
    if missing := sorted(named - set(counts)):
        raise ConfigError(
            f"no frame has the class {missing[0]!r} that was named as ok; the archive has {sorted(counts)}"
        )
    ok = named or {name for name in counts if name.lower() in OK_NAMES}
    if not ok:
        raise ConfigError(
            f"none of the classes {sorted(counts)} has a name that means 'no fault' ({', '.join(OK_NAMES)}); "
            "name it with --ok-class NAME"
        )
    if len(counts) > MOST_CLASSES:
        raise ConfigError(f"the archive has {len(counts)} classes: is the column of labels the right one?")
    kinds: Mapping[str, Kind] = {name: Kind.OK if name in ok else Kind.DEFECT for name in counts}
    return tuple(
        ClassInfo(name=name, kind=kinds[name]) for name in sorted(counts, key=lambda n: (kinds[n] is Kind.DEFECT, n))
    )


def _with_stages(frames: Sequence[Frame], seed: int) -> tuple[Frame, ...]:
    given = [frame.stage for frame in frames]
    if all(stage is not None for stage in given):
        _refuse_straddling(frames)
        return tuple(frames)
    if any(stage is not None for stage in given):
        raise ConfigError("some frames of the archive have a stage and some have none; give it for all, or for none")
    times: dict[str, datetime] = {}
    for frame in frames:
        if frame.time is not None:
            times[frame.group] = min(frame.time, times.get(frame.group, frame.time))
    groups = sorted({frame.group for frame in frames})
    ordered = sorted(groups, key=lambda g: times[g]) if len(times) == len(groups) else _drawn(groups, seed, "factory")
    sizes = Counter(frame.group for frame in frames)
    factory: set[str] = set()
    taken = 0
    for group in ordered:
        if taken >= FACTORY_SHARE * len(frames):
            break
        factory.add(group)
        taken += sizes[group]
    others = _drawn([g for g in groups if g not in factory], seed, "holdout")
    held = set(others[: round(len(others) * HOLDOUT_SHARE)])

    def stage_of(group: str) -> Stage:
        if group in factory:
            return Stage.FACTORY
        return Stage.HOLDOUT if group in held else Stage.STREAM

    return tuple(replace(frame, stage=stage_of(frame.group)) for frame in frames)


def _refuse_straddling(frames: Sequence[Frame]) -> None:
    first: dict[str, Frame] = {}
    for frame in frames:
        other = first.setdefault(frame.group, frame)
        if other.stage is not frame.stage:
            raise ConfigError(
                f"group {frame.group!r} is in two stages ({other.path} and {frame.path}): near-duplicates must not "
                "be trained on and measured with; give the whole group one stage"
            )


def _ordered(stream: Sequence[Frame], seed: int) -> tuple[Frame, ...]:
    by_id = {frame.frame_id: frame for frame in stream}
    if all(frame.time is not None for frame in stream):
        order = sorted(by_id, key=lambda i: (by_id[i].time, i))
    else:
        order = _drawn(list(by_id), seed, "stream")
    return tuple(replace(by_id[i], turn=turn) for turn, i in enumerate(order))


def _assign(stream: Sequence[Frame], devices: int, seed: int) -> dict[str, int]:
    stations = sorted({f.station for f in stream if f.station is not None})
    place = {station: i % devices for i, station in enumerate(stations)}
    if len(stations) < devices:  # too few stations for a device each: deal the parts out instead
        place = {}
    return {
        f.frame_id: place[f.station] if f.station in place else _number(f.group, seed, "device") % devices
        for f in stream
    }


def _station_name(index: int, stream: Sequence[Frame], assigned: Mapping[str, int]) -> str:
    stations = sorted({f.station for f in stream if f.station is not None and assigned[f.frame_id] == index})
    owners = {i for f in stream if f.station in stations for i in (assigned[f.frame_id],)}
    if not stations or len(owners) > 1:
        return f"station-{index + 1}"
    return (
        "-".join("".join(c if c.isalnum() else "-" for c in s.lower()) for s in stations)[:63].strip("-") or "station"
    )


def _check_enough(
    factory: Sequence[Frame], stream: Sequence[Frame], holdout: Sequence[Frame], rounds: int, devices: int
) -> None:
    for name, part, least in (("factory", factory, 10), ("stream", stream, rounds * devices), ("holdout", holdout, 10)):
        if len(part) < least:
            raise ConfigError(
                f"the archive has {len(part)} frames of stage {name}: a rehearsal of {rounds} rounds with {devices} "
                f"devices needs at least {least}; add frames, or use fewer rounds or devices"
            )


def _drawn(names: Sequence[str], seed: int, purpose: str) -> list[str]:
    return sorted(names, key=lambda name: _number(name, seed, purpose))


def _number(name: str, seed: int, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{seed}\0{name}".encode()).digest()[:8], "big")
