"""``andon.toml`` → frozen `Config`.

Every table and key is known: an unknown one is an error that names it and lists the known ones, so that a misspelt
setting can't be silently ignored. Relative paths are relative to the file's own folder.

```toml
[device]
name = "line-1"
site = "plant-a"
station = "aoi-3"
key = "device.key"        # Ed25519, signs records and heartbeats
state = "state"           # spool, engine slots, metadata

[inspection]
name = "solar-cells"
factory_engine = "factory.onnx"
channel = "stable"

[bucket]                  # leave the table out to run without a cloud; `directory = "…"` uses a folder instead
name = "andon"
endpoint_url = "https://s3.example.com"
credentials = "credentials.toml"

[cloud]
recipient = "age1…"       # captured samples are sealed to this key

[upload]                  # leave the table out to upload at any time, as fast as it goes
hours = ["22:00-05:00"]   # nights only

[releases]
root = "root.json"        # trusted first TUF root; leave the table out for no updates
mirrors = ["http://10.0.0.5:8080/"]   # asked before the bucket; leave out for none
```
"""

from edge_client.config.config import TABLES, Config
from edge_client.config.tables import (
    BucketConfig,
    CaptureConfig,
    DeviceConfig,
    InspectionConfig,
    ShareConfig,
    UploadConfig,
)

__all__ = [
    "TABLES",
    "BucketConfig",
    "CaptureConfig",
    "Config",
    "DeviceConfig",
    "InspectionConfig",
    "ShareConfig",
    "UploadConfig",
]
