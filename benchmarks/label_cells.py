"""What choosing labels brings on solar cells: a stream of another product, the same with few defects, wrong labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.label_compare import BUDGET, CHOSEN, FOLLOWED, ROUNDS, Told, follow, say_split, tell_followed
from benchmarks.label_stories import Learner, Parts, queue_scores, tell_queue, tell_random
from benchmarks.learning import Cells
from benchmarks.peers.active_learning import ActiveLearning
from benchmarks.result import mean_of
from benchmarks.strategies import Strategy
from data.label_scores import Mix
from training.label_errors import suspect_labels

BUDGETS = (0.02, 0.05, 0.1, 0.2)
RANDOM_BUDGETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
SHARES = (0.05, 0.01)
NOISE = (0.05, 0.2)


def cells_parts(cells: Cells, split: int, share: float | None = None) -> Parts:
    """Split the cells; a thinned stream keeps all its ok cells."""
    random = np.random.default_rng(split)
    mono, poly = (random.permutation(np.flatnonzero(which)) for which in (~cells.poly, cells.poly))
    holdout, stream = poly[: len(poly) // 3], poly[len(poly) // 3 :]
    if share is not None:
        bad = cells.defect[stream] == 1
        n = max(1, round(share / (1 - share) * int((~bad).sum())))
        stream = random.permutation(np.concatenate([stream[~bad], stream[bad][:n]]))
    return Parts(mono[: round(0.75 * len(mono))], tuple(np.array_split(stream, ROUNDS)), holdout)


def stream(
    cells: Cells, splits: range, chosen: Mapping[str, Strategy], mix: Mix, told: Told, kind: type[Learner]
) -> None:
    """Average precision against the share labelled."""
    found = follow(
        "stream",
        lambda split: kind(cells, cells_parts(cells, split), split),
        splits,
        chosen,
        mix,
        budgets=BUDGETS,
        random_budgets=RANDOM_BUDGETS,
    )
    tell_followed(found, told)


def longtail(
    cells: Cells, splits: range, chosen: Mapping[str, Strategy], mix: Mix, told: Told, kind: type[Learner]
) -> None:
    """The stream with few defects."""
    some = {name: chosen[name] for name in FOLLOWED if name in chosen}
    for share in SHARES:
        found = follow(
            f"longtail {share:.0%}",
            lambda split, share=share: kind(cells, cells_parts(cells, split, share), split),  # type: ignore[misc]
            splits,
            some,
            mix,
            budgets=(BUDGET,),
            random_budgets=RANDOM_BUDGETS[1:],
        )
        tell_followed(found, told, of=f"{share:.0%} defects: ", suffix=f"_at_{share * 100:.0f}_percent")


def noise(cells: Cells, splits: range, peers: ActiveLearning | None, mix: Mix, told: Told) -> None:
    """Wrong labels: precision and recall of what is suggested, and what looking at it brings."""
    for rate in NOISE:
        found: dict[str, list[float]] = {}

        def note(name: str, value: float, to: dict[str, list[float]] = found) -> None:
            to.setdefault(name, []).append(value)

        for split in splits:
            parts = cells_parts(cells, split)
            flipped = np.random.default_rng([split, 4]).random(len(cells.labels)) < rate
            said = np.where(flipped, 1 - cells.labels, cells.labels)
            learner = Learner(cells, parts, split, labels=said)
            story = tell_queue(learner, BUDGET, queue_scores(mix), split, chosen_share=CHOSEN)
            kept = np.concatenate([c.rows for c in story.captured])
            note("andon: AP with wrong labels", story.average_precision)
            note("random: AP with wrong labels", tell_random(learner, BUDGET, split, captured=kept).average_precision)
            learnt = learner.learn(story.labelled, story.p, kept)
            rows = np.concatenate([parts.factory, story.labelled])
            wrong = flipped[rows]
            named = {"andon": np.array([s.row for s in suspect_labels(said[rows], learnt.oof.astype(np.float64))])}
            if peers is not None:
                named["cleanlab"] = peers.label_errors(said[rows], learnt.oof.astype(np.float64))
            for name, suspects in named.items():
                suspects = suspects.astype(np.int64)
                note(f"{name}: suggested, of all labels", len(suspects) / len(rows))
                note(f"{name}: precision of what is suggested", float(wrong[suspects].mean()) if len(suspects) else 0.0)
                note(f"{name}: recall of the wrong labels", float(wrong[suspects].sum() / wrong.sum()))
            corrected = said.copy()
            again = rows[named["andon"].astype(np.int64)]
            corrected[again] = cells.labels[again]
            after = Learner(cells, parts, split, labels=corrected).measure(story.labelled, story.p, kept)
            note("andon: AP after the suggested ones were looked at", float(after[1]))
            say_split(f"noise {rate:.0%}", split, splits)
        for name, values in found.items():
            told.say(f"{rate:.0%} wrong labels: {name}", "AP" if " AP" in name else "share", values)
        suffix = f"_at_{rate * 100:.0f}_percent_noise"
        told.figure(f"review_precision{suffix}", mean_of(found["andon: precision of what is suggested"]))
        told.figure(f"review_recall{suffix}", mean_of(found["andon: recall of the wrong labels"]))
        gain = np.array(found["andon: AP after the suggested ones were looked at"])
        told.figure(f"review_gain_ap{suffix}", mean_of(gain - np.array(found["andon: AP with wrong labels"])))
