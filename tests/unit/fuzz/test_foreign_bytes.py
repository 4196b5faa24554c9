"""Every reader of foreign bytes, over its valid documents, some mutations of them, and what fuzzing once found.

The mutations are those of `python -m tests.fuzz`, without its guidance by coverage: few, quick and the same each time.
"""

from random import Random

import pytest

from tests.fuzz.found import FOUND
from tests.fuzz.target import Verdict, run_one
from tests.fuzz.targets import TARGETS

# Each target gets about 0.2 s; the counts are by what one input costs.
_MUTATIONS = {
    "engine": 60,
    "metadata": 250,
    "settings": 400,
    "layers": 200,
    "campaigns": 200,
    "help": 200,
    "help_reply": 120,
    "channel": 400,
    "chunks": 100,
    "selftest": 60,
    "configuration": 40,
    "record": 120,
    "heartbeat": 160,
    "shard": 400,
    "sample": 400,
    "upload": 25,
    "image": 150,
    "stream": 150,
    "date": 2000,
    "request": 40,
    "call": 80,
    "told": 400,
}


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_products_writers_make_is_accepted(name: str) -> None:
    target = TARGETS[name]
    assert {run_one(target, seed) for seed in target.seeds()} == {Verdict.ACCEPTED}


@pytest.mark.parametrize("name", TARGETS)
def test_a_changed_document_is_accepted_or_refused_and_nothing_else(name: str) -> None:
    target, random = TARGETS[name], Random(7)
    pool = list(target.seeds())
    verdicts = []
    for _ in range(_MUTATIONS[name]):
        changed = target.mutate(random.choice(pool), random)
        verdicts.append(run_one(target, changed))
        if len(pool) < 50:
            pool.append(changed)  # the next change is made on top of it
    if target.refusals:
        assert verdicts.count(Verdict.REFUSED) > len(verdicts) / 10  # the mutations do reach the checks


@pytest.mark.parametrize(("name", "data"), [pytest.param(f.target, f.make, id=f"{f.target}: {f.what}") for f in FOUND])
def test_what_fuzzing_found_is_refused(name: str, data: object) -> None:
    assert callable(data)
    assert run_one(TARGETS[name], data()) is Verdict.REFUSED
