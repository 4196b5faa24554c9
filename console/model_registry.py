"""What MLflow's registry says, for pages that must not wait for it.

1. An answer waits for MLflow at most `patience`; what was known before is given meanwhile, with its age.
2. One reading of an inspection is under way at a time, however many pages ask.
3. MLflow away is a state with a reason, not an error: the page shows what the catalog knows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field

from data.registry_api import ModelVersion, RegisteredModel, RegistryApi, RegistryError

_log = logging.getLogger("andon.console")

FRESH_SECONDS = 4.0
PATIENCE_SECONDS = 0.4
_CALL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the registry said of one inspection.

    Attributes:
        model: None: it has no such model.
        versions: Newest first.
    """

    model: RegisteredModel | None
    versions: tuple[ModelVersion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a page gets.

    Attributes:
        known: The newest that was read; None: nothing yet.
        age: Seconds since it was read.
        problem: Why it is not newer; "" while all is well.
    """

    known: Known | None
    age: float = 0.0
    problem: str = ""

    @property
    def aliases(self) -> dict[str, str]:
        """Alias to version; empty where nothing is known."""
        return dict(self.known.model.aliases) if self.known is not None and self.known.model is not None else {}


@dataclass(slots=True)
class _Entry:
    known: Known | None = None
    at: float = -float("inf")
    problem: str = ""
    tried: float = -float("inf")
    under_way: Future[None] | None = field(default=None)


class RegistryView:
    """Reads the registry of one installation in the background.

    Args:
        api: MLflow's registry; None: the installation has none.
        monotonic: Seconds of a clock that never jumps.
        patience: How long an answer waits.
    """

    def __init__(
        self,
        api: RegistryApi | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.api, self._monotonic, self._patience = api, monotonic, patience
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="registry")
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def now(self, inspection: str) -> Reading:
        """Return what is known, waiting a moment for news if it is old."""
        if self.api is None:
            return Reading(known=None, problem="this installation names no MLflow")
        with self._lock:
            entry = self._entries.setdefault(inspection, _Entry())
            if entry.under_way is None and self._monotonic() - entry.tried >= FRESH_SECONDS:
                entry.under_way = self._pool.submit(self._read, inspection, entry)
            waiting = entry.under_way
        if waiting is not None:
            wait_for([waiting], timeout=self._patience)
        with self._lock:
            problem = entry.problem or ("MLflow has not answered yet" if entry.under_way is not None else "")
            age = self._monotonic() - entry.at if entry.known is not None else 0.0
            return Reading(known=entry.known, age=age, problem=problem if entry.under_way or entry.problem else "")

    def forget(self, inspection: str) -> None:
        """Read anew at the next look: something was changed."""
        with self._lock:
            if inspection in self._entries:
                self._entries[inspection].tried = -float("inf")

    def _read(self, inspection: str, entry: _Entry) -> None:
        assert self.api is not None
        known, problem = None, ""
        began = self._monotonic()
        try:
            known = Known(model=self.api.model(inspection), versions=tuple(self.api.versions(inspection)))
        except RegistryError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 -- the thread's boundary: else no page would ever ask again
            problem = f"MLflow's answer cannot be read: {error!r}"
            _log.exception("the registry of %s cannot be read", inspection)
        with self._lock:
            if known is not None:
                entry.known, entry.at = known, self._monotonic()
            entry.problem, entry.tried, entry.under_way = problem, max(entry.tried, began), None


def registry_view(url: str | None) -> RegistryView:
    """The view of an MLflow server; None: there is none."""
    return RegistryView(None if url is None else RegistryApi(url, timeout_seconds=_CALL_SECONDS))
