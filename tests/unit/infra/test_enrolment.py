import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.device_rights import device_policy
from edge_client.contract.errors import InvalidName
from infra.enrolment import to_toml

KEYS = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)


@given(document=st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=5), max_size=4))
def test_what_is_written_as_toml_reads_back(document):
    assert tomllib.loads(to_toml(document)) == document


def test_a_device_may_put_below_its_own_prefixes_and_get_releases():
    statements = device_policy("andon", "cam-1")["Statement"]
    assert {(action, resource) for s in statements for action in s["Action"] for resource in s["Resource"]} == {
        ("s3:PutObject", "arn:aws:s3:::andon/inbox/cam-1/*"),
        ("s3:PutObject", "arn:aws:s3:::andon/fleet/cam-1/*"),
        ("s3:GetObject", "arn:aws:s3:::andon/releases/*"),
    }


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "*", "cam-*", "A", "cam?", 'c"'])
def test_no_policy_is_made_for_a_name_that_could_widen_it(name):
    with pytest.raises(InvalidName):
        device_policy("andon", name)
