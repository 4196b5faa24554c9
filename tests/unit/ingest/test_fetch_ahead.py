"""Objects that are got ahead (`data.ingest.fetch_ahead`)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from data.ingest.fetch_ahead import FetchAhead


class Store:
    """Gives what is asked for, and notes it; can be held up."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()
        self.go.set()

    def get(self, job: str) -> str:
        self.asked.append(job)
        assert self.go.wait(60)
        if job == "bad":
            raise OSError("away")
        return job.upper()


def test_jobs_come_in_order_and_an_error_comes_with_its_own() -> None:
    store = Store()
    with ThreadPoolExecutor(1) as pool:
        jobs = ["a", "bad", "c"]
        ahead = FetchAhead(pool, store.get, [(job, 1) for job in jobs], most_bytes=100)
        assert ahead.result(jobs[0]) == "A"
        with pytest.raises(OSError, match="away"):
            ahead.result(jobs[1])
        assert ahead.result(jobs[2]) == "C"
    assert store.asked == jobs


def test_no_more_bytes_than_allowed_are_under_way_but_for_a_first_job_that_is_larger() -> None:
    store = Store()
    with ThreadPoolExecutor(1) as pool:
        jobs = ["huge", "b", "c", "d"]
        ahead = FetchAhead(pool, store.get, zip(jobs, [50, 4, 4, 4], strict=True), most_bytes=10)
        assert ahead.result("huge") == "HUGE"
        pool.submit(lambda: None).result()  # what was begun is done
        assert store.asked == ["huge", "b", "c"]
        assert [ahead.result(job) for job in ("b", "c", "d")] == ["B", "C", "D"]


def test_jobs_that_nobody_asks_for_are_passed_over_and_after_a_stop_none_begins() -> None:
    store = Store()
    with ThreadPoolExecutor(1) as pool:
        jobs = [f"job {i}" for i in range(20)]
        ahead = FetchAhead(pool, store.get, [(job, 4) for job in jobs], most_bytes=10)
        assert ahead.result(jobs[5]) == "JOB 5"
        store.go.clear()
        ahead.stop()
        store.go.set()
    assert len(store.asked) <= 9
