"""One sample's picture and what is known of it, by its id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.lake import Lake
from edge_client.contract.errors import NotFound


@dataclass(frozen=True, slots=True)
class Pictures:
    """Reads pictures of samples from the lake."""

    catalog: Catalog
    lake: Lake

    def image(self, sample_id: str) -> tuple[bytes, str]:
        """Return the encoded image and its media type.

        Raises:
            NotFound: No such sample.
        """
        return self.lake.image(*self._place(sample_id))

    def anomaly_map(self, sample_id: str) -> NDArray[np.float16]:
        """Return the anomaly scores [h, w].

        Raises:
            NotFound: No such sample, or it has no anomaly map.
        """
        found = self.lake.anomaly_map(*self._place(sample_id))
        if found is None or not found.size:
            raise NotFound(f"sample {sample_id} has no anomaly map: it was imported, or its engine gave none")
        return found

    def _place(self, sample_id: str) -> tuple[str, int]:
        with self.catalog.reading() as session:
            row = session.get(SampleRow, sample_id)
            if row is None:
                raise NotFound(f"there is no sample {sample_id!r}")
            if row.erased_at is not None:
                raise NotFound(f"the image of sample {sample_id!r} was erased")
            return row.lake_path, row.lake_row
