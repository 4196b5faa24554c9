"""Every setting of a device that the cloud may change: its name, what it may be, its unit and what it means.

1. A name is that of the key in the device's own file (`capture.byte_budget`), save those of `threshold` and `engines`,
   which only the cloud states.
2. A value out of bounds is refused; what the bounds are, stands here alone, for the cloud as for the device.
3. To add one: put it into the table, and let `edge_client` ask for it (`DeviceSettings.of`). Clients that do not know
   it go on without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from edge_client.contract.errors import BadRelease, ConfigError
from edge_client.contract.fields import Fields
from edge_client.contract.regions import LONGEST_TEXT, MOST_REGIONS, read_regions
from edge_client.contract.schedule import Schedule
from edge_client.contract.sealing import seal

MOST_DENIED = 10_000


class Kind(Enum):
    """What a value is."""

    WHOLE = "a whole number"
    NUMBER = "a number"
    FLAG = "true or false"
    HOURS = "a list of hours such as 'mon-fri 22:00-05:00'"
    RECIPIENT = "an age recipient 'age1…'"
    DIGESTS = "a list of SHA-256 digests"
    REGIONS = "a list of regions such as '0.1,0.2 0.5,0.6' (corners of a rectangle, or points of a polygon; 0 to 1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingKey:
    """One setting.

    Attributes:
        unit: "" where it has none.
        least: With `most` the bounds of a number.
        or_nothing: 0 is allowed beside the bounds, for no limit.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    least: float = 0.0
    most: float = 0.0
    or_nothing: bool = False

    @property
    def expected(self) -> str:
        """What a value may be, in words."""
        if self.kind not in (Kind.WHOLE, Kind.NUMBER):
            return str(self.kind.value)
        nothing = "0 (no limit), or " if self.or_nothing else ""
        unit = f" {self.unit}" if self.unit else ""
        return f"{nothing}{self.kind.value} from {self.least:g} to {self.most:g}{unit}"

    def read(self, value: Any) -> Any:
        """Return a value as it is used.

        Raises:
            BadRelease: It is out of bounds or of another kind (rule 2).
        """
        fields = Fields({self.name: value}, "device settings", BadRelease)
        if self.kind is Kind.FLAG:
            return fields.flag(self.name)
        if self.kind is Kind.DIGESTS:
            digests = fields.texts(self.name, most=MOST_DENIED, longest=64)
            if any(len(digest) != 64 or not set(digest) <= set("0123456789abcdef") for digest in digests):
                raise fields.wrong(self.name, value, "digests of 64 lower-case hex digits")
            return digests
        if self.kind is Kind.REGIONS:
            regions = fields.texts(self.name, most=MOST_REGIONS, longest=LONGEST_TEXT)
            try:
                read_regions(regions)
            except ConfigError as error:
                raise BadRelease(f"device settings: {self.name}: {error}") from error
            return regions
        if self.kind is Kind.HOURS:
            hours = fields.texts(self.name, most=100, longest=100)
            try:
                Schedule.read(hours)
            except ConfigError as error:
                raise BadRelease(f"device settings: {self.name}: {error}") from error
            return hours
        if self.kind is Kind.RECIPIENT:
            recipient = fields.text(self.name, most=100)
            try:
                seal(b"", recipient)
            except ConfigError as error:
                raise BadRelease(f"device settings: {self.name}: {error}") from error
            return recipient
        number = fields.number(self.name)
        whole = self.kind is Kind.WHOLE
        if (whole and not isinstance(value, int)) or not (
            self.least <= number <= self.most or (self.or_nothing and number == 0)
        ):
            raise fields.wrong(self.name, value, self.expected)
        return value if whole else number


def _whole(name: str, meaning: str, unit: str, least: int, most: int, *, or_nothing: bool = False) -> SettingKey:
    return SettingKey(
        name=name, kind=Kind.WHOLE, meaning=meaning, unit=unit, least=least, most=most, or_nothing=or_nothing
    )


def _number(name: str, meaning: str, unit: str, least: float, most: float) -> SettingKey:
    return SettingKey(name=name, kind=Kind.NUMBER, meaning=meaning, unit=unit, least=least, most=most)


_KEYS = (
    _whole("capture.byte_budget", "B: sealed bytes that a window of captured frames may keep", "bytes", 0, 1 << 40),
    _number("capture.window_seconds", "length of a capture window", "s", 0.1, 7 * 86_400),
    _number("capture.idle_close_seconds", "a window ends when no frame came for so long", "s", 0.1, 7 * 86_400),
    _number("capture.audit_share", "φ: share of the sampling weight that every frame gets", "", 0.01, 0.99),
    SettingKey(name="upload.hours", kind=Kind.HOURS, meaning="hours of uploading, local time; an empty list is always"),
    _whole("upload.bytes_per_second", "most bytes uploaded a second", "bytes/s", 2000, 1 << 34, or_nothing=True),
    _whole("upload.bytes_per_day", "most bytes uploaded on a local day", "bytes", 100_000, 1 << 44, or_nothing=True),
    SettingKey(
        name="mode.advisory",
        kind=Kind.FLAG,
        meaning="everything runs, the application is told not to act; what the device's own file says stays true",
    ),
    _number(
        "threshold.defect",
        "risk from which a frame is a defect; thresholds by class and the unsure band move in proportion",
        "",
        0.001,
        0.999,
    ),
    _number("threshold.unsure_low", "risk from which a frame is unsure", "", 0.0, 1.0),
    _number("threshold.unsure_high", "risk from which it no longer is", "", 0.0, 1.0),
    _number("threshold.anomaly", "anomaly score from which an ok is not believed; 1 is the engine's own", "", 0.1, 10),
    SettingKey(
        name="cloud.recipient", kind=Kind.RECIPIENT, meaning="the key to which captured frames are sealed from now on"
    ),
    SettingKey(
        name="mask.regions",
        kind=Kind.REGIONS,
        meaning="what of a frame is black in what is stored and sent; adds up over all layers and the device's file",
    ),
    SettingKey(name="mask.engine", kind=Kind.FLAG, meaning="the engine is shown the masked frame too"),
    SettingKey(
        name="engines.deny", kind=Kind.DIGESTS, meaning="engines that must not run; the lists of all layers add up"
    ),
)

#: Every setting by name, in the order in which they are shown.
SETTING_KEYS: Mapping[str, SettingKey] = {key.name: key for key in _KEYS}
#: What a device's own file cannot pin: an engine that was found bad must be stoppable everywhere.
#: And a mask can only be widened: what a customer asked for is not kept away by a device's file.
NEVER_LOCAL = ("engines.deny", "mask.regions")
#: Whose values in several layers are put together instead of replaced.
UNITED = ("engines.deny", "mask.regions")
