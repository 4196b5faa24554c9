"""``andon.toml``: what is read, and what is refused with which words."""

from pathlib import Path

import pytest

from edge_client import Config, ConfigError
from tests.unit.capture.device import Bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


def changed(bundle: Bundle, old: str, new: str) -> Path:
    text = bundle.config.read_text()
    assert old in text
    bundle.config.write_text(text.replace(old, new))
    return bundle.config


def test_a_bundle_is_read_and_its_paths_are_relative_to_the_file(bundle: Bundle):
    config = Config.load(bundle.config)
    assert config.device.name == "line-1"
    assert config.device.key == bundle.folder / "device.key"
    assert config.device.state == bundle.folder / "state"
    assert config.capture.audit_share == 0.3
    assert config.releases is None
    assert config.device.hardware_name() in ("x86_64", "aarch64", "arm64", "amd64")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("reserve_bytes = 0", "reserve_byte = 0", ["capture.reserve_byte", "known are", "reserve_bytes"]),
        ("[capture]", "[captures]", ["captures", "known are"]),
        ("reserve_bytes = 0", 'reserve_bytes = "much"', ["capture.reserve_bytes", "'much'", "a whole number"]),
        ("reserve_bytes = 0", "audit_share = 1.5", ["capture.audit_share", "1.5", "0.01 to 0.99"]),
        ('name = "line-1"', 'name = "../line-1"', ["device.name", "'../line-1'", "expected"]),
        ('station = "aoi-3"', "", ["device.station", "missing"]),
        ('station = "aoi-3"', 'station = "aoi-3"\nhardware = "Jetson Orin"', ["device.hardware", "'Jetson Orin'"]),
        ('key = "device.key"', 'key = "none.key"', ["device.key", "none.key", "not a file"]),
        ('factory_engine = "factory.onnx"', 'factory_engine = "x.onnx"', ["inspection.factory_engine", "x.onnx"]),
        ('directory = "bucket"', "", ["bucket.name", "missing"]),
        ('directory = "bucket"', 'name = "andon"', ["bucket.credentials", "missing"]),
        ("[capture]", "[capture", ["not TOML"]),
        ("[capture]", '[upload]\nhours = "22:00-05:00"\n[capture]', ["upload.hours", "a list of texts"]),
        ("[capture]", '[upload]\nhours = ["22:00-5:00"]\n[capture]', ["upload.hours", "22:00-5:00", "mon-fri"]),
        ("[capture]", "[upload]\nbytes_per_second = 100\n[capture]", ["upload.bytes_per_second", "100", "2000"]),
        ("[capture]", "[upload]\nbytes_per_day = -1\n[capture]", ["upload.bytes_per_day", "-1"]),
        ("[capture]", "[upload]\nmetered = 1\n[capture]", ["upload.metered", "true or false"]),
    ],
)
def test_a_mistake_is_named_with_what_was_found_and_what_was_expected(
    bundle: Bundle, old: str, new: str, words: list[str]
):
    with pytest.raises(ConfigError) as error:
        Config.load(changed(bundle, old, new))
    for word in (*words, str(bundle.config)):
        assert word in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml does not exist"):
        Config.load(tmp_path / "nowhere.toml")


def test_capture_needs_a_recipient(bundle: Bundle):
    with pytest.raises(ConfigError, match=r"cloud\.recipient is missing"):
        Config.load(changed(bundle, f'[cloud]\nrecipient = "{bundle.recipient}"\n', ""))
    assert Config.load(changed(bundle, "reserve_bytes = 0", "enabled = false")).cloud is None


def test_credentials_are_never_shown(bundle: Bundle):
    (bundle.folder / "credentials.toml").write_text('access_key_id = "AK"\nsecret_access_key = "very-secret"\n')
    config = Config.load(changed(bundle, 'directory = "bucket"', 'name = "andon"\ncredentials = "credentials.toml"'))
    assert "very-secret" not in repr(config)
    assert config.open_bucket() is not None
