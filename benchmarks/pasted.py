"""Pasting marked defects onto ok frames: what it brings to frozen features, on held-out groups.

Images with an `index.csv` and, beside each defect, a mark (`plate.mask.png`). Five folds by group, dealt anew in each
repeat. On the four training folds the default plan is trained twice, with and without pasted frames; what is pasted
and what it is pasted onto come from the training folds alone. "few" leaves each class in turn with three examples.

    python -m benchmarks.pasted --tiles PATH [--wanted 40] [--repeats 5] [--json]
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import EmbeddedSet, Rows
from benchmarks.plan_sets import embedded_set
from benchmarks.rebalancing import FOLDS
from benchmarks.result import Row, mean_of, tell
from edge_client.contract.engine_metadata import Kind
from training.examples import PASTED, Examples
from training.fit import learn, score_examples
from training.folds import group_folds
from training.pasted_defects import mark_of, pairs_of, paste
from training.plans import DEFAULT

_FEW = 3
Marks = Sequence[NDArray[np.bool_] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Average precision of each class on the held-out rows, without and with pasted frames: float64 [K] each."""

    plain: NDArray[np.float64]
    pasted: NDArray[np.float64]


def marks_in(place: Path) -> Marks:
    """Read the marks that lie beside the images of an index, in its order; None where there is none."""
    if place.is_file():
        with tarfile.open(place) as archive:
            files = {m.name: content.read() for m in archive.getmembers() if (content := archive.extractfile(m))}
    else:
        files = {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    top = next(name for name in files if name.endswith("index.csv"))[: -len("index.csv")]
    rows = csv.DictReader(io.StringIO(files[f"{top}index.csv"].decode()))
    found = [files.get(f"{top}{row['path'].rsplit('.', 1)[0]}.mask.png") for row in rows]
    return [None if mark is None else mark_of(mark) for mark in found]


def compare(data: EmbeddedSet, marks: Marks, train: Rows, test: Rows, *, wanted: int, seed: int) -> Compared:
    """Train both ways on some rows and measure on others."""
    ok = np.array([info.kind is Kind.OK for info in data.classes])[data.labels[train]]
    seen = [marks[i] for i in train]
    marked = np.array([mark is not None and bool(mark.any()) for mark in seen])
    names = [f"{seed} {i}" for i in train.tolist()]
    pairs = pairs_of(data.labels[train], ok, marked, names, wanted=wanted)
    frames = []
    for pair in pairs:
        mark = seen[pair.defect]
        assert mark is not None
        frames.append(paste(data.frames[train[pair.ok]], data.frames[train[pair.defect]], mark, seed=pair.seed))
    embedded = data.trunk.run(frames)
    request = data.factory_request(train, seed=seed, plans=[DEFAULT])
    scored = score_examples(request)
    made = np.array([f"{PASTED}{i}" for i in range(len(pairs))], dtype=np.str_)
    more = Examples(
        ids=made,
        labels=np.array([pair.label for pair in pairs], dtype=np.int64),
        groups=data.groups[train[np.array([pair.defect for pair in pairs], dtype=np.int64)]],
        origin=np.full(len(pairs), PASTED),
        probability=np.full(len(pairs), np.nan),
        device=made,
        station=made,
        features=embedded.features,
    )
    both = replace(
        request,
        examples=request.examples.joined(more),
        patches=np.concatenate([request.patches, embedded.patches]),
    )
    anomaly = data.anomaly(scored.bank, test)
    learnt = (
        learn(request, scored.scores),
        learn(both, np.concatenate([scored.scores, scored.bank.score(embedded.patches)])),
    )
    plain, pasted = (one.head.probabilities(data.features[test], anomaly) for one in learnt)
    k = len(data.classes)
    return Compared(
        plain=np.array([average_precision_score(data.labels[test] == c, plain[:, c]) for c in range(k)]),
        pasted=np.array([average_precision_score(data.labels[test] == c, pasted[:, c]) for c in range(k)]),
    )


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--tiles", type=Path, required=True, help="folder or tar of labelled images with marks")
    parser.add_argument("--wanted", type=int, default=40, help="examples that each class is brought to")
    parser.add_argument("--repeats", type=int, default=5, help="deals of the five folds")
    args = parser.parse_args()
    data, marks = embedded_set(args.tiles, args.cache), marks_in(args.tiles)
    defects = [c for c, info in enumerate(data.classes) if info.kind is Kind.DEFECT]
    print(f"{data.name}: {sum(mark is not None for mark in marks)} of {len(marks)} marked", file=sys.stderr)
    all_labels: list[list[Compared]] = []
    few: list[tuple[float, float]] = []
    with threadpool_limits(1):
        for seed in range(args.repeats):
            fold = group_folds(data.groups, data.labels, folds=FOLDS, seed=1_000 + seed)
            told = []
            for held in range(FOLDS):
                train, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
                if all((data.labels[test] == c).any() for c in defects):
                    told.append(compare(data, marks, train, test, wanted=args.wanted, seed=seed))
                c = defects[(seed + held) % len(defects)]
                if (data.labels[test] == c).any():
                    kept = np.random.default_rng([seed, held]).permutation(train[data.labels[train] == c])[:_FEW]
                    rows = np.sort(np.concatenate([train[data.labels[train] != c], kept]))
                    one = compare(data, marks, rows, test, wanted=args.wanted, seed=seed)
                    few.append((float(one.plain[c]), float(one.pasted[c])))
                print(f"  repeat {seed} fold {held}", file=sys.stderr, flush=True)
            all_labels.append(told)
    gains = [float(np.mean([(c.pasted - c.plain)[defects].mean() for c in told])) for told in all_labels]
    means = [[float(np.mean([getattr(c, how)[defects] for c in t])) for t in all_labels] for how in ("plain", "pasted")]
    table = [
        Row.of("all labels, as they are: mean AP", "", means[0]),
        Row.of("all labels, with pasted: mean AP", "", means[1]),
        Row.of("three of a class, as they are: its AP", "", [one for one, _ in few]),
        Row.of("three of a class, with pasted: its AP", "", [two for _, two in few]),
    ]
    figures = {"gain_mean_ap": mean_of(gains), "gain_few": mean_of([two - one for one, two in few])}
    tell("pasted", table, figures, as_json=args.json)


if __name__ == "__main__":
    main()
