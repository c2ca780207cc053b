"""Everyday data: what ships with scikit-learn, or the .npz files of a folder of one's own.

A file with ``data, indices, indptr, shape`` is sparse, one with ``user, item, rating`` has
ratings, one with ``X`` and ``y`` is a table: of a regression where its name begins with
``uci_`` or ``cal_``, else of classes. Of other files the largest matrix is taken.
"""

import os
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn import datasets
from sklearn.feature_extraction.text import CountVectorizer

_SHIPPED_CLASSES = ("iris", "wine", "breast_cancer", "digits")
_REGRESSION = ("uci_", "cal_")


class Everyday(NamedTuple):
    """Sets by what can be done with them: names to data."""

    matrices: dict  # dense X, as they are
    regression: dict  # X, y; both standardised
    classes: dict  # X standardised, y
    sparse: dict  # CSR
    ratings: dict  # pairs, values


def everyday(quick):
    """Return the sets of the folder BENCHMARK_DATA if there is one, or the shipped ones."""
    folder = os.environ.get("BENCHMARK_DATA")
    if folder and not quick:
        return _of_folder(Path(folder))
    return _shipped(quick)


def _shipped(quick):
    classes = {
        name: getattr(datasets, f"load_{name}")(return_X_y=True)
        for name in _SHIPPED_CLASSES[: 1 if quick else None]
    }
    gray = datasets.load_sample_image("china.jpg").mean(axis=2, dtype=np.float32)
    diabetes = datasets.load_diabetes(return_X_y=True, scaled=False)
    X, y = datasets.make_friedman1(200 if quick else 5000, 10, noise=1.0, random_state=0)
    return Everyday(
        matrices={"photograph": gray[::8, ::8] if quick else gray},
        regression={
            "diabetes": _standardised(*diabetes, with_target=True),
            "friedman1": _standardised(X, y, with_target=True),
        },
        classes={name: _standardised(X, y) for name, (X, y) in classes.items()},
        sparse={"descriptions": _descriptions()},
        ratings={},
    )


def _descriptions():
    """Return the logarithms of word counts in lines of scikit-learn's own data sheets."""
    sheets = files("sklearn.datasets.descr")
    texts = [path.read_text() for path in sheets.iterdir() if path.name.endswith(".rst")]
    lines = [line for text in sorted(texts) for line in text.splitlines() if line.strip()]
    counts = CountVectorizer(dtype=np.float32).fit_transform(lines)
    return sp.csr_array(counts).log1p()


def _of_folder(folder):
    found = Everyday({}, {}, {}, {}, {})
    for path in sorted(folder.glob("*.npz")):
        stored = np.load(path)
        fields = {name.removesuffix("_train"): name for name in stored.files}
        name = path.stem
        if {"data", "indices", "indptr"} <= set(fields):
            parts = (stored["data"].astype(np.float32), stored["indices"], stored["indptr"])
            found.sparse[name] = sp.csr_array(parts, shape=tuple(stored["shape"])).log1p()
        elif "rating" in fields:
            pairs = np.c_[stored["user"], stored["item"]].astype(np.int64)
            found.ratings[name] = pairs, stored["rating"].astype(np.float64)
        elif "X" in fields and "y" in fields:
            X, y = stored[fields["X"]], np.ravel(stored[fields["y"]])
            kind = found.regression if name.startswith(_REGRESSION) else found.classes
            kind[name] = _standardised(X, y, with_target=kind is found.regression)
        else:
            largest = max(
                (stored[key] for key in stored.files if stored[key].ndim == 2),
                key=np.size,
                default=None,
            )
            if largest is not None:
                found.matrices[name] = largest.astype(np.float32)
    return found


def _standardised(X, y, *, with_target=False):
    """Return columns of mean zero and variance one, without the constant ones."""
    X = X.astype(np.float64)
    spread = X.std(axis=0)
    X = (X - X.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    return X, (y - y.mean()) / y.std() if with_target else y


def at_most(n_rows, X, y=None, seed=0):
    """Return at most `n_rows` rows, drawn without replacement."""
    if len(X) > n_rows:
        chosen = np.random.default_rng(seed).permutation(len(X))[:n_rows]
        X, y = X[chosen], None if y is None else y[chosen]
    return X if y is None else (X, y)
