"""Telemetry is off, and the addresses are those of the home directory."""

from pathlib import Path

import pytest

from data.workspace import Workspace
from edge_client.contract.bucket import S3Settings
from flows.environment import point_at, prefect_api_url


def test_a_process_talks_to_the_servers_of_its_home_and_tells_nobody_else(tmp_path: Path) -> None:
    settings = S3Settings(bucket="b", endpoint_url=None, access_key_id="a", secret_access_key="s")
    workspace = Workspace(
        home=tmp_path,
        catalog_url="sqlite://",
        bucket_settings=settings,
        mlflow_url="http://127.0.0.1:5000",
        prefect_url="http://127.0.0.1:4200",
    )
    environ = {"PREFECT_API_URL": "http://elsewhere/api", "MLFLOW_HTTP_REQUEST_TIMEOUT": "7"}

    point_at(workspace, environ)

    assert environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert environ["ANDON_HOME"] == str(tmp_path)
    assert environ["DO_NOT_TRACK"] == "1"
    assert environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/api", "http://h:1/api/"])
def test_prefects_api_is_found_however_its_address_is_written(url: str) -> None:
    assert prefect_api_url(url) == "http://h:1/api"
