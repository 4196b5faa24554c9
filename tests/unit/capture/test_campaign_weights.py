"""What campaigns add to weights (the rules of `campaign_weights` by number), and that estimates stay right."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_client.contract.campaigns import Campaign, Like, OfClass
from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.inclusion import inclusion_probability
from edge_client.sampler import Sampler
from edge_client.weights import REQUESTED, Weighed, Weigher
from tests.tiny_engine import tiny_metadata

UNTIL = datetime(2100, 1, 1, tzinfo=UTC)
ENGINE = tiny_metadata(embedding_id="trunk-1")
WIDTH = 32
AXIS = np.eye(WIDTH, dtype=np.float32)[0]


def of_class(share: float = 0.2, *, margin_below: float = 1.0, name: str = "defect", id: str = "c") -> Campaign:
    return Campaign(id=id, share=share, until=UNTIL, query=OfClass(name=name, margin_below=margin_below))


def like(share: float = 0.2, *, embedding_id: str = "trunk-1") -> Campaign:
    query = Like(embedding_id=embedding_id, direction=(AXIS * 127).astype(np.int8), mean=0.0, deviation=25.0)
    return Campaign(id="like", share=share, until=UNTIL, query=query)


def weigher(*campaigns: Campaign) -> Weigher:
    made = Weigher(audit_share=0.3, random=np.random.default_rng(5))
    made.campaigns.follow(campaigns)
    return made


def frame(
    made: Weigher,
    *,
    defect: float = 0.1,
    embedding: NDArray[np.float32] | None = None,
    k: int = 1,
    metadata: EngineMetadata = ENGINE,
) -> Weighed:
    return made.weigh(
        probabilities=[1 - defect, defect],
        anomaly=0.2,
        embedding=AXIS if embedding is None else embedding,
        metadata=metadata,
        k=k,
        label="defect" if defect >= 0.5 else "ok",
    )


def stream(made: Weigher, matches: float, n: int = 2000) -> list[Weighed]:
    """Frames of which a share is of class defect; the others look alike."""
    random = np.random.default_rng(1)
    return [
        frame(made, defect=0.9 if random.random() < matches else 0.1, embedding=_unit(random.normal(size=WIDTH)))
        for _ in range(n)
    ]


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def part(weighed: Weighed) -> float:
    return sum(asked for _, asked in weighed.requested)


@pytest.mark.parametrize(("matches", "share"), [(0.02, 0.4), (0.2, 0.1), (1.0, 0.4)])
def test_a_campaign_takes_its_share_of_the_weight_and_no_more(matches: float, share: float) -> None:  # rules 2 and 3
    found = stream(weigher(of_class(share)), matches)[500:]
    taken = sum(map(part, found)) / sum(weighed.weight for weighed in found)
    assert 0.7 * share < taken <= 1.02 * share  # what was saved up before may be spent in them


def test_a_match_that_hardly_ever_comes_is_worth_more_than_all_else() -> None:  # rule 2
    made = weigher(of_class(0.2))
    common = [frame(made).weight for _ in range(1000)]
    assert part(frame(made, defect=0.9)) > 20 * max(common)


def test_a_camera_that_suddenly_shows_nothing_else_cannot_take_the_others_room() -> None:  # rule 3
    made = weigher(of_class(0.2))
    before = [frame(made) for _ in range(1000)]
    burst = [frame(made, defect=0.9) for _ in range(1000)]
    weights = sum(weighed.weight for weighed in before + burst)
    assert sum(map(part, burst)) < 0.25 * weights


def test_a_margin_bound_leaves_the_sure_ones_alone() -> None:  # rule 1
    made = weigher(of_class(margin_below=0.3))
    assert part(frame(made, defect=0.6)) > 0
    assert part(frame(made, defect=0.9)) == 0
    assert part(frame(made, defect=0.4)) == 0


def test_frames_far_in_the_direction_match_and_the_device_learns_what_is_usual_there() -> None:  # rule 1
    random = np.random.default_rng(2)
    made = weigher(like())
    usual = [frame(made, embedding=_unit(random.normal(size=WIDTH))) for _ in range(1000)]
    assert np.mean([part(weighed) > 0 for weighed in usual]) < 0.12  # the upper tail from 1.5 deviations on
    assert part(frame(made, embedding=AXIS)) > 0
    assert part(frame(made, embedding=-AXIS)) == 0
    for _ in range(2500):  # now all frames lie there: it is nothing special any more
        last = frame(made, embedding=_unit(AXIS * 3 + random.normal(size=WIDTH) * 0.3))
    assert part(last) < 0.1 * last.weight


def test_a_campaign_of_another_trunk_rests() -> None:  # rule 5
    made = weigher(like(embedding_id="trunk-2"), of_class(name="crack"))
    assert part(frame(made)) == 0
    assert made.campaigns.resting(ENGINE) == ["like", "c"]
    assert part(frame(made, metadata=tiny_metadata(embedding_id="trunk-2"))) > 0


def test_the_other_weights_are_as_if_there_never_was_a_campaign() -> None:
    plain, asked = stream(weigher(), 0.1, n=300), stream(weigher(of_class(0.4)), 0.1, n=300)
    assert [w.weight for w in plain] == pytest.approx([w.weight - part(w) for w in asked])
    assert [w.audit for w in plain] == [w.audit for w in asked]


def test_near_duplicates_share_what_a_campaign_adds() -> None:  # rule 4
    found = []
    for k in (1, 9):
        made = weigher(of_class())
        stream(made, 0.0, n=200)
        found.append(part(frame(made, defect=0.9, k=k)))
    assert found[1] < found[0] / 8  # the ninth also weighs less in the mean that both are measured by


def test_the_reasons_name_the_campaign_and_add_up_to_the_weight() -> None:
    made = weigher(of_class(id="cracks"), like())
    found = frame(made, defect=0.8)
    assert {name for name in found.reasons if name.startswith(REQUESTED)} == {"requested:cracks", "requested:like"}
    assert sum(found.reasons.values()) == pytest.approx(found.weight, abs=1e-4)


def test_followed_again_a_campaign_goes_on_with_what_it_has_learnt() -> None:
    made = weigher(of_class())
    stream(made, 0.5, n=500)
    made.campaigns.follow([of_class()])
    assert part(frame(made, defect=0.9)) < 3 * frame(made).weight
    made.campaigns.follow([])
    assert not made.campaigns


def test_totals_estimated_from_a_sample_with_a_campaign_are_unbiased() -> None:
    """700 draws of one stream: each total's mean error against its standard error; |z| < 4.1 for all of three."""
    found = stream(weigher(of_class(0.3), like(0.2)), 0.05, n=80)
    weight = np.array([weighed.weight for weighed in found])
    values = np.stack([np.ones(len(found)), [part(w) > 0 for w in found], np.arange(len(found))]).astype(float)
    random, totals = np.random.default_rng(3), []
    for _ in range(700):
        sampler = Sampler(pool_bytes=10_000)
        sampler.open_window(1, byte_budget=1500)
        for i, u in enumerate(1 - random.random(len(weight))):
            sampler.offer(1, str(i), weight=float(weight[i]), u=float(u), size=100)
        kept = [int(key) for key in sampler.keys(1)]
        p = np.array([inclusion_probability(float(weight[i]), sampler.threshold(1)) for i in kept])
        totals.append((values[:, kept] / p).sum(axis=1))
    drawn = np.array(totals)
    z = (drawn.mean(axis=0) - values.sum(axis=1)) / (drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn)))
    assert np.abs(z).max() < 4.1
