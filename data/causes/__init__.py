"""Which variables of the process go with which defects: associations, weighted, with false discoveries bounded.

    causes = find_causes(catalog, "solder-joints")
    for association in causes.found:
        print(sentence(association))

The rules are pure (:func:`analyse`); :func:`find_causes` reads the catalog.
"""

from data.causes.analysis import Settings, analyse
from data.causes.discoveries import Dependence
from data.causes.findings import Association, Causes, Verdict
from data.causes.reading import find_causes
from data.causes.wording import sentence

__all__ = [
    "Association",
    "Causes",
    "Dependence",
    "Settings",
    "Verdict",
    "analyse",
    "find_causes",
    "sentence",
]
