"""A simulated line whose truth is known, its frames drawn by the device's own sampler, and what the estimates say.

A line is a fixed population: what each frame is, what an engine says of it, its weight by the device's own `Weigher`,
its size, window and station. Only u is drawn anew in each run, so the mean of an estimate over runs must be the truth,
and the mean of its variance estimate the variance over runs. The scenes are what a device lives through:

    window bound        every window's own budget binds
    pool over days      nothing is uploaded for eight windows: the pool binds, old windows give way to new ones
    stopped belt        the line stands still now and then: runs of near-duplicates
    changed settings    budgets, audit share and pool change from window to window
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.intervals import horvitz_thompson
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.contract.inclusion import counts_for_estimates, inclusion_probability
from edge_client.runs import Runs
from edge_client.sampler import Sampler
from edge_client.weights import Weigher

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
NO_BOUND = 1 << 40
_BATCH = 16  # frames between two looks at τ, as the worker commits
THRESHOLD = 0.5
METADATA = EngineMetadata(
    engine_id="simulated",
    inspection="line",
    classes=(ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="defect", kind=Kind.DEFECT)),
    thresholds=Thresholds(defect=THRESHOLD),
    training_prior=(0.9, 0.1),
    embedding_id="simulated",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What frames are, and what an engine says of them, in the order they come.

    Attributes:
        defect: bool [N], the truth.
        probability: float64 [N], of a defect, by the engine.
        anomaly: float64 [N].
        embeddings: float32 [N, 16], length 1.
        bytes: int [N]; defects take more, so that a bias by size would show.
    """

    defect: NDArray[np.bool_]
    probability: Floats
    anomaly: Floats
    embeddings: NDArray[np.float32]
    bytes: Rows

    def select(self, rows: Rows) -> Answers:
        """Return some frames, or some again and again."""
        return Answers(
            defect=self.defect[rows],
            probability=self.probability[rows],
            anomaly=self.anomaly[rows],
            embeddings=self.embeddings[rows],
            bytes=self.bytes[rows],
        )


def answers(random: np.random.Generator, frames: int, defect_rate: float, *, helps: float = 1.0) -> Answers:
    """Make frames and an engine's answers; with `helps` = 0 the engine cannot tell defects from the rest."""
    defect = random.random(frames) < defect_rate
    logit = np.where(defect & (helps > 0), -3.0 + 4.5 * helps, -3.0) + random.normal(0, 1.5, frames)
    embeddings = (random.normal(size=(frames, 16)) + np.eye(16)[0] * 3 + np.eye(16)[1] * 2 * defect[:, None]).astype(
        np.float32
    )
    return Answers(
        defect=defect,
        probability=1 / (1 + np.exp(-logit)),
        anomaly=np.maximum(0.0, random.normal(np.where(defect, 0.6 + 0.3 * helps, 0.6), 0.12)),
        embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        bytes=(5 + 40 * random.random(frames) + 20 * defect * random.random(frames)).astype(np.int64),
    )


def stopping(frames: int, lengths: Iterable[int]) -> Rows:
    """Which of some frames a belt shows that stands still again and again, for so many frames each time."""
    shown: list[int] = []
    for frame, length in enumerate(lengths):
        shown += [frame] * length
        if len(shown) >= frames:
            break
    return np.array(shown[:frames], dtype=np.int64)


def weights_of(
    found: Answers, *, audit_shares: Sequence[float] = (0.3,), windows: Rows | None = None, seed: int = 0
) -> tuple[Floats, Rows]:
    """Weigh frames as a device does; returns w and the run of each.

    Args:
        found: The frames.
        audit_shares: φ by window, from window 1 on; the last one goes on.
        windows: int [N], the window of each frame; default all in window 1.
        seed: For what the weigher remembers.
    """
    weigher = Weigher(audit_share=audit_shares[0], random=np.random.default_rng(seed))
    runs = Runs(duplicate_distance=0.01)
    weights, places = np.empty(len(found.defect)), np.empty(len(found.defect), dtype=np.int64)
    for i, (p, anomaly) in enumerate(zip(found.probability.tolist(), found.anomaly.tolist(), strict=True)):
        if windows is not None:
            weigher.audit_share = audit_shares[min(int(windows[i]), len(audit_shares)) - 1]
        place = runs.place(None, found.embeddings[i], METADATA.embedding_id)
        weights[i] = weigher.weigh(
            probabilities=(1.0 - p, p), anomaly=anomaly, embedding=found.embeddings[i], metadata=METADATA, k=place.k
        ).weight
        places[i] = place.run
    return weights, places


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A population of N frames in windows.

    Attributes:
        answers: What they are.
        weight: w of each.
        window: The window of each, from 1, never falling.
        station: 0, 1 or 2.
        budgets: B of each window.
        pools: G from when each window opens.
    """

    answers: Answers
    weight: Floats
    window: Rows
    station: Rows
    budgets: tuple[int, ...]
    pools: tuple[int, ...]

    @property
    def frames(self) -> int:
        """N."""
        return len(self.weight)

    def parts(self) -> dict[str, Floats]:
        """What is added up, for each frame."""
        size, window = self.answers.bytes, self.window
        first = np.searchsorted(window, window, side="left")
        last = np.searchsorted(window, window, side="right")
        late = np.arange(self.frames) - first >= 3 * (last - first) // 4
        return {
            "frames": np.ones(self.frames),
            "weight": self.weight,
            "small frames": (size < np.quantile(size, 0.2)).astype(float),
            "large frames": (size > np.quantile(size, 0.8)).astype(float),
            "late frames": late.astype(float),
            "defects": self.answers.defect.astype(float),
            **{f"station {s}": (self.station == s).astype(float) for s in range(3)},
        }


def scenes() -> dict[str, Line]:
    """Return the lines of the module's table, always the same ones."""
    frames = 400
    four, eight = np.arange(frames) // 100 + 1, np.arange(frames) // 50 + 1
    moving = answers(np.random.default_rng(11), frames, 0.1)
    standing = answers(np.random.default_rng(12), frames, 0.1).select(
        stopping(frames, np.random.default_rng(13).geometric(0.25, frames).tolist())
    )

    def line(found: Answers, windows: Rows, budgets: Sequence[int], pools: Sequence[int], *phi: float) -> Line:
        weight, _ = weights_of(found, audit_shares=phi or (0.3,), windows=windows)
        return Line(
            answers=found,
            weight=weight,
            window=windows,
            station=np.arange(frames) % 3,
            budgets=tuple(budgets),
            pools=tuple(pools),
        )

    return {
        "window bound": line(moving, four, [700] * 4, [NO_BOUND] * 4),
        "pool over days": line(moving, eight, [600] * 8, [2_400] * 8),
        "stopped belt": line(standing, four, [700] * 4, [2_400] * 4),
        "changed settings": line(
            moving, four, [900, 400, 1_200, 600], [NO_BOUND, 1_200, 900, 2_500], 0.3, 0.1, 0.6, 0.3
        ),
    }


