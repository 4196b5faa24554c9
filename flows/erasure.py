"""Erasure on request: what would go, and having it go.

1. Looking changes nothing. What is erased is what was found when it was begun; what arrives later is new data.
2. While an inspection's samples are erased nothing trains on it, and no backup is taken: neither finds half of it.
3. Everything is noted before it is done, and done again after a kill with the same result (`data.erasure`). What is
   left to do waits for `andon erase --resume`, or for the same request.
4. What cannot be reached is told: backups, exported files, devices, released self-tests, models that learnt from it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from data.catalog.models import SampleRow
from data.erasure.expired import expired_samples
from data.erasure.frames import Stores, erase_frames
from data.erasure.frozen import take_rows
from data.erasure.jobs import Erasure, ErasureKind, begin, finish, new_pseudonym, note, under_way
from data.erasure.parts import Belongings, belongings_of, rename_part
from data.erasure.people import Traces, check_may_go, rename_person, traces_of
from data.inspections import list_inspections
from data.workspace import Workspace
from edge_client.contract.selftest import SelfTest
from flows.connect.links import PREFIX
from flows.exclusive import only_one
from flows.stack import registry_of

_log = logging.getLogger("andon.erasure")
_WAIT_SECONDS = 3_600.0  # for a retrain or a backup to end
_AT_A_TIME = 2_000  # expired samples of one erasure: bounds what its row holds
#: What no erasure reaches, for people.
BEYOND = (
    "backups that were taken before hold it until they are removed (`andon backup TO --keep N`)",
    "files that were exported or printed before are where you put them",
    "what a device has not uploaded, or waits in the inbox, is not known yet: ingest, then ask again",
    "annotated tasks in Label Studio stay there: delete them in the project",
    "a console that runs, and caches of other machines, may still show a picture: start them anew",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be erased: one of part, samples or person."""

    part_id: str = ""
    sample_ids: tuple[str, ...] = ()
    person: str = ""

    @property
    def kind(self) -> ErasureKind:
        """Its kind."""
        if self.person:
            return ErasureKind.PERSON
        return ErasureKind.PART if self.part_id else ErasureKind.SAMPLE

    @property
    def about(self) -> str:
        """In words."""
        return self.person or self.part_id or ", ".join(self.sample_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would go (rule 1).

    Attributes:
        shown_by: Inspection → versions whose self-test shows one of the frames.
        copies: Copies for other tools.
    """

    request: Request
    belongings: Belongings | None = None
    traces: Traces | None = None
    shown_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    copies: int = 0

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to erase."""
        found = self.belongings if self.traces is None else self.traces
        assert found is not None
        return found.nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What went.

    Attributes:
        counts: By kind of thing.
        models: Inspection → versions that learnt from it, or were judged by it: retrain to have ones that did not.
        shown_by: Inspection → versions whose self-test shows one of the frames, on devices too.
    """

    id: int
    kind: str
    counts: Mapping[str, int]
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shown_by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    beyond: tuple[str, ...] = BEYOND


def preview(workspace: Workspace, request: Request) -> Preview:
    """Look for what would be erased.

    Raises:
        UserError: The person is the last admin.
        BucketError, RegistryError: The bucket or MLflow is away.
    """
    catalog = workspace.catalog()
    if request.person:
        check_may_go(catalog, request.person)
        return Preview(request=request, traces=traces_of(catalog, request.person))
    found = belongings_of(catalog, workspace.lake(), part_id=request.part_id, sample_ids=request.sample_ids)
    bucket = workspace.bucket()
    copies = sum(bucket.head(f"{PREFIX}{one['inspection']}/{one['sample_id']}") is not None for one in found.samples)
    return Preview(request=request, belongings=found, shown_by=_self_tests_with(workspace, found), copies=copies)


def erase(
    workspace: Workspace,
    request: Request,
    *,
    who: str,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait_seconds: float = _WAIT_SECONDS,
) -> Erased | None:
    """Erase what was asked for; None where there is nothing of it.

    Raises:
        Busy: A retrain or a backup held it up for all of `wait_seconds`.
        AndonError: Something is away; what is left to do is noted (rule 3).
    """
    same = [known for known in under_way(workspace.catalog()) if _is_about(known, request)]
    if not same:
        seen = preview(workspace, request)
        if seen.nothing:
            return None
        same = [_begin(workspace, seen, who=who, at=clock())]
    return _carry_out(workspace, same[0], clock, wait_seconds)


def is_under_way(workspace: Workspace, request: Request) -> bool:
    """Whether this was begun and is not done."""
    return any(_is_about(known, request) for known in under_way(workspace.catalog()))


def resume(
    workspace: Workspace,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait_seconds: float = _WAIT_SECONDS,
) -> list[Erased]:
    """Go on with every erasure that is under way."""
    return [_carry_out(workspace, known, clock, wait_seconds) for known in under_way(workspace.catalog())]


def erase_expired(
    workspace: Workspace,
    *,
    who: str = "andon",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait_seconds: float = _WAIT_SECONDS,
) -> list[Erased]:
    """Erase the frames that policy does not keep any longer; one entry for each erasure it took."""
    days, catalog = workspace.policy().retention.frames_days, workspace.catalog()
    begun = [known for known in under_way(catalog) if known.kind is ErasureKind.EXPIRED]
    done = [_carry_out(workspace, known, clock, wait_seconds) for known in begun]
    for inspection in list_inspections(catalog):
        while ids := expired_samples(catalog, inspection.name, days=days, now=clock(), limit=_AT_A_TIME):
            next_ones = begin(
                catalog,
                ErasureKind.EXPIRED,
                who=who,
                at=clock(),
                pseudonym="",
                subject={"samples": [{"sample_id": one, "inspection": inspection.name} for one in ids]},
            )
            done.append(_carry_out(workspace, next_ones, clock, wait_seconds))
    return done


def _begin(workspace: Workspace, seen: Preview, *, who: str, at: datetime) -> Erasure:
    request = seen.request
    subject: dict[str, Any] = {"about": request.about}
    if seen.belongings is not None:
        subject |= {
            "samples": [dict(one) for one in seen.belongings.samples],
            "models": {name: list(versions) for name, versions in seen.belongings.models.items()},
            "shown_by": {name: list(versions) for name, versions in seen.shown_by.items()},
        }
    prefix = "person" if request.person else "part"
    return begin(workspace.catalog(), request.kind, who=who, at=at, pseudonym=new_pseudonym(prefix), subject=subject)


def _is_about(erasure: Erasure, request: Request) -> bool:
    return erasure.kind is request.kind and erasure.subject.get("about") == request.about


def _carry_out(workspace: Workspace, erasure: Erasure, clock: Callable[[], datetime], wait_seconds: float) -> Erased:
    _log.info("erasure %d is under way", erasure.id)  # of what, no log must say
    samples: Sequence[Mapping[str, Any]] = erasure.subject.get("samples", [])
    inspections = sorted({str(one["inspection"]) for one in samples})
    with ExitStack() as held:
        for what in ("backup", *(f"retrain-{name}" for name in inspections)):
            held.enter_context(only_one(workspace.home, what, wait_seconds=wait_seconds))
        if erasure.kind is ErasureKind.PERSON:
            _person(workspace, erasure)
        else:
            _samples(workspace, erasure, samples, inspections, clock())
        done = finish(workspace.catalog(), erasure, at=clock())
    _log.info("erasure %d is done: %s", done.id, dict(done.counts))
    return Erased(
        id=done.id,
        kind=done.kind.value,
        counts=done.counts,
        models=erasure.subject.get("models", {}),
        shown_by=erasure.subject.get("shown_by", {}),
    )


def _person(workspace: Workspace, erasure: Erasure) -> None:
    catalog, name = workspace.catalog(), str(erasure.subject["about"])
    rename_person(catalog, erasure, name)
    if workspace.mlflow_url is not None:
        from flows.reports import rename_in_tags

        names = [inspection.name for inspection in list_inspections(catalog)]
        tags = rename_in_tags(registry_of(workspace).api, names, name, erasure.pseudonym)
        with catalog.session() as session:
            note(session, erasure, {"tags": tags})


def _samples(
    workspace: Workspace,
    erasure: Erasure,
    samples: Sequence[Mapping[str, Any]],
    inspections: Sequence[str],
    at: datetime,
) -> None:
    catalog, lake = workspace.catalog(), workspace.lake()
    stores = Stores(catalog=catalog, bucket=workspace.bucket(), lake=lake, copies=(PREFIX,))
    ids = [str(one["sample_id"]) for one in samples]
    erase_frames(stores, erasure, ids, at=at)
    if erasure.kind is not ErasureKind.EXPIRED:  # a snapshot holds labelled samples alone, which do not expire
        for name in inspections:
            take_rows(catalog, lake, erasure, name, [i for i, one in zip(ids, samples, strict=True)
                                                     if one["inspection"] == name])  # fmt: skip
        if erasure.kind is ErasureKind.PART:
            rename_part(catalog, erasure, str(erasure.subject["about"]))
        _in_mlflow(workspace, erasure, inspections, ids)
        from training.embeddings import EmbeddingCache

        EmbeddingCache(workspace.cache / "embeddings").forget({str(one["image_sha256"]) for one in samples})
    shutil.rmtree(workspace.cache / "lake", ignore_errors=True)


def _in_mlflow(workspace: Workspace, erasure: Erasure, inspections: Sequence[str], ids: Sequence[str]) -> None:
    from flows.reports import clean_reports, runs_that_saw

    runs = runs_that_saw(workspace.catalog(), inspections)
    if runs:
        reports = clean_reports(registry_of(workspace).api, runs, ids)
        with workspace.catalog().session() as session:
            note(session, erasure, {"gate_reports": reports})


def _self_tests_with(workspace: Workspace, found: Belongings) -> dict[str, tuple[str, ...]]:
    """Versions whose self-test shows one of the frames."""
    shown: dict[str, tuple[str, ...]] = {}
    if not found.models:
        return shown
    from training.fit import selftest_frame

    registry = registry_of(workspace)
    for name, numbers in found.models.items():
        with workspace.catalog().reading() as session:
            rows = [session.get_one(SampleRow, sample_id) for sample_id in found.by_inspection[name]]
        images = [workspace.lake().image(row.lake_path, row.lake_row)[0] for row in rows]
        with_it = []
        for number in numbers:
            frames = SelfTest.unpack(registry.selftest_bytes(registry.api.version(name, number))).frames
            small = [selftest_frame(image, frames.shape[1]) for image in images]
            if any((frame == one).all() for frame in frames for one in small):
                with_it.append(number)
        if with_it:
            shown[name] = tuple(with_it)
    return shown
