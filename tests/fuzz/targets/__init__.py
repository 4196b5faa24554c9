"""Every target by its name."""

from tests.fuzz.target import Target
from tests.fuzz.targets.configuration import CONFIGURATION
from tests.fuzz.targets.directions import CAMPAIGNS, HELP, HELP_REPLY, LAYERS
from tests.fuzz.targets.engine import ENGINE, METADATA
from tests.fuzz.targets.images import IMAGES
from tests.fuzz.targets.records import HEARTBEAT, RECORD
from tests.fuzz.targets.releases import CHANNEL, CHUNKS, SELFTEST, SETTINGS
from tests.fuzz.targets.requests import CALL, REQUEST
from tests.fuzz.targets.samples import SAMPLE, SHARD, UPLOAD
from tests.fuzz.targets.streams import DATE, STREAM
from tests.fuzz.targets.told import TOLD

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        ENGINE, METADATA, SETTINGS, LAYERS, CAMPAIGNS, HELP, HELP_REPLY, CHANNEL, CHUNKS, SELFTEST, CONFIGURATION,
        RECORD, HEARTBEAT, SHARD, SAMPLE, UPLOAD, IMAGES,
        STREAM, DATE, REQUEST, CALL, TOLD,
    )
}  # fmt: skip
