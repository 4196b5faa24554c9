"""What Prefect's pages show of a run: its name, and artifacts with what it came to.

1. A run is named by what it is about: `retrain solder-joints (head)`, not by two words at random.
2. Artifacts are for people. One that cannot be written is logged; it never fails a run.
3. Outside of a run at a Prefect server nothing is written: the same steps run from the command line without one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_log = logging.getLogger("andon.prefect")
_NO_KEY = re.compile(r"[^a-z0-9]+")
_ROWS = 200


def named(flow: str, *, everything: str = "all") -> Callable[[], str]:
    """A `flow_run_name` of a flow whose parameters say what it is about."""

    def name() -> str:
        from prefect.runtime import flow_run

        return run_name(flow, dict(flow_run.parameters or {}), everything=everything)

    return name


def run_name(flow: str, parameters: Mapping[str, Any], *, everything: str) -> str:
    """The name of a run.

    >>> run_name("retrain", {"inspection": "caps", "seed": 0, "tier": "finetune"}, everything="what has new labels")
    'retrain caps (finetune)'
    >>> run_name("retrain", {"inspection": None}, everything="what has new labels")
    'retrain what has new labels'
    """
    tier = parameters.get("tier")
    return f"{flow} {parameters.get('inspection') or everything}" + (f" ({tier})" if tier else "")


def show(key: str, markdown: str, *, table: Sequence[Mapping[str, Any]] = (), about: str = "") -> None:
    """Write artifacts of the present run: a page, and a table if there are rows (rules 2 and 3)."""
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is None:
        return
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    name = key_of(key)
    try:
        create_markdown_artifact(markdown, key=name, description=about or None)
        if table:
            rows = [dict(row) for row in table[:_ROWS]]
            create_table_artifact(rows, key=f"{name}-table", description=about or None)
    except Exception as error:  # noqa: BLE001 -- rule 2
        _log.warning("the artifact %s could not be written: %s", name, error)


def key_of(text: str) -> str:
    """A key that Prefect takes.

    >>> key_of("decision caps_2.top")
    'decision-caps-2-top'
    """
    return _NO_KEY.sub("-", text.lower()).strip("-")
