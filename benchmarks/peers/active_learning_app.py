"""scikit-activeml's strategies and cleanlab's search for label errors; run by their own environment's Python.

Reads one JSON object a line: `{"do": "query", "strategy": ..., "file": npz, "n": ..., "seed": ...}` or
`{"do": "label_errors", "file": npz}`; answers one JSON list of row numbers a line.

query: npz of x [m + l, D] (candidates first), y [m + l] (nan for candidates), p [m + l, K].
label_errors: npz of labels [n], p [n, K].
"""

import json
import sys
import warnings

import numpy as np
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge, Clue, Falcun, ProbCover, TypiClust

warnings.filterwarnings("ignore")
STEP = 1e-9


class Told(SkactivemlClassifier):
    """Answers with the probabilities of the engine that is compared.

    The last column of X is a row's number, so small that no distance sees it.
    """

    def __init__(self, table=None, classes=None, missing_label=np.nan, cost_matrix=None, random_state=None):
        super().__init__(
            classes=classes, missing_label=missing_label, cost_matrix=cost_matrix, random_state=random_state
        )
        self.table = table

    def fit(self, X, y, sample_weight=None):  # noqa: N803  # scikit-learn's names
        self.classes_ = np.asarray(self.classes)
        return self

    def predict_proba(self, X):  # noqa: N803
        return self.table[self._rows(X)]

    def _rows(self, x):
        return np.rint(np.asarray(x)[:, -1] / STEP).astype(int)


def query(strategy, x, y, p, n, seed):
    candidates = np.flatnonzero(np.isnan(y))
    common = {"missing_label": np.nan, "random_state": seed}
    plain = {"typiclust": TypiClust, "probcover": ProbCover}
    if strategy in plain:
        return plain[strategy](**common).query(x, y, candidates=candidates, batch_size=n)
    kinds = {"badge": Badge, "falcun": Falcun, "clue": Clue}
    numbered = np.concatenate([x, (np.arange(len(x)) * STEP)[:, None]], axis=1)
    clf = Told(table=p, classes=list(range(p.shape[1])))
    clf.fit(numbered, y)
    fitted = {"fit_estimator": False} if strategy == "clue" else {"fit_clf": False}
    return kinds[strategy](**common).query(numbered, y, clf, candidates=candidates, batch_size=n, **fitted)


def label_errors(labels, p):
    from cleanlab.filter import find_label_issues

    return np.flatnonzero(find_label_issues(labels, p, n_jobs=1))


def main():
    for line in sys.stdin:
        wanted = json.loads(line)
        with np.load(wanted["file"]) as arrays:
            if wanted["do"] == "query":
                found = query(wanted["strategy"], arrays["x"], arrays["y"], arrays["p"], wanted["n"], wanted["seed"])
            else:
                found = label_errors(arrays["labels"], arrays["p"])
        print(json.dumps(np.asarray(found).tolist()), flush=True)


if __name__ == "__main__":
    main()
