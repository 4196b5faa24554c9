"""Does a database that SQLite finds whole hold what a client wrote? A disk may zero the inside of a row unseen.

Only what a restart relies on is looked at: numbers of the spool, windows that are not closed, and entries that are
still kept. One pass in SQL; 10,000 kept entries take some 20 ms.
"""

import sqlite3
from datetime import datetime

from edge_client.tally import Tally

_HEX = "length({0}) = {1} AND {0} NOT GLOB '*[^0-9a-f]*'"
_BAD_ENTRIES = f"""
    SELECT sequence FROM entries WHERE state NOT IN ('evicted', 'uploaded', 'damaged') AND NOT coalesce(
        state = 'kept' AND typeof(sample_id) = 'text' AND {_HEX.format("sample_id", 32)}
        AND typeof(sha256) = 'text' AND {_HEX.format("sha256", 64)}
        AND typeof(window) = 'integer' AND typeof(bytes) = 'integer' AND bytes >= 0
        AND typeof(weight) = 'real' AND weight >= 0 AND weight < 1e300 AND typeof(u) = 'real' AND u > 0 AND u <= 1
        AND (extra IS NOT NULL OR weight > 0) AND (extra IS NULL OR extra NOT GLOB '*[^a-z]*')
        AND typeof(run) = 'integer' AND json_valid(reasons), 0)
    LIMIT 1
"""  # noqa: S608 -- constants
_BAD_WINDOWS = """
    SELECT window FROM windows WHERE NOT coalesce(
        state IN ('open', 'sealed', 'settled', 'closed') AND typeof(byte_budget) = 'integer'
        AND typeof(tau) = 'real' AND tau >= 0 AND tau < 1e300, 0)
    LIMIT 1
"""


def what_no_client_wrote(connection: sqlite3.Connection) -> str:
    """Return the first thing found that no client can have written; empty if there is none."""
    try:
        for key, value in connection.execute("SELECT key, value FROM meta"):
            if key not in ("epoch", "next_window", "next_run") or int(value) < 0:
                return f"meta says {key!r} = {value!r}"
        for table, query in (("entry", _BAD_ENTRIES), ("window", _BAD_WINDOWS)):
            row = connection.execute(query).fetchone()
            if row is not None:
                return f"{table} {row[0]} holds what no client writes"
        for opened_at, closed_at, tally in connection.execute(
            "SELECT opened_at, closed_at, tally FROM windows WHERE state != 'closed'"
        ):
            datetime.fromisoformat(opened_at)
            datetime.fromisoformat(closed_at)
            Tally.from_json(tally)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"a value cannot be read: {error!r}"
    return ""
