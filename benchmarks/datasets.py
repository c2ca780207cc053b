"""Real data: what ships with scikit-learn, and more from a folder of one's own."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.preprocessing import StandardScaler

# Sets used where the folder that BENCHMARK_DATA names holds NAME.npz, with X and y.
IN_FOLDER = (
    "uci_protein",
    "uci_keggdirected",
    "uci_parkinsons",
    "uci_bike",
    "pendigits",
    "letter",
)
_SHIPPED = {
    "digits": load_digits,
    "breast cancer": load_breast_cancer,
    "diabetes": load_diabetes,
}


class Dataset(NamedTuple):
    """Standardised features and targets; `is_test` where the set comes with a split."""

    X: np.ndarray
    y: np.ndarray
    is_test: np.ndarray


def real_sets(dtype, quick):
    """Return names and `Dataset`: those of the folder if there is one, or the shipped."""
    folder = Path(os.environ.get("BENCHMARK_DATA", ""))
    found = [folder / f"{name}.npz" for name in IN_FOLDER]
    found = [path for path in found if path.exists()]
    if quick or not found:
        return {
            name: _standardised(*load(return_X_y=True), None, dtype)
            for name, load in _SHIPPED.items()
        }
    return {path.stem: _read(path, dtype) for path in found}


def _read(path, dtype):
    stored = np.load(path)
    mask = next((stored[n] for n in stored.files if "test" in n), None)
    return _standardised(stored["X"], stored["y"], mask, dtype)


def _standardised(X, y, is_test, dtype):
    if is_test is None or not is_test.any():
        is_test = np.arange(len(X)) % 10 == 0
    is_test = is_test.astype(bool)
    X = X.astype(np.float64)
    X = StandardScaler().fit(X[~is_test]).transform(X)
    return Dataset(np.ascontiguousarray(X, dtype=dtype), np.ravel(y), is_test)
