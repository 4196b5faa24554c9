"""What MLflow shows of single samples and of people: pictures in a gate's report, frames of a self-test, names in tags.

1. A report's figure of an erased sample is taken out; the figures of others, and all numbers, stay as they were judged.
2. A self-test is signed and on devices: what it shows is told, never changed. It goes when its version is replaced.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import GateDecisionRow, SnapshotRow
from flows.registry_api import RegistryApi, RegistryError, RegistryUnavailable

GATE_REPORT = "gate_report.html"
_FIGURE = re.compile(r"<figure>.*?</figure>", re.DOTALL)
_GONE = '<figure><div class="gone">erased</div></figure>'


def without_figures(report: str, sample_ids: Collection[str]) -> str:
    """Take samples out of a report (rule 1).

    >>> without_figures('<figure><img alt="sample a1">a1</figure><figure>b2</figure>', ["a1"])
    '<figure><div class="gone">erased</div></figure><figure>b2</figure>'
    """

    def kept(found: re.Match[str]) -> str:
        return _GONE if any(sample in found[0] for sample in sample_ids) else found[0]

    report = _FIGURE.sub(kept, report)
    for sample in sample_ids:
        report = report.replace(sample, "erased")
    return report


def runs_that_saw(catalog: Catalog, inspections: Sequence[str]) -> list[str]:
    """Runs that were judged on a snapshot of which rows were erased."""
    query = (
        select(GateDecisionRow.run_id)
        .join(SnapshotRow, SnapshotRow.id == GateDecisionRow.snapshot_id)
        .where(SnapshotRow.inspection.in_(inspections), SnapshotRow.erased > 0, GateDecisionRow.run_id.is_not(None))
    )
    with catalog.reading() as session:
        return sorted({run for run in session.scalars(query) if run})


def clean_reports(api: RegistryApi, runs: Sequence[str], sample_ids: Collection[str]) -> int:
    """Take samples out of the reports of some runs; returns how many reports were changed.

    Raises:
        RegistryError: MLflow is away.
    """
    changed = 0
    for run in runs:
        try:
            report = api.artifact_text(run, GATE_REPORT)
        except RegistryUnavailable:
            raise
        except RegistryError:  # the run, or its report, was deleted in MLflow
            continue
        left = without_figures(report, sample_ids)
        if left != report:
            _put(api, run, left)
            changed += 1
    return changed


def rename_in_tags(api: RegistryApi, inspections: Sequence[str], name: str, pseudonym: str) -> int:
    """Replace a person's name in the tags of all versions; returns how many tags were changed."""
    from data.erasure.people import without

    changed = 0
    for inspection in inspections:
        if api.model(inspection) is None:
            continue
        for version in api.versions(inspection):
            tags: Mapping[str, str] = {
                key: left for key, value in version.tags.items() if (left := without(value, name, pseudonym)) != value
            }
            if tags:
                api.tag_version(inspection, version.number, tags)
                changed += len(tags)
    return changed


def _put(api: RegistryApi, run: str, report: str) -> None:
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory(prefix="andon-report-") as folder:
        file = Path(folder) / GATE_REPORT
        file.write_text(report, encoding="utf-8")
        MlflowClient(api.url).log_artifact(run, str(file))
