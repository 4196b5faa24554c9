"""The device's own file, ``andon.toml``."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from edge_client.config import Config
from edge_client.contract.errors import ConfigError
from tests.fuzz.mutations.toml import mutate_toml
from tests.fuzz.target import Target

_FULL = b"""
[device]
name = "line-1"
site = "plant-a"
station = "aoi-3"
key = "device.key"
state = "state"
heartbeat_seconds = 30.0

[inspection]
name = "solar-cells"
factory_engine = "factory.onnx"
factory_selftest = "factory.selftest"
channel = "stable"
provider = "cpu"
threads = 2
goal = "throughput"
skip_unchanged = 0.01

[bucket]
name = "andon"
endpoint_url = "https://s3.example.com"
region = "us-east-1"
credentials = "credentials.toml"
addressing = "path"
connect_seconds = 5.0

[cloud]
recipient = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"

[releases]
root = "root.json"

[capture]
enabled = true
byte_budget = 2_000_000
audit_share = 0.3

[upload]
hours = ["mon-fri 18:00-06:00", "sat,sun 00:00-24:00"]
metered = false
bytes_per_second = 250_000
share = "link"

[update]
poll_seconds = 30.0

[mode]
advisory = true

[metrics]
port = 9100
host = "127.0.0.1"
"""
_SMALL = b"""[device]
name = "a"
site = "b"
station = "c"
key = "device.key"
[inspection]
name = "d"
factory_engine = "factory.onnx"
[bucket]
directory = "bucket"
[capture]
enabled = false
"""


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder with the files that the seeds name; it goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="andon-fuzz-")
    for name in ("device.key", "factory.onnx", "credentials.toml", "root.json"):
        (Path(folder.name) / name).write_bytes(b"")
    return folder


def read_configuration(data: bytes) -> None:
    """Load a configuration from a file of these bytes; every path in it must be absolute."""
    file = Path(_folder().name) / "andon.toml"
    file.write_bytes(data)
    config = Config.load(file)
    for path in (config.device.key, config.device.state, config.inspection.factory_engine):
        assert path.is_absolute()
    hash(config)


CONFIGURATION = Target(
    name="configuration",
    read=read_configuration,
    refusals=(ConfigError,),
    seeds=lambda: (_FULL, _SMALL),
    mutate=mutate_toml,
)
