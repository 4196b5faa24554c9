"""A snapshot made ready for training: embedded by the inspection's trunk, in the columns that `training` takes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from data.catalog.models import SampleRow
from data.inspections import get_inspection
from data.lake import Lake
from data.sample_conditions import kept
from data.snapshots import Snapshot
from data.workspace import Workspace
from edge_client.contract.engine_metadata import ClassInfo
from flows.pasted_frames import Sources, paste_frames, with_pasted
from flows.retrain_settings import pasted_defects_of
from flows.task_runner import Here, Runner, embedder_of
from flows.trunks import trunk_of
from training.embeddings import EmbeddingCache
from training.examples import Examples
from training.finetune.held import seen_by
from training.label_shift import FieldFrames
from training.trunk import Trunk

#: Captured frames without a label that help to learn the feature space; more change nothing that can be measured.
MOST_UNLABELLED = 5_000
#: Captured frames by which the field's class shares are estimated; their patches, 60 kB each, are held in memory.
MOST_FIELD_FRAMES = 600
_SELFTEST_FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """n rows of a snapshot, as columns.

    Attributes:
        label: int64 [n], index into the inspection's classes.
        probability: float64 [n], inclusion probability, NaN where there is none.
    """

    ids: NDArray[np.str_]
    image_sha256: tuple[str, ...]
    label: NDArray[np.int64]
    origin: NDArray[np.str_]
    split: NDArray[np.str_]
    group: NDArray[np.str_]
    device: NDArray[np.str_]
    station: NDArray[np.str_]
    probability: NDArray[np.float64]
    location: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, mask: NDArray[np.bool_]) -> "Rows":
        """Return the rows that a mask names."""
        kept = np.flatnonzero(mask)
        return Rows(
            ids=self.ids[mask],
            image_sha256=tuple(self.image_sha256[i] for i in kept),
            label=self.label[mask],
            origin=self.origin[mask],
            split=self.split[mask],
            group=self.group[mask],
            device=self.device[mask],
            station=self.station[mask],
            probability=self.probability[mask],
            location=tuple(self.location[i] for i in kept),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """All that a fit and its judgement need.

    Attributes:
        train: The rows that are trained on.
        examples: Theirs, in order, and pasted ones behind them where those are asked for; so are `patches`.
        held_out: The rows that are not: golden and holdout.
        unlabelled: float32 [m, D].
        field_frames: Captured frames with a known chance of being captured, labelled or not.
        seen_by_champion: Digests of groups that the champion's trunk was trained on, if it is another one.
    """

    snapshot: Snapshot
    classes: tuple[ClassInfo, ...]
    trunk: Trunk
    train: Rows
    held_out: Rows
    examples: Examples
    patches: NDArray[np.float16]
    unlabelled: NDArray[np.float32]
    field_frames: FieldFrames
    lake: Lake
    seen_by_champion: frozenset[str] = frozenset()

    def unseen(self, rows: Rows) -> Rows:
        """Return the rows whose group neither trunk was trained on."""
        if rows is self.train and self.examples.seen is not None:
            rows = rows.select(self.own.speaks)
        return rows.select(~seen_by(rows.group, self.seen_by_champion))

    @property
    def own(self) -> Examples:
        """The examples of `train` alone, in its order: without pasted ones."""
        return self.examples.select(self.examples.real)

    def images(self, rows: Rows) -> list[bytes]:
        """Return the encoded images of some rows."""
        return [image for image, _ in self.lake.images(rows.location)]

    def image_of(self, sample_id: str) -> bytes:
        """Return one sample's encoded image."""
        for rows in (self.train, self.held_out):
            found = np.flatnonzero(rows.ids == sample_id)
            if len(found):
                return self.lake.image(*rows.location[int(found[0])])[0]
        raise KeyError(sample_id)

    def selftest_images(self) -> list[bytes]:
        """Return frames for the self-test: as many classes as there are, field before factory."""
        wanted: list[int] = []
        by_class = [
            sorted(
                np.flatnonzero(self.train.label == k),
                key=lambda i: (self.train.origin[i] != "field", self.train.ids[i]),
            )
            for k in range(len(self.classes))
        ]
        for turn in range(_SELFTEST_FRAMES):
            wanted += [int(members[turn]) for members in by_class if turn < len(members)]
        return [self.lake.image(*self.train.location[i])[0] for i in wanted[:_SELFTEST_FRAMES]]