@dataclass(frozen=True, slots=True)
class Drawn:
    """Frames that count for estimates, and their inclusion probabilities."""

    rows: Rows
    p: Floats


def through_sampler(
    line: Line, u: Floats, *, sampler_of: Callable[..., Sampler] = Sampler, strict: bool = True
) -> Drawn:
    """Let a line's frames pass the sampler, as many windows as it has, none of them uploaded.

    Args:
        line: The frames.
        u: One draw for each, [N].
        sampler_of: The sampler's class; tests put wrong ones here.
        strict: Count q > τ alone, as ingest does.
    """
    sampler = sampler_of(pool_bytes=line.pools[0])
    for window in range(1, len(line.budgets) + 1):
        sampler.set_pool_bytes(line.pools[window - 1])
        sampler.open_window(window, byte_budget=line.budgets[window - 1])
        _pass_window(line, u, sampler, window, batch=_BATCH if strict else 1)
        sampler.seal(window)
    kept: list[int] = []
    p: list[float] = []
    for window in range(1, len(line.budgets) + 1):
        tau = sampler.threshold(window)
        for i in (int(key) for key in sampler.keys(window)):
            weight = float(line.weight[i])
            if not strict or counts_for_estimates(weight, float(u[i]), tau):
                kept.append(i)
                p.append(inclusion_probability(weight, tau))
    return Drawn(np.array(kept, dtype=np.int64), np.array(p, dtype=np.float64))


def _pass_window(line: Line, u: Floats, sampler: Sampler, window: int, batch: int) -> None:
    """Offer a window's frames; those below the τ of the batch's beginning are turned away, as at the intake."""
    first, last = (int(i) for i in np.searchsorted(line.window, [window, window + 1]))
    for start in range(first, last, batch):
        rows = np.arange(start, min(start + batch, last))
        if batch > 1:
            rows = rows[line.weight[rows] / u[rows] > sampler.threshold(window)]
        for i in rows.tolist():
            sampler.offer(window, str(i), weight=float(line.weight[i]), u=float(u[i]), size=int(line.answers.bytes[i]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an estimated total did over runs.

    Attributes:
        over_truth: Each run's estimate, as a share of the truth.
        z: Standard errors between the mean of the estimates and the truth.
        variance_ratio: Mean of the variance estimates over the variance of the estimates.
    """

    over_truth: Floats
    z: float
    variance_ratio: float


def judged(draws: Iterable[Drawn], parts: Mapping[str, Floats]) -> dict[str, Verdict]:
    """Estimate each part's total from each draw, by the estimates that people are shown, and judge them."""
    totals: dict[str, list[float]] = {name: [] for name in parts}
    variances: dict[str, list[float]] = {name: [] for name in parts}
    for drawn in draws:
        for name, y in parts.items():
            total, variance = horvitz_thompson(y[drawn.rows], drawn.p)
            totals[name].append(total)
            variances[name].append(variance)
    found: dict[str, Verdict] = {}
    for name, y in parts.items():
        values, truth = np.array(totals[name]), float(y.sum())
        spread = float(values.std(ddof=1))
        found[name] = Verdict(
            over_truth=values / truth,
            z=(float(values.mean()) - truth) / (spread / len(values) ** 0.5),
            variance_ratio=float(np.mean(variances[name])) / spread**2,
        )
    return found


def draws_of(
    line: Line, runs: int, seed: int, *, sampler_of: Callable[..., Sampler] = Sampler, strict: bool = True
) -> Iterable[Drawn]:
    """Draw a line again and again."""
    random = np.random.default_rng(seed)
    for _ in range(runs):
        yield through_sampler(line, 1.0 - random.random(line.frames), sampler_of=sampler_of, strict=strict)
