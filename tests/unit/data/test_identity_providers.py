"""What `services.toml` says of an identity provider, sign-ins on their way, and whose account somebody has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data.catalog import Catalog
from data.identity_provider import IdentityProvider
from data.services import load_services
from data.users import Role, UserError
from data.users.accounts import add_user, get_user, list_users
from data.users.begun import LASTS, MOST_OPEN, begin_sign_in, end_sign_in
from data.users.identities import join, known_by, name_from
from data.users.links import new_link, use_link
from edge_client.contract.errors import ConfigError

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
ISSUER = "https://sso.plant/realms/plant"
LEAST = f'[oidc]\nissuer = "{ISSUER}"\nclient_id = "andon"\n'


def stated(home: Path, text: str) -> IdentityProvider:
    (home / "services.toml").write_text(text)
    (home / "secret").write_text("s3cret\n")
    found = load_services(home, {}).identity_provider
    assert found is not None
    return found


def test_the_file_states_roles_and_a_secret_that_is_not_shown(tmp_path: Path):
    text = 'client_secret_file = "secret"\nadmin = "heads"\nlabeller = ["line", "heads"]\nscopes = "profile  openid"\n'
    plant = stated(tmp_path, LEAST + text)
    assert (plant.client_secret, plant.name, plant.scopes) == ("s3cret", "sso.plant", "profile openid")
    assert "s3cret" not in repr(plant)
    assert plant.role_of({"groups": ["line"]}) is Role.LABELLER
    assert plant.role_of({"groups": "heads"}) is Role.ADMIN  # of two roles for one value the higher
    assert (plant.local_login, plant.ends_there) == (True, True)


@pytest.mark.parametrize(
    "claims", [{}, {"groups": None}, {"groups": {"line": True}}, {"groups": [1, ["line"]]}, {"groups": "lin"}]
)
def test_odd_claims_give_no_role(claims: dict[str, Any]):
    plant = IdentityProvider(issuer=ISSUER, client_id="a", name="n", roles={"line": Role.ADMIN})
    assert plant.role_of(claims) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[oidc]\nclient_id = "a"\ndefault_role = "viewer"', "issuer is ''"),
        ('[oidc]\nissuer = "http://sso.plant"\nclient_id = "a"', "expected https"),
        ('[oidc]\nissuer = "https://sso.plant?x=1"\nclient_id = "a"', "expected https"),
        (f'[oidc]\nissuer = "{ISSUER}"', "no client_id"),
        (LEAST, "lets nobody in"),
        (LEAST + 'default_role = "boss"', "'boss', expected viewer or labeller"),
        (LEAST + 'grups = "x"', "'grups', which is not known"),
        (LEAST + "admin = [1]", r"admin is \[1\]"),
        (LEAST + 'default_role = "viewer"\nscopes = "profile"', "without openid"),
        (LEAST + 'default_role = "viewer"\nlocal_login = "no"', "expected on or off"),
        (LEAST + 'default_role = "viewer"\nclient_secret = "a"\nclient_secret_file = "b"', "give one of them"),
        (LEAST + 'default_role = "viewer"\nclient_secret_file = "gone"', "gone.*cannot be read"),
        (LEAST + 'default_role = "viewer"\nca_bundle = "gone"', "is no file"),
        (LEAST + "name = 3", "name is 3, expected a text"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        stated(tmp_path, text)


def test_a_sign_in_is_ended_once_by_the_browser_that_began_it_and_in_time(catalog: Catalog):
    def begun(at: datetime = NOW) -> Any:
        made = begin_sign_in(catalog, browser="b", onward="/fleet", address="10.0.0.1", at=at)
        assert made is not None
        return made

    one, other = begun(), begun()
    assert end_sign_in(catalog, one.state, browser="thief", at=NOW) is None
    assert end_sign_in(catalog, "made up", browser="b", at=NOW) is None
    assert end_sign_in(catalog, one.state, browser="b", at=NOW) == one
    assert end_sign_in(catalog, one.state, browser="b", at=NOW) is None
    assert end_sign_in(catalog, other.state, browser="b", at=NOW + LASTS) is None
    assert one.state not in repr(one)


def test_an_address_has_so_many_sign_ins_on_their_way(catalog: Catalog):
    def begin(address: str, at: datetime = NOW) -> bool:
        return begin_sign_in(catalog, browser="b", onward="/", address=address, at=at) is not None

    assert [begin("10.0.0.1") for _ in range(MOST_OPEN + 1)].count(True) == MOST_OPEN
    assert begin("10.0.0.2")
    assert begin("10.0.0.1", NOW + LASTS + timedelta(seconds=1))


def test_somebody_is_known_by_the_subject_and_the_role_follows(catalog: Catalog):
    def come(subject: str, called: str, role: Role, issuer: str = ISSUER) -> Any:
        return known_by(catalog, issuer=issuer, subject=subject, called=called, role=role, at=NOW)

    first = come("1", "ann", Role.LABELLER)
    assert (first.new, first.user.name, first.user.issuer) == (True, "ann", ISSUER)
    again = come("1", "Ann Lee", Role.ADMIN)
    assert (again.new, again.before, again.user.name, again.user.role) == (False, Role.LABELLER, "ann", Role.ADMIN)
    assert come("1", "ann", Role.VIEWER).user.role is Role.VIEWER  # the last admin's, too
    with pytest.raises(UserError, match=r"already.*andon user join Ann '2'"):
        come("2", "Ann", Role.ADMIN)
    with pytest.raises(UserError, match="already"):
        come("1", "ann", Role.ADMIN, "https://other.plant")  # the same number of another issuer is somebody else
    with pytest.raises(UserError, match="cannot be a user's name"):
        come("3", "___", Role.ADMIN)
    assert [user.name for user in list_users(catalog)] == ["ann"]


def test_an_account_that_is_joined_loses_its_password_and_links(catalog: Catalog):
    add_user(catalog, "bob", Role.ADMIN, at=NOW, password="a sentence will do")
    link = new_link(catalog, "bob", at=NOW)
    join(catalog, "bob", issuer=ISSUER, subject="9")
    assert get_user(catalog, "bob").has_password is False
    assert use_link(catalog, link, at=NOW) is None
    found = known_by(catalog, issuer=ISSUER, subject="9", called="robert", role=Role.LABELLER, at=NOW)
    assert (found.new, found.user.name) == (False, "bob")
    add_user(catalog, "cid", Role.VIEWER, at=NOW)
    with pytest.raises(UserError, match="is 'bob' already"):
        join(catalog, "cid", issuer=ISSUER, subject="9")


@pytest.mark.parametrize("said", ["", "   ", "..", "@@@", "日本"])
def test_a_name_of_which_nothing_remains_is_none(said: str):
    assert name_from(said) == ""
