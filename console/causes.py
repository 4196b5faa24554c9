"""The page of what goes with which defects: analyses computed once, however many pages are open.

1. An analysis takes seconds: it is kept for a minute and computed once, however many ask (console.kept), and put
   into words in every language then.
2. What comes from the line (keys, values, station names, part ids) goes out as JSON; the page puts it in as text.
3. The answer is bounded: the associations with the smallest q, and how many there are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from fastapi import APIRouter, Request

from console.kept import Kept
from console.pages import reader_of
from console.people import needs
from data.causes import Causes, Settings, find_causes
from data.causes.phrases import Speech
from data.causes.wording import experiment, groups, method, population, population_name, sentence, target_name
from data.inspections import get_inspection
from data.languages import LANGUAGES
from data.users import Role
from data.workspace import Workspace

FRESH_SECONDS = 60.0
MOST_SHOWN = 300
Days = Literal["0", "7", "30", "90"]  # so few that each answer can be remembered


class CausesView:
    """Analyses of inspections, about `fresh` seconds old; older where they take long.

    Args:
        workspace: The installation.
        clock: Aware time.
        fresh: How long one is good enough.
        monotonic: Seconds of a clock that never jumps.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        clock: Callable[[], datetime],
        fresh: float = FRESH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace, self._clock, self._fresh, self._monotonic = workspace, clock, fresh, monotonic
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], Kept[dict[str, dict[str, Any]]]] = {}

    def now(self, inspection: str, days: int, language: str) -> dict[str, Any]:
        """Return the analysis of the last `days` (0: of all time) as JSON values, its words in a language.

        Raises:
            InspectionError: Unknown inspection.
        """
        get_inspection(self._workspace.catalog(), inspection)  # so that only those that exist are remembered
        key = (inspection, days)
        with self._lock:
            if key not in self._known:
                self._known[key] = Kept(
                    lambda: in_every_language(self._analysis(inspection, days)),
                    fresh=self._fresh,
                    monotonic=self._monotonic,
                )
            kept = self._known[key]
        return kept.get()[language]

    def _analysis(self, inspection: str, days: int) -> Causes:
        policy = self._workspace.policy().causes
        return find_causes(
            self._workspace.catalog(),
            inspection,
            since=self._clock() - timedelta(days=days) if days else None,
            settings=Settings(fdr=policy.fdr, shift_hours=policy.shift_hours),
        )


def make_causes_api(view: CausesView) -> APIRouter:
    """Make the router."""
    api = APIRouter(prefix="/api")

    @api.get("/{inspection}/causes", dependencies=[needs(Role.VIEWER)])
    def causes(request: Request, inspection: str, days: Days = "0") -> dict[str, Any]:
        return view.now(inspection, int(days), reader_of(request)[1])

    return api


def in_every_language(causes: Causes) -> dict[str, dict[str, Any]]:
    """By language, what is told of an analysis."""
    return {language: told(causes, language) for language in LANGUAGES}


def told(causes: Causes, language: str) -> dict[str, Any]:
    """An analysis with its sentences, bounded."""
    value = causes.to_dict()
    shown = causes.associations[:MOST_SHOWN]
    value["associations"] = value["associations"][:MOST_SHOWN]
    for entry, association in zip(value["associations"], shown, strict=True):
        entry["sentence"] = sentence(association, language)
        entry["experiment"] = experiment(association, language)
        entry["population_name"] = population_name(association.population, language)
        entry["target_name"] = target_name(association.target, language)
        if association.effect is not None:
            entry["effect"]["high_group"], entry["effect"]["low_group"] = groups(association.effect, language)
    say = Speech(language)
    refused = value["not_testable"][:MOST_SHOWN]
    for entry, item in zip(refused, causes.not_testable[:MOST_SHOWN], strict=True):
        entry["reason"] = say.say(item.reason)
        entry["target_name"] = None if item.target is None else target_name(item.target, language)
    return {
        **value,
        "not_testable": refused,
        "refused": len(causes.not_testable),
        "found": len(causes.found),
        "first_sight": len(causes.first_sight),
        "method": method(causes, language),
        "populations": [population(speaks, language) for speaks in causes.speaks],
    }
