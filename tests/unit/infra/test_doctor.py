from datetime import UTC, datetime, timedelta

import pytest

from infra.doctor import Level, examine
from infra.doctor.bucket import _expiry
from infra.doctor.machine import check_disk, check_keys, check_packages, check_private_files, check_python
from infra.stack.bring_up import prepare
from infra.stack.layout import Home

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    made.create()
    prepare(made)
    return made


def levels(findings):
    return [finding.level for finding in findings]


def test_this_environment_is_as_tested_or_says_what_is_not():
    assert levels(check_python()) == [Level.OK]
    assert all(finding.level is not Level.WRONG for finding in check_packages())


def test_a_package_of_another_version_than_the_tested_one_is_noted(tmp_path):
    pins = tmp_path / "constraints.txt"
    pins.write_text("numpy==0.0.1\n")
    (finding,) = check_packages(pins)
    assert finding.level is Level.NOTE
    assert "tested: 0.0.1" in finding.text


def test_a_fresh_home_has_private_secrets_and_all_keys_on_one_machine(home):
    assert levels(check_private_files(home)) == [Level.OK]
    (finding,) = check_keys(home)
    assert finding.level is Level.NOTE
    assert "all keys are on one machine" in finding.text
    assert levels(check_disk(home)) in ([Level.OK], [Level.NOTE])


@pytest.mark.parametrize("name", ["secrets.json", "keys/engines.pem", "keys/recipient.age", "tls/bucket.key"])
def test_a_secret_that_others_can_read_is_wrong_and_the_command_is_named(home, name):
    path = home.path / name
    path.chmod(0o644)
    (finding,) = check_private_files(home)
    assert finding.level is Level.WRONG
    assert finding.action == f"chmod 600 {path}"


def test_keys_kept_elsewhere_are_fine_and_missing_online_ones_are_not(home):
    for role in ("root", "targets", "engines"):
        (home.keys / f"{role}.pem").unlink()
    assert levels(check_keys(home)) == [Level.OK]
    (home.keys / "timestamp.pem").unlink()
    assert Level.WRONG in levels(check_keys(home))


def test_metadata_that_expires_soon_is_noted_and_expired_metadata_is_wrong():
    far = {role: NOW + timedelta(days=400) for role in ("timestamp", "engines")}
    assert levels(_expiry(far, NOW)) == [Level.OK]
    assert levels(_expiry({**far, "timestamp": NOW + timedelta(days=6)}, NOW)) == [Level.NOTE]
    assert levels(_expiry({**far, "engines": NOW + timedelta(days=50)}, NOW)) == [Level.NOTE]
    assert levels(_expiry({**far, "timestamp": NOW}, NOW)) == [Level.WRONG]


def test_a_stack_that_is_down_is_wrong_and_every_wrong_thing_says_what_to_do(home):
    findings = examine(home.path)
    wrong = {finding.check: finding for finding in findings if finding.level is Level.WRONG}
    assert {"processes", "bucket", "clock", "releases"} <= set(wrong)
    assert all(finding.action for finding in wrong.values())


def test_without_a_home_the_doctor_says_how_to_begin(tmp_path):
    assert examine(tmp_path)[-1].action == "run `andon up`"
