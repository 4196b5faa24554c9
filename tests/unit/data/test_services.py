from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from data.device_rights import DeviceAccounts
from data.services import Services, load_services, parse_database
from data.shared_account import SharedAccount
from data.workspace import Workspace, catalog_url_of, default_catalog_url
from edge_client.contract.errors import ConfigError, Refused

WHOLE = """
[database]
url = "postgresql://andon@db.plant:5433/andon?sslmode=verify-full"
password_file = "password"
[bucket]
name = "plant"
endpoint_url = "https://swift.plant"
access_key_id = "a"
secret_access_key_file = "secret"
[mlflow]
url = "http://mlflow:5000/"
[prefect]
url = "http://prefect:4200"
[console]
url = "https://andon.plant"
"""


def stated(home: Path, text: str) -> Path:
    (home / "services.toml").write_text(text)
    (home / "password").write_text("p@ss:/ %ü\n")
    (home / "secret").write_text("s3cret\n")
    return home


def test_without_the_file_everything_is_on_this_machine(tmp_path: Path):
    assert load_services(tmp_path, {}) == Services()
    assert catalog_url_of(tmp_path, {}) == default_catalog_url(tmp_path)


def test_where_all_is_elsewhere_a_part_needs_no_stack_here(tmp_path: Path):
    workspace = Workspace.open(stated(tmp_path, WHOLE), environ={})
    assert workspace.catalog_url == catalog_url_of(tmp_path, {})
    assert workspace.mlflow_url == "http://mlflow:5000"
    assert (workspace.prefect_url, workspace.console_url) == ("http://prefect:4200", "https://andon.plant")
    bucket = workspace.bucket_settings
    assert (bucket.bucket, bucket.access_key_id, bucket.secret_access_key) == ("plant", "a", "s3cret")
    assert "s3cret" not in repr(workspace)


def test_a_password_of_any_characters_arrives(tmp_path: Path):
    database = load_services(stated(tmp_path, WHOLE), {}).database
    assert database is not None
    parts = urlsplit(database.url)
    assert (unquote(parts.password or ""), parts.hostname, parts.port) == ("p@ss:/ %ü", "db.plant", 5433)
    assert (database.name, database.mlflow, database.prefect) == ("andon", "andon_mlflow", "andon_prefect")
    other = urlsplit(database.url_of(database.prefect, driver="postgresql+asyncpg", query=False))
    assert (other.scheme, other.path, other.query, other.password) == (
        "postgresql+asyncpg", "/andon_prefect", "", parts.password,
    )  # fmt: skip
    assert parts.password not in repr(database)


def test_the_variable_names_another_file_and_its_secrets_lie_beside_it(tmp_path: Path):
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    stated(elsewhere, WHOLE)
    found = load_services(tmp_path / "home", {"ANDON_SERVICES": str(elsewhere / "services.toml")})
    assert found.bucket is not None
    assert found.bucket.secret_access_key == "s3cret"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[databse]\nurl='x'", r"\[databse\] is not known"),
        ("[bucket]\nnam='x'", "'nam', which is not known"),
        ("[bucket]\nendpoint_url='https://x'", "has no name"),
        ("[bucket]\nname='x'\naccess_key_id='a'", "only one half"),
        ("[bucket]\nname='x'\naddressing='dns'", "expected path or virtual"),
        ("[bucket]\nname='x'\naccess_key_id='a'\naccess_key_id_file='secret'", "give one of them"),
        ("[bucket]\nname='x'\naccess_key_id='a'\nsecret_access_key_file='none'", "a secret that .* cannot be read"),
        ("[database]\nurl='mysql://u@h/n'", "is not a PostgreSQL database"),
        ("[database]\nurl='postgresql://u@h'", "is not a PostgreSQL database"),
        ("[database]\nurl='postgresql://u:p@h/n'\npassword_file='password'", "no password of its own"),
        ("[mlflow]\nurl='mlflow:5000'", "expected http"),
        ("[mlflow]\nurl=5", "expected a text"),
        ("x", "cannot be read as TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        load_services(stated(tmp_path, text), {})


def test_a_wrong_database_is_told_without_its_password():
    with pytest.raises(ConfigError) as told:
        parse_database("mysql://u:hidden@h:1/n", "--database")
    assert "hidden" not in str(told.value)


def test_without_an_account_the_bucket_is_reached_by_the_machines_role(tmp_path: Path):
    bucket = load_services(stated(tmp_path, "[bucket]\nname='x'"), {}).bucket
    assert bucket is not None
    assert (bucket.access_key_id, bucket.endpoint_url) == ("", None)


def test_devices_have_accounts_of_their_own_unless_one_for_all_is_named(tmp_path: Path):
    own = Workspace.open(stated(tmp_path, WHOLE), environ={})
    assert isinstance(own.device_accounts(), DeviceAccounts)
    text = WHOLE.replace("[mlflow]", "device_access_key_id = 'd'\ndevice_secret_access_key_file = 'secret'\n[mlflow]")
    shared = Workspace.open(stated(tmp_path, text), environ={}).device_accounts()
    assert isinstance(shared, SharedAccount)
    assert shared.create("line-1") == shared.invite("line-2")
    assert shared.remove("line-1") is False
    with pytest.raises(Refused, match="share one account"):
        shared.add_key("line-1", known=())


def test_a_ray_cluster_is_named_or_there_is_none(tmp_path: Path):
    assert load_services(tmp_path, {}).ray_address == ""
    for address in ("ray://ray-head:10001", "10.0.0.4:6379"):
        stated(tmp_path, f'[ray]\naddress = "{address}"\n')
        assert load_services(tmp_path, {}).ray_address == address
    for wrong in ("auto", "http://ray-head:8265", "ray://ray-head", ""):
        stated(tmp_path, f'[ray]\naddress = "{wrong}"\n')
        with pytest.raises(ConfigError, match="expected"):
            load_services(tmp_path, {})
