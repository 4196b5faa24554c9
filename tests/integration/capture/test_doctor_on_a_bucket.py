"""The doctor against a real bucket server with real accounts."""

from pathlib import Path

from edge_client.clock import SystemClock
from edge_client.config import Config
from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.names import status_key
from edge_client.doctor.bucket import check_bucket, probe_key
from edge_client.doctor.clock import check_clock
from edge_client.doctor.finding import Result
from tests.integration.capture.weed import running_weed
from tests.unit.capture.device import Bundle


def told(config: Config) -> tuple[Result, str]:
    (finding,) = check_bucket(config, config.open_bucket())
    return finding.result, finding.found + " | " + finding.remedy


def write_credentials(folder: Path, settings: S3Settings) -> None:
    (folder / "credentials.toml").write_text(
        f'access_key_id = "{settings.access_key_id}"\nsecret_access_key = "{settings.secret_access_key}"\n'
    )


def test_rights_that_are_right_too_wide_wrong_revoked_and_a_server_that_is_away(tmp_path: Path):
    with running_weed(tmp_path / "weed") as weed:
        endpoint = weed.settings.endpoint_url
        bundle = Bundle(
            tmp_path / "device",
            bucket=f'name = "andon"\nendpoint_url = "{endpoint}"\ncredentials = "credentials.toml"',
        )
        account = weed.enrol("line-1")
        write_credentials(bundle.folder, account)
        config = Config.load(bundle.config)
        assert told(config)[0] is Result.OK
        assert S3Bucket.connect(weed.settings).get(probe_key("line-1"), max_bytes=100)
        assert probe_key("line-1") != status_key("line-1")
        (clock,) = check_clock(config, SystemClock())
        assert clock.result is Result.OK
        assert "within" in clock.found

        write_credentials(bundle.folder, weed.settings)
        result, words = told(config)
        assert result is Result.WARNING
        assert "may also list" in words

        write_credentials(bundle.folder, S3Settings(**{**_fields(account), "secret_access_key": "wrong"}))
        assert told(config)[0] is Result.PROBLEM

        weed.revoke("line-1", account.access_key_id)
        write_credentials(bundle.folder, account)
        result, words = told(config)
        assert result is Result.PROBLEM
        assert "revoked" in words

        weed.kill()
        result, words = told(config)
        assert result is Result.PROBLEM
        assert "not reached" in words
        assert [f.result for f in check_clock(config, SystemClock())] == [Result.WARNING]


def _fields(settings: S3Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in ("bucket", "endpoint_url", "access_key_id", "region")}
