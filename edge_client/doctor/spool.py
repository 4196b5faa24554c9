"""The spool: whether its database is whole, its files are there, and something has been waiting for too long."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

from edge_client.clock import Clock
from edge_client.config import Config
from edge_client.doctor.finding import Finding, ok, problem, warning
from edge_client.figures import SpoolFigures, read_figures
from edge_client.spool_database import SpoolError

_LONG = timedelta(days=1)  # an outage of a day is bridged; that it lasts is worth knowing
_NEARLY_FULL = 0.9


def check_spool(config: Config, clock: Clock) -> Iterator[Finding]:
    """Look into the spool from outside; works while a client runs.

    Args:
        config: The device's configuration.
        clock: Tells how long something has been waiting.
    """
    folder = config.device.state / "spool"
    try:
        damage = _damage(config)
        figures = read_figures(folder)
    except (SpoolError, sqlite3.Error, OSError) as error:
        yield problem(
            "spool",
            f"{folder} cannot be read: {error}",
            "start the client: it sets a damaged spool aside and begins a new one; check the disk",
        )
        return
    if figures is None:
        yield ok("spool", "empty")
        return
    found = f"{figures.kept} samples, {figures.bytes} bytes, {figures.waiting_windows} windows wait for upload"
    if damage:
        yield problem(
            "spool",
            f"{found}; the database is damaged: {damage}",
            "start the client: it sets the spool aside and begins a new one; check the disk",
        )
        return
    told = list(_worth_knowing(config, clock, figures, found))
    yield from told or [ok("spool", found)]


def _worth_knowing(config: Config, clock: Clock, figures: SpoolFigures, found: str) -> Iterator[Finding]:
    if figures.set_aside or figures.damaged:
        lost = f"{figures.damaged} samples lost their file" if figures.damaged else "an earlier spool was damaged"
        yield warning("spool", f"{found}; {lost}", "check the disk; what was set aside lies in spool/set-aside")
    if figures.bytes > _NEARLY_FULL * config.capture.spool_bytes:
        yield warning(
            "spool",
            f"{figures.bytes} of {config.capture.spool_bytes} bytes are taken: samples are evicted to make room",
            "let it upload, raise capture.spool_bytes, or carry it out with `andon-edge export`",
        )
    if figures.oldest_window_opened_at and figures.waiting_windows and config.bucket is not None:
        age = clock.now() - datetime.fromisoformat(figures.oldest_window_opened_at)
        if age > _LONG:
            yield warning(
                "spool",
                f"the oldest window has been waiting for {age.days} days {age.seconds // 3600} hours",
                "start the client if it does not run, and see the findings about the bucket",
            )


def _damage(config: Config) -> str:
    database = config.device.state / "spool" / "spool.db"
    if not database.exists():
        return ""
    uri = f"{database.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
        try:
            (told,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
    return "" if told == "ok" else str(told)
