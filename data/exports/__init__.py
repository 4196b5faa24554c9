"""Labelled samples as files that other tools read, and back: CSV, COCO, YOLO, folders, Parquet. See docs/connect.md."""

from data.exports.formats import FORMATS, READABLE
from data.exports.labelled import labelled_now, labelled_of_snapshot
from data.exports.taking import Taken, take_labels
from data.exports.values import ExportError, FileLabel, Labelled
from data.exports.writing import Written, write_export

__all__ = [
    "FORMATS",
    "READABLE",
    "ExportError",
    "FileLabel",
    "Labelled",
    "Taken",
    "Written",
    "labelled_now",
    "labelled_of_snapshot",
    "take_labels",
    "write_export",
]
