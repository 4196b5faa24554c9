"""Every row of the attack matrix: refused with its reason, nothing changed, and the next true release is taken."""

from pathlib import Path

import pytest

from tests.integration.updates.attacks import MATRIX, Attack, carry_out, prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("scene") / "world")


@pytest.mark.parametrize("attack", MATRIX, ids=lambda attack: f"{attack.name}: {attack.how}")
def test_an_attack_is_refused_with_its_reason_and_changes_nothing(attack: Attack, prepared: Path, tmp_path: Path):
    seen = carry_out(attack, prepared, tmp_path / "world")
    assert (seen.check, seen.changed) == (attack.check, ()), seen
    assert attack.because in seen.reason
    assert seen.recovered, seen


def test_the_matrix_has_every_attack_that_was_promised():
    promised = {
        "unsigned", "tampered", "replayed", "frozen", "mix-and-match", "oversized", "endless data", "slow retrieval",
        "wrong target", "rollback by old metadata", "fast-forward", "stolen `rollouts` key", "stolen timestamp key",
        "clock at 1970", "clock at 2099", "root skipped", "symlinked slot",
    }  # fmt: skip
    assert promised <= {attack.name for attack in MATRIX}
