"""A campaign "like these five": what it brings for the same bytes, and whether estimates stay right.

The engine has learnt monocrystalline cells; polycrystalline ones pass, one in twenty defective. Five defective cells
that were captured before are the examples, 300 that were passed are the ordinary frames. The rest streams through the
device's own weigher and sampler, which may keep a tenth of its bytes; the cells are stored as PNG. Each split of the
cells is weighed without a campaign, with one, and with one that asks by plain nearness (the mean example itself as the
direction); each is drawn many times.

    precision   of what a campaign brings: of the kept cells that match, those that are defective
    recall      of the defective cells that streamed past, those that were kept
    paid        the part of the kept bytes that the campaign paid for, by its part of their weights
    z           of Horvitz-Thompson totals (cells, defective ones, bytes, cells that match) against the truth: mean
                error over its standard error. Over all splits their squares must add up to a chi-squared number.

    python -m benchmarks.campaign --cache FOLDER [--json]
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import stats
from threadpoolctl import threadpool_limits

from benchmarks.learning import AUDIT, Cells, Judged, judge
from benchmarks.result import Row, mean_of, ratio_of_means, tell
from edge_client.contract.campaigns import Campaign, Like
from edge_client.contract.decision import Judge
from edge_client.contract.inclusion import inclusion_probability
from edge_client.sampler import Sampler
from edge_client.weights import Weigher
from flows.fleet_settings.likeness import Examples, like
from training.evaluate import Measure
from training.fit import learn, score_examples
from training.plans import DEFAULT

EXAMPLES, ORDINARY = 5, 300
DEFECTS = 0.05  # of the stream
BYTES = 0.1  # of the stream's bytes are kept
Ask = Callable[[Examples], Like]


@dataclass(frozen=True, slots=True)
class Stream:
    """Cells that pass, and what the engine says of them."""

    judged: Judged
    defect: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    examples: Examples


@dataclass(frozen=True, slots=True)
class Weighted:
    """Weights of a stream's cells, and the campaign's part of each; float64 [n]."""

    weight: NDArray[np.float64]
    part: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What draws of one stream came to, [draws] each."""

    defects: NDArray[np.float64]
    defective: NDArray[np.float64]  # share of all kept cells
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    paid: NDArray[np.float64]
    kept_bytes: NDArray[np.float64]
    z: tuple[float, ...]
    matching: float  # share of the stream that matches


def stream_of(cells: Cells, sizes: NDArray[np.int64], split: int) -> Stream:
    """Learn from monocrystalline cells, and let others pass."""
    random = np.random.default_rng(split)
    mono = random.permutation(np.flatnonzero(~cells.poly))[: round(0.75 * int((~cells.poly).sum()))]
    poly = random.permutation(np.flatnonzero(cells.poly))
    bad, good = poly[cells.defect[poly] == 1], poly[cells.defect[poly] == 0]
    ordinary, passing = good[:ORDINARY], good[ORDINARY:]
    n = round(DEFECTS / (1 - DEFECTS) * len(passing))
    rows = random.permutation(np.concatenate([passing, bad[EXAMPLES : EXAMPLES + n]]))
    request = cells.factory_request(mono, seed=split)
    scored = score_examples(request)
    learnt = learn(request, scored.scores)
    return Stream(
        judged=judge(cells, learnt, scored.bank, rows),
        defect=cells.defect[rows] == 1,
        sizes=sizes[rows],
        examples=Examples(
            wanted=cells.embeddings(bad[:EXAMPLES]), ordinary=cells.embeddings(ordinary), embedding_id=cells.trunk.id
        ),
    )


def near(examples: Examples) -> Like:
    """Ask by plain nearness: the mean example as it is."""
    mean = examples.wanted.mean(axis=0)
    direction = np.round(mean / np.abs(mean).max() * 127).astype(np.int8)
    reached = examples.ordinary @ direction.astype(np.float32)
    return Like(
        embedding_id=examples.embedding_id,
        direction=direction,
        mean=float(reached.mean()),
        deviation=float(reached.std()),
    )


