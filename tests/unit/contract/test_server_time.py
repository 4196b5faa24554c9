"""The bucket's own time: what an answer may tell, and what it may not do to the device."""

from datetime import UTC, datetime, timedelta

import pytest

from edge_client.contract.server_time import ServerTime

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_requests_are_signed_with_the_servers_time_when_the_clock_is_far_off() -> None:
    clock = ServerTime(lambda: NOW)
    clock.learn("Fri, 02 Jan 2026 06:04:05 GMT")
    assert clock.now() == NOW + timedelta(hours=3)
    clock.learn("Fri, 02 Jan 2026 03:04:45 GMT")
    assert clock.now() == NOW  # 40 s are negligible


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "soon",
        "Fri, 02 Jan 2026 03:04:05",
        f"Fri, 02 Jan {'9' * 30} 03:04:05 GMT",
        f"Fri, 02 Jan 2026 {'9' * 30}:04:05 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1200",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ],
)
def test_a_date_that_is_none_says_nothing(date: str | None) -> None:
    local = [NOW]
    clock = ServerTime(lambda: local[0])
    clock.learn(date)
    local[0] += timedelta(days=365)
    assert clock.now() == local[0]
