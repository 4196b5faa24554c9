"""When this client was built: no right clock shows an earlier time."""

from datetime import UTC, datetime

BUILT_AT = datetime(2026, 1, 1, tzinfo=UTC)  # raised with each release of the client; never later than it
