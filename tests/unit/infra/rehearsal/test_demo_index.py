"""The demo's archive: one story for a seed, wherever the images are installed."""

from collections import Counter
from pathlib import Path

from data.sources.elpv import ElpvSource
from data.sources.sample import Stage
from infra.rehearsal.archive import read_archive, write_demo_index


def test_a_seed_fixes_what_is_held_out_and_no_group_names_a_folder_of_this_machine(tmp_path: Path):
    one, again, other = (
        read_archive(write_demo_index(tmp_path / f"{n}.csv", seed), {}) for n, seed in enumerate((3, 3, 4))
    )
    assert [(f.group, f.stage) for f in one] == [(f.group, f.stage) for f in again]
    assert [f.stage for f in one] != [f.stage for f in other]
    assert Counter(f.stage for f in one) == {Stage.FACTORY: 1074, Stage.STREAM: 1034, Stage.HOLDOUT: 516}
    assert len({f.group for f in one}) == len(one)
    root = str(ElpvSource.open().root)
    assert all(f.path.is_file() and not f.group.startswith("/") and root not in f.group for f in one)
