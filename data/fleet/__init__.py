"""The fleet as people look at it: made for ten thousand devices.

`data/heartbeats.py` reads what devices say, shard by shard; here is what becomes of it:

    facts      what a device's row says, from its registration and its newest heartbeat: no I/O
    shards     how the bucket's listing is cut into pages that are read by themselves: no I/O
    rows       keeps the rows and the counts right, in the transaction that changes a status
    taking     takes verified heartbeats over, many in one transaction
    silence    raises and clears alarms of devices that are not heard of
    summary    the counts, by adding up cells: as fast for ten thousand devices as for ten
    table      rows for people: filtered, sorted and cut into pages by the database
"""

from data.fleet.facts import STATES
from data.fleet.silence import SilenceAlarm, list_silences
from data.fleet.summary import FleetSummary, fleet_summary
from data.fleet.table import SORTS, FleetDevice, FleetFilter, FleetPage, fleet_page

__all__ = [
    "SORTS",
    "STATES",
    "FleetDevice",
    "FleetFilter",
    "FleetPage",
    "FleetSummary",
    "SilenceAlarm",
    "fleet_page",
    "fleet_summary",
    "list_silences",
]
