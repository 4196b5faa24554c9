"""The policies under infra/iam are the ones that enrolment writes."""

import json
from pathlib import Path

from data.device_rights import device_policy, invitation_policy

FOLDER = Path(__file__).parents[3] / "infra" / "iam"


def test_the_files_for_a_device_and_an_invitation_are_what_enrolment_writes():
    for name, made in (("device", device_policy), ("invitation", invitation_policy)):
        text = (FOLDER / f"{name}.json").read_text().replace("BUCKET", "andon").replace("DEVICE", "line-1")
        assert json.loads(text) == made("andon", "line-1")


def test_by_name_is_the_same_for_the_user_that_asks():
    text = (FOLDER / "devices-by-name.json").read_text().replace("${aws:username}", "line-1").replace("BUCKET", "andon")
    assert json.loads(text) == device_policy("andon", "line-1")


def test_no_policy_allows_everything():
    for path in FOLDER.glob("*.json"):
        for statement in json.loads(path.read_text())["Statement"]:
            assert statement["Effect"] == "Allow"
            assert "*" not in statement["Action"]
            assert "*" not in statement["Resource"]
