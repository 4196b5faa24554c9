from __future__ import annotations

import random
from pathlib import Path

import pytest

from data.services import Services, load_services, parse_database
from edge_client.contract.bucket import S3Settings
from infra.stack.layout import Home, StackError
from infra.stack.ports import PORT_NAMES, choose_ports
from infra.stack.processes import BUCKET, CONSOLE, FOUNDATION, MLFLOW, PREFECT, RELEASES, SERVING, process_specs
from infra.stack.secrets_file import StackSecrets
from infra.stack.servers import bucket_environment, mlflow_database, mlflow_server, prefect_database
from infra.stack.state import StackState
from infra.stack.stated import state_database

DATABASE = parse_database(
    "postgresql://andon@db.plant/andon?sslmode=verify-full&sslrootcert=/etc/plant.pem", "here", password="p@ss word"
)
ELSEWHERE = S3Settings(bucket="b", endpoint_url="https://swift.plant", access_key_id="a", secret_access_key="hidden-1")


def specs_of(home: Path, services: Services) -> dict[str, tuple[str, ...]]:
    state = StackState(ports=choose_ports(PORT_NAMES, random.Random(0)))
    made = process_specs(Home(home), state, StackSecrets.generate(), {"PATH": "/bin"}, services)
    for spec in made:
        assert not any("p%40ss" in word or "hidden-1" in word for word in spec.command)
    return {spec.name: spec.needs for spec in made}


def test_what_is_elsewhere_is_not_started_and_not_waited_for(tmp_path: Path):
    assert specs_of(tmp_path, Services(database=DATABASE, bucket=ELSEWHERE)) == {
        PREFECT: (), MLFLOW: (), FOUNDATION: (), SERVING: (FOUNDATION,), CONSOLE: (FOUNDATION,),
        RELEASES: (FOUNDATION,),
    }  # fmt: skip
    away = Services(database=DATABASE, bucket=ELSEWHERE, mlflow_url="http://m", prefect_url="http://p")
    assert set(specs_of(tmp_path, away)) == {FOUNDATION, SERVING, CONSOLE, RELEASES}
    assert specs_of(tmp_path, Services(database=DATABASE))[FOUNDATION] == (BUCKET,)


def test_each_driver_is_told_of_tls_in_its_own_way():
    assert mlflow_database(DATABASE) == (
        "postgresql+psycopg://andon:p%40ss%20word@db.plant/andon_mlflow?sslmode=verify-full&sslrootcert=/etc/plant.pem"
    )
    assert prefect_database(DATABASE) == {
        "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://andon:p%40ss%20word@db.plant/andon_prefect",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/plant.pem",
    }


def test_a_role_is_left_to_be_found_and_an_account_is_told():
    told = bucket_environment(ELSEWHERE)
    assert (told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"]) == ("a", "hidden-1")
    role = bucket_environment(S3Settings(bucket="b", endpoint_url=None, access_key_id="", secret_access_key=""))
    assert not any("KEY" in name or "METADATA" in name for name in role)


def test_mlflow_answers_to_the_name_by_which_others_call_it():
    server = mlflow_server(host="0.0.0.0", port=5000, database="x", bucket=ELSEWHERE, called="http://mlflow:5000")
    assert {"mlflow", "mlflow:5000", "localhost:5000"} <= set(
        server.environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    )


def test_a_new_home_notes_its_database_once(tmp_path: Path):
    home, url = tmp_path / "home", "postgresql://andon:secret@db.plant/andon"
    state_database(home, url)
    found = load_services(home, {}).database
    assert found is not None
    assert found.url == url
    assert (home / "services.toml").stat().st_mode & 0o777 == 0o600
    state_database(home, url)  # said again: harmless
    with pytest.raises(StackError, match="another database"):
        state_database(home, "postgresql://andon@elsewhere/andon")


def test_a_home_with_a_catalog_in_a_file_is_not_given_an_empty_one_beside_it(tmp_path: Path):
    (tmp_path / "stack.json").write_text("{}")
    with pytest.raises(StackError, match="keeps its catalog in a file"):
        state_database(tmp_path, "postgresql://andon@db.plant/andon")
    assert not (tmp_path / "services.toml").exists()