def make_ready(
    workspace: Workspace,
    snapshot: Snapshot,
    trunk: Trunk | None = None,
    *,
    seen: frozenset[str] = frozenset(),
    seen_by_champion: frozenset[str] = frozenset(),
    runner: Runner | None = None,
) -> TrainingSet:
    """Embed what is trained on; only frames that no earlier retrain embedded cost time.

    Args:
        workspace: The installation.
        snapshot: What is trained on.
        trunk: What embeds; default the inspection's first one.
        seen: Digests of groups that it was trained on.
        seen_by_champion: Those of the champion's trunk, if it is another one.
        runner: What embeds new frames; default this process.
    """
    lake, trunk, runner = workspace.lake(), trunk or trunk_of(workspace, snapshot), runner or Here()
    cache = EmbeddingCache(workspace.cache / "embeddings", embedder_of(runner), runner.chunk)
    rows = rows_of(snapshot)
    training = rows.split == "train"
    train, held_out = rows.select(training), rows.select(~training)
    embedded = cache.embed(trunk, train.image_sha256, lambda i: lake.image(*train.location[i])[0])
    unlabelled = unlabelled_frames(workspace, snapshot)
    features = cache.embed(
        trunk,
        [sha for sha, _ in unlabelled],
        lambda i: lake.image(*unlabelled[i][1])[0],
        patches_of=np.zeros(len(unlabelled), dtype=bool),
    ).features
    sources = Sources(
        inspection=snapshot.inspection,
        image_sha256=train.image_sha256,
        labels=train.label,
        groups=train.group,
        locations=train.location,
    )
    wanted = pasted_defects_of(get_inspection(workspace.catalog(), snapshot.inspection), workspace.policy())
    made = paste_frames(lake, sources, snapshot.classes, wanted=wanted)
    examples, patches = with_pasted(
        replace(examples_of(train, embedded.features), seen=seen_by(train.group, seen) if seen else None),
        embedded.patches,
        sources,
        made,
        trunk,
        cache,
    )
    return TrainingSet(
        snapshot=snapshot,
        classes=snapshot.classes,
        trunk=trunk,
        train=train,
        held_out=held_out,
        examples=examples,
        patches=patches,
        unlabelled=features,
        field_frames=field_frames(workspace, snapshot, trunk, cache),
        lake=lake,
        seen_by_champion=seen_by_champion,
    )


def field_frames(workspace: Workspace, snapshot: Snapshot, trunk: Trunk, cache: EmbeddingCache) -> FieldFrames:
    """Return captured frames that count, at most `MOST_FIELD_FRAMES`, picked by hash.

    Frames of the training side have their label; those that are held out do not show theirs.
    """
    rows = rows_of(snapshot)
    known = dict(zip(rows.ids[rows.split == "train"].tolist(), rows.label[rows.split == "train"].tolist(), strict=True))
    query = select(
        SampleRow.sample_id, SampleRow.image_sha256, SampleRow.lake_path, SampleRow.lake_row, SampleRow.p1
    ).where(SampleRow.inspection == snapshot.inspection, SampleRow.origin == "field", SampleRow.p1.is_not(None), kept())
    with workspace.catalog().reading() as session:
        found = session.execute(query).all()
    found = sorted(found, key=lambda row: hashlib.sha256(row[0].encode()).digest())[:MOST_FIELD_FRAMES]
    lake = workspace.lake()
    embedded = cache.embed(trunk, [row[1] for row in found], lambda i: lake.image(found[i][2], found[i][3])[0])
    return FieldFrames(
        features=embedded.features,
        patches=embedded.patches,
        probability=np.array([row[4] for row in found], dtype=np.float64),
        labels=np.array([known.get(row[0], -1) for row in found], dtype=np.int64),
    )


def rows_of(snapshot: Snapshot) -> Rows:
    """Return a snapshot's rows as columns."""
    table = snapshot.rows
    index = {info.name: k for k, info in enumerate(snapshot.classes)}
    probability = [np.nan if p is None else p for p in table["probability"].to_pylist()]

    def text(name: str) -> NDArray[np.str_]:
        return np.array([value or "" for value in table[name].to_pylist()], dtype=np.str_)

    return Rows(
        ids=text("sample_id"),
        image_sha256=tuple(table["image_sha256"].to_pylist()),
        label=np.array([index[name] for name in table["label"].to_pylist()], dtype=np.int64),
        origin=text("origin"),
        split=text("split"),
        group=text("group"),
        device=text("device"),
        station=text("station"),
        probability=np.array(probability, dtype=np.float64),
        location=tuple(zip(table["lake_path"].to_pylist(), table["lake_row"].to_pylist(), strict=True)),
    )


def examples_of(rows: Rows, features: NDArray[np.float32]) -> Examples:
    """Return rows and their features as training takes them."""
    return Examples(
        ids=rows.ids,
        labels=rows.label,
        groups=rows.group,
        origin=rows.origin,
        probability=rows.probability,
        device=rows.device,
        station=rows.station,
        features=features,
    )


def unlabelled_frames(workspace: Workspace, snapshot: Snapshot) -> Sequence[tuple[str, tuple[str, int]]]:
    """Return (image digest, lake location) of captured frames that the snapshot does not have.

    At most `MOST_UNLABELLED`, picked by hash: no device or day leads.
    """
    known = set(snapshot.rows["sample_id"].to_pylist())
    query = select(SampleRow.sample_id, SampleRow.image_sha256, SampleRow.lake_path, SampleRow.lake_row).where(
        SampleRow.inspection == snapshot.inspection, SampleRow.origin == "field", kept()
    )
    with workspace.catalog().reading() as session:
        found = [(sha, (path, row)) for sample, sha, path, row in session.execute(query) if sample not in known]
    found.sort(key=lambda item: hashlib.sha256(item[0].encode()).digest())
    return sorted(found[:MOST_UNLABELLED], key=lambda item: item[1])
