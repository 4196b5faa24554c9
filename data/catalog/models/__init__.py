"""The tables. Every instant in them is aware and in UTC (:class:`~data.catalog.columns.UtcDateTime`)."""

from data.catalog.models.base import Base
from data.catalog.models.decisions import GateDecisionRow, SnapshotRow
from data.catalog.models.devices import DeviceAccountRow, DeviceInspectionRow, DeviceRow, InspectionRow
from data.catalog.models.drift import DriftAlarmRow, DriftPointRow, DriftWatchRow
from data.catalog.models.fleet import (
    DeviceStatusRow,
    FleetCellRow,
    FleetDeviceRow,
    FleetShardRow,
    HeartbeatRow,
    SilenceAlarmRow,
)
from data.catalog.models.labelling import (
    DrawItemRow,
    DrawRow,
    GoldenAskRow,
    LabelEventRow,
    LabelFlagRow,
    LabelReviewRow,
    LeaseRow,
)
from data.catalog.models.records import ErasureRow, NoticeRow
from data.catalog.models.releases import ReleaseRow, RolloutDeviceRow, RolloutRow, SignedDocumentRow
from data.catalog.models.samples import EventRow, OutcomeRow, QuarantineRow, SampleRow, WindowRow

__all__ = [
    "Base",
    "DeviceAccountRow",
    "DeviceInspectionRow",
    "DeviceRow",
    "DeviceStatusRow",
    "DrawItemRow",
    "DrawRow",
    "DriftAlarmRow",
    "DriftPointRow",
    "DriftWatchRow",
    "ErasureRow",
    "EventRow",
    "FleetCellRow",
    "FleetDeviceRow",
    "FleetShardRow",
    "GateDecisionRow",
    "GoldenAskRow",
    "HeartbeatRow",
    "InspectionRow",
    "LabelEventRow",
    "LabelFlagRow",
    "LabelReviewRow",
    "LeaseRow",
    "NoticeRow",
    "OutcomeRow",
    "QuarantineRow",
    "ReleaseRow",
    "RolloutDeviceRow",
    "RolloutRow",
    "SampleRow",
    "SignedDocumentRow",
    "SilenceAlarmRow",
    "SnapshotRow",
    "WindowRow",
]