def weigh(stream: Stream, ask: Ask | None, share: float, seed: int) -> Weighted:
    """Weigh the cells one after another, as a device does."""
    judged, judge_one = stream.judged, Judge(stream.judged.metadata)
    weigher = Weigher(audit_share=AUDIT, random=np.random.default_rng(seed))
    if ask is not None:
        until = datetime(2100, 1, 1, tzinfo=UTC)
        weigher.campaigns.follow([Campaign(id="asked", share=share, until=until, query=ask(stream.examples))])
    weights, parts = [], []
    probabilities, anomaly = judged.probabilities.tolist(), judged.anomaly.tolist()
    for p, a, embedding in zip(probabilities, anomaly, judged.embeddings, strict=True):
        label = judge_one.names[judge_one.one(p, a)[1]]
        weighed = weigher.weigh(
            probabilities=p, anomaly=a, embedding=embedding, metadata=judged.metadata, k=1, label=label
        )
        weights.append(weighed.weight)
        parts.append(sum(part for _, part in weighed.requested))
    return Weighted(np.array(weights), np.array(parts))


def draw(stream: Stream, weighted: Weighted, draws: int, random: np.random.Generator) -> Case:
    """Draw many times, and add up."""
    budget = int(BYTES * stream.sizes.sum())
    matches = weighted.part > 0
    truths = np.array([len(stream.sizes), stream.defect.sum(), stream.sizes.sum(), matches.sum()], dtype=float)
    values = np.stack([np.ones(len(matches)), stream.defect, stream.sizes, matches]).astype(float)
    share = weighted.part / weighted.weight
    found: list[tuple[float, ...]] = []
    totals = []
    for _ in range(draws):
        kept, p = _draw_once(weighted.weight, stream.sizes, budget, random)
        asked = kept & matches
        size = stream.sizes[kept].sum()
        found.append(
            (
                stream.defect[kept].sum(),
                stream.defect[kept].mean(),
                stream.defect[kept].sum() / stream.defect.sum(),
                stream.defect[asked].mean() if asked.any() else np.nan,
                (share[kept] * stream.sizes[kept]).sum() / size,
                size,
            )
        )
        totals.append((values[:, kept] / p[kept]).sum(axis=1))
    drawn, columns = np.array(totals), np.array(found, dtype=float).T
    error = drawn.std(axis=0, ddof=1) / np.sqrt(draws)
    z = tuple(
        float((mean - truth) / one)
        for mean, truth, one in zip(drawn.mean(axis=0), truths, error, strict=True)
        if one > 0
    )
    return Case(
        defects=columns[0],
        defective=columns[1],
        recall=columns[2],
        precision=columns[3],
        paid=columns[4],
        kept_bytes=columns[5],
        z=z,
        matching=float(matches.mean()),
    )


