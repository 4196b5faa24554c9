"""Labelled archives: a folder, a CSV index, the ELPV package."""

from data.sources.csv_index import CsvSource
from data.sources.elpv import ElpvSource
from data.sources.folder import FolderSource
from data.sources.sample import Source, SourceError, SourceProblem, SourceSample, Stage

__all__ = [
    "CsvSource",
    "ElpvSource",
    "FolderSource",
    "Source",
    "SourceError",
    "SourceProblem",
    "SourceSample",
    "Stage",
]
