"""ELPV: 2,624 electroluminescence images of solar cells, from the package `elpv-dataset` (CC BY-NC-SA 4.0).

Deitsch et al., "Automatic classification of defective photovoltaic module cells in electroluminescence images",
Solar Energy 2019. The package holds the images; it is an optional dependency (extra `demo`).
Each cell has a defect probability in {0, 1/3, 2/3, 1}: `defective` above one half, as in the paper's evaluation; and
a type, `mono` or `poly`. The set does not say which module a cell was cut from, so a cell is its own group.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.sources.sample import SourceError, SourceProblem, SourceSample, Stage, media_type_of, read_image_file

Kind = Literal["mono", "poly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One line of the data set's index."""

    path: str
    probability: float
    kind: Kind

    @property
    def label(self) -> str:
        """`defective` if the experts' probability is above one half, else `ok`."""
        return "defective" if self.probability > 0.5 else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElpvSource:
    """The data set, or one type of cell of it; make one with `ElpvSource.open`."""

    root: Path
    cells: tuple[Cell, ...]
    stage_of: Callable[[Cell], Stage]
    ignored: tuple[SourceProblem, ...] = ()

    @classmethod
    def open(
        cls, kind: Kind | None = None, *, stage_of: Callable[[Cell], Stage] = lambda _: Stage.FACTORY
    ) -> ElpvSource:
        """Find the package's index.

        Args:
            kind: only this type of cell; None: both.
            stage_of: the stage of a cell, for a rehearsal.

        Raises:
            SourceError: the package is not installed, or holds no index.
        """
        found = importlib.util.find_spec("elpv_dataset")
        if found is None or found.origin is None:
            raise SourceError(
                "The ELPV images are not installed: package elpv-dataset was not found. "
                "Install the demo extra: pip install 'andon[demo]', or pip install elpv-dataset."
            )
        root = Path(found.origin).parent / "data"
        try:
            lines = (root / "labels.csv").read_text(encoding="ascii").splitlines()
        except OSError as error:
            raise SourceError(
                f"{root / 'labels.csv'}: cannot be read ({error.strerror}). Install elpv-dataset anew."
            ) from error
        cells = tuple(cell for cell in map(_cell, filter(str.strip, lines)) if kind in (None, cell.kind))
        return cls(root=root, cells=tuple(sorted(cells, key=lambda cell: cell.path)), stage_of=stage_of)

    @property
    def classes(self) -> tuple[str, ...]:
        """`defective` and `ok`."""
        return tuple(sorted({cell.label for cell in self.cells}))

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.cells)

    def __iter__(self) -> Iterator[SourceSample | SourceProblem]:
        """Read the cells one by one, by name."""
        for cell in self.cells:
            path = self.root / cell.path
            data = read_image_file(path)
            if isinstance(data, str):
                yield SourceProblem(path=cell.path, reason=data)
                continue
            yield SourceSample(
                path=cell.path,
                image=data,
                media_type=media_type_of(path) or "image/png",
                label=cell.label,
                group=path.stem,
                station=cell.kind,
                stage=self.stage_of(cell),
                part_id=path.stem,
            )


def _cell(line: str) -> Cell:
    path, probability, kind = line.split()
    if kind not in ("mono", "poly"):
        raise SourceError(f"ELPV index: unknown cell type {kind!r} for {path}, expected mono or poly.")
    return Cell(path=path, probability=float(probability), kind="mono" if kind == "mono" else "poly")