def _draw_once(
    weight: NDArray[np.float64], sizes: NDArray[np.int64], budget: int, random: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """One window through the device's sampler; which cells count, and every cell's inclusion probability."""
    sampler = Sampler(pool_bytes=10 * budget)
    sampler.open_window(1, byte_budget=budget)
    u = 1.0 - random.random(len(weight))
    for i in range(len(weight)):
        sampler.offer(1, str(i), weight=float(weight[i]), u=float(u[i]), size=int(sizes[i]))
    threshold = sampler.threshold(1)
    kept = np.zeros(len(weight), dtype=bool)
    kept[[int(key) for key in sampler.keys(1)]] = True
    return kept, np.array([inclusion_probability(float(w), threshold) for w in weight])


def stored_sizes(cells: Cells, cache: Path) -> NDArray[np.int64]:
    """Bytes of each cell as PNG; kept in the cache."""
    path = cache / "elpv-png-sizes.npy"
    if not path.exists():
        sizes = []
        for frame in cells.frames:
            file = io.BytesIO()
            Image.fromarray(frame[:, :, 0]).save(file, format="PNG")
            sizes.append(file.tell())
        np.save(path, np.array(sizes, dtype=np.int64))
    found: NDArray[np.int64] = np.load(path)
    return found


def figures_of(cases: Mapping[str, list[Case]], share: float) -> dict[str, Measure]:
    """What this benchmark is run for."""

    def means(name: str, field: str) -> NDArray[np.float64]:
        drawn = [getattr(case, field) for case in cases[name]]
        return np.array([float(np.nanmean(each)) for each in drawn if np.isfinite(each).any()])

    z = np.array([one for name in ("campaign", "nearness") for case in cases[name] for one in case.z])
    p = float(stats.chi2.sf((z**2).sum(), len(z)))
    largest = float(np.abs(z).max())
    return {
        "precision": mean_of(means("campaign", "precision")),
        "precision_nearness": mean_of(means("nearness", "precision")),
        "defective_kept": mean_of(means("campaign", "defective")),
        "defective_kept_without": mean_of(means("none", "defective")),
        "recall": mean_of(means("campaign", "recall")),
        "recall_without": mean_of(means("none", "recall")),
        "recall_nearness": mean_of(means("nearness", "recall")),
        "defects_ratio": ratio_of_means(means("campaign", "defects").tolist(), means("none", "defects").tolist()),
        "bytes_ratio": ratio_of_means(means("campaign", "kept_bytes").tolist(), means("none", "kept_bytes").tolist()),
        "paid_share": mean_of(means("campaign", "paid")),
        "asked_share": Measure(value=share, low=share, high=share, n=len(cases["campaign"])),
        "matching_share": mean_of(np.array([case.matching for case in cases["campaign"]])),
        "largest_z": Measure(value=largest, low=largest, high=largest, n=len(z)),
        "unbiased_p": Measure(value=p, low=p, high=p, n=len(z)),
    }


def rows_of(cases: Mapping[str, list[Case]]) -> list[Row]:
    """Every case: medians over splits."""
    rows = []
    for name, found in cases.items():
        for field in ("recall", "precision", "defective", "paid"):
            drawn = [getattr(case, field) for case in found]
            values = [float(np.nanmean(each)) for each in drawn if np.isfinite(each).any()]
            if values and (name != "none" or field not in ("precision", "paid")):
                rows.append(Row.of(f"{name}: {field}", "", values))
        rows.append(Row.of(f"{name}: bytes kept", "bytes", [float(case.kept_bytes.mean()) for case in found]))
        rows.append(Row.of(f"{name}: |z| of a total", "", [abs(one) for case in found for one in case.z]))
    return rows


def main() -> None:
    """Print what a campaign brings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--variant", choices=("int8", "fp32"), default="int8", help="of the trunk (default: int8)")
    parser.add_argument("--splits", type=int, default=20, help="splits of the cells (default: 20)")
    parser.add_argument("--draws", type=int, default=200, help="draws of each split (default: 200)")
    parser.add_argument("--share", type=float, default=0.2, help="of the campaign (default: 0.2)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    cells = Cells(args.cache, args.variant, [DEFAULT])
    sizes = stored_sizes(cells, args.cache)
    ways: dict[str, Ask | None] = {"none": None, "campaign": like, "nearness": near}
    cases: dict[str, list[Case]] = {name: [] for name in ways}
    with threadpool_limits(1):
        for split in range(args.splits):
            stream = stream_of(cells, sizes, split)
            for i, (name, ask) in enumerate(ways.items()):
                weighted = weigh(stream, ask, args.share, seed=split)
                cases[name].append(draw(stream, weighted, args.draws, np.random.default_rng([split, i])))
    tell("campaign", rows_of(cases), figures_of(cases, args.share), as_json=args.json)


if __name__ == "__main__":
    main()
