"""Campaigns: begin, end, list. What they are is in `edge_client/contract/campaigns.py`.

1. Examples are captured samples, since their embeddings are those of a device's engine; all of one space.
2. Ordinary frames are captured ones of that space: labelled with a class of kind ok, else those that the engine passed,
   the newest first.
3. A campaign that has ended by its date leaves the document with the next change of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.current_labels import current_labels
from data.inspections import Inspection, get_inspection
from data.sample_conditions import kept
from data.signed_documents import versions_of
from edge_client.contract.campaigns import MOST_CAMPAIGNS, TARGET, Campaign, Campaigns
from edge_client.contract.names import check_name
from flows.fleet_settings.likeness import MOST_ORDINARY, Examples, Vectors
from flows.fleet_settings.signing import By, SettingsError, Signer

if TYPE_CHECKING:
    from data.lake import Lake

_CANDIDATES = 3000  # newest passed frames that are looked at for ordinary ones


class CampaignBook:
    """The campaigns of an installation.

    Args:
        signer: Signs and records.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def signed(self) -> Campaigns | None:
        """The document that is signed now."""
        return self._signer.signed(TARGET, Campaigns.from_json)

    def running(self) -> list[Campaign]:
        """Those that have not ended."""
        signed, now = self.signed(), self._signer.now()
        return [campaign for campaign in signed.campaigns if campaign.until > now] if signed is not None else []

    def known(self) -> dict[str, tuple[Campaign, datetime]]:
        """All there ever were by id, as they were last signed, with when they were first."""
        found: dict[str, tuple[Campaign, datetime]] = {}
        for version in reversed(versions_of(self._signer.catalog, TARGET)):
            for campaign in Campaigns.from_json(version.content.encode()).campaigns:
                _, began = found.get(campaign.id, (campaign, version.at))
                found[campaign.id] = (campaign, began)
        return found

    def begin(self, campaign: Campaign, by: By) -> Campaigns:
        """Sign one more.

        Raises:
            SettingsError: Its id was used before, it ends before it begins, or there are too many.
        """
        check_name(campaign.id, "campaign")
        now = self._signer.now()
        if campaign.id in self.known():
            raise SettingsError(
                f"there was a campaign {campaign.id!r} before, and its samples go by that name: choose another"
            )
        if campaign.until <= now:
            raise SettingsError(
                f"campaign {campaign.id!r} would end at {campaign.until:%Y-%m-%d %H:%M} UTC: it is past"
            )
        running = self.running()
        if len(running) >= MOST_CAMPAIGNS:
            raise SettingsError(f"{len(running)} campaigns are running, at most {MOST_CAMPAIGNS} can: end one first")
        return self._sign((*running, campaign), by)

    def end(self, campaign_id: str, by: By) -> Campaigns:
        """End one before its time.

        Raises:
            SettingsError: It is not running.
        """
        running = self.running()
        kept = [campaign for campaign in running if campaign.id != campaign_id]
        if len(kept) == len(running):
            names = ", ".join(campaign.id for campaign in running) or "none"
            raise SettingsError(f"no campaign {campaign_id!r} is running: running are {names}")
        return self._sign(kept, by)

    def free_id(self, wish: str) -> str:
        """A name that was never used: the wish, or the wish with a number."""
        known = self.known()
        return next(name for n in range(len(known) + 1) if (name := wish if n == 0 else f"{wish}-{n + 1}") not in known)

    def _sign(self, campaigns: Sequence[Campaign], by: By) -> Campaigns:
        signed, _ = self._signer.change(
            TARGET,
            Campaigns.from_json,
            lambda _, version, at: Campaigns(version=version, issued_at=at, campaigns=tuple(campaigns)),
            by,
        )
        return signed


def examples_of(catalog: Catalog, lake: Lake, inspection: str, sample_ids: Sequence[str]) -> tuple[Examples, str]:
    """Read the embeddings of examples, and of ordinary frames to set them against (rules 1 and 2).

    Returns:
        Both, and the class that most of the examples are labelled with; "" where none is.

    Raises:
        SettingsError: A sample is not known, was imported, or is of another space than the others.
    """
    described = get_inspection(catalog, inspection)
    with catalog.reading() as session:
        query = select(SampleRow).where(SampleRow.sample_id.in_(sample_ids), SampleRow.inspection == inspection, kept())
        rows = {row.sample_id: row for row in session.scalars(query)}
    wanted: list[Vectors] = []
    spaces: set[str] = set()
    for sample_id in dict.fromkeys(sample_ids):
        row = rows.get(sample_id)
        if row is None:
            raise SettingsError(f"inspection {inspection!r} has no sample {sample_id!r}: take its id from the console")
        embedding = lake.embedding(row.lake_path, row.lake_row)
        if embedding is None or not embedding.size:
            raise SettingsError(
                f"sample {sample_id!r} was imported, so no engine has embedded it: choose samples that devices captured"
            )
        spaces.add(lake.space_of(inspection, row.engine_id))
        wanted.append(embedding.astype(np.float32))
    if len(spaces) > 1:
        raise SettingsError(
            "the examples were embedded by different trunks, and cannot be compared: choose samples of one engine"
        )
    space = spaces.pop()
    if not space:
        raise SettingsError(
            "it is not noted which trunk embedded the examples: their engine is older than such notes; take samples "
            "that devices captured with a newer engine, or ask by --class"
        )
    labels = current_labels(catalog, list(rows))
    named = Counter(name for label in labels.values() for name in label.classes)
    ordinary = _ordinary(catalog, lake, described, space, set(rows))
    together = Examples(
        wanted=_unit(np.stack(wanted)),
        ordinary=_unit(np.stack(ordinary)) if ordinary else np.empty((0, wanted[0].size), np.float32),
        embedding_id=space,
    )
    return together, named.most_common(1)[0][0] if named else ""


def _ordinary(catalog: Catalog, lake: Lake, inspection: Inspection, space: str, without: set[str]) -> list[Vectors]:
    """Rule 2."""
    with catalog.reading() as session:
        query = (
            select(SampleRow)
            .where(SampleRow.inspection == inspection.name, SampleRow.origin == "field", SampleRow.verdict == "ok")
            .where(kept())
            .order_by(SampleRow.captured_at.desc())
            .limit(_CANDIDATES)
        )
        rows = [row for row in session.scalars(query) if row.sample_id not in without]
    labels = current_labels(catalog, [row.sample_id for row in rows])
    defects = set(inspection.defect_names)
    passed = [row for row in rows if (label := labels.get(row.sample_id)) is None or not defects & set(label.classes)]
    passed.sort(key=lambda row: row.sample_id not in labels)  # stable: labelled ones first, each the newest first
    found: list[Vectors] = []
    for row in passed:
        if len(found) >= MOST_ORDINARY:
            break
        if lake.space_of(inspection.name, row.engine_id) == space:
            embedding = lake.embedding(row.lake_path, row.lake_row)
            if embedding is not None and embedding.size:
                found.append(embedding.astype(np.float32))
    return found


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)
