"""Save fitted models with what they predict, or load them on another system and compare.

``python .ci/saved_models.py save FOLDER`` and ``python .ci/saved_models.py load FOLDER``.
"""

import sys
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_diabetes

from sklearn_rnla import (
    CURSelector,
    MatrixCompleter,
    NystroemGaussianProcessRegressor,
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    NystroemSpectralClustering,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
)

X, y = load_diabetes(return_X_y=True)
X /= X.std(axis=0)
GAPS = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)

# Each with the data it is fitted on, and what is called.
MODELS = {
    "pca": (RandomizedPCA(3, random_state=0), X, "transform"),
    "kernel": (NystroemKernel(n_components=50, random_state=0), X, "transform"),
    "columns": (CURSelector(3, random_state=0), X, "transform"),
    "sketch": (SketchProjection(3, random_state=0), X, "transform"),
    "completion": (MatrixCompleter(random_state=0), GAPS, "transform"),
    "least squares": (SketchedRidge(), X, "predict"),
    "kernel ridge": (NystroemRidge(n_landmarks=50, random_state=0), X, "predict"),
    "classes": (NystroemRidgeClassifier(n_landmarks=50, random_state=0), X, "predict"),
    "process": (
        NystroemGaussianProcessRegressor(n_landmarks=50, random_state=0),
        X,
        "predict",
    ),
    "clusters": (NystroemSpectralClustering(3, gamma=0.1, random_state=0), X, "predict"),
}


def save(folder):
    """Fit every model, and write it with its results."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (model, data, method) in MODELS.items():
        model.fit(data, y > np.median(y) if name == "classes" else y)
        joblib.dump((model, getattr(model, method)(data)), folder / f"{name}.joblib")


def load(folder):
    """Read every model; raise AssertionError where its results are others here."""
    for name, (_, data, method) in MODELS.items():
        model, expected = joblib.load(folder / f"{name}.joblib")
        result = getattr(model, method)(data)
        scale = np.abs(np.asarray(expected, dtype=np.float64)).max()
        np.testing.assert_allclose(
            np.asarray(result, dtype=np.float64), expected, atol=1e-9 * scale, err_msg=name
        )
        print(f"{name}: as it was saved")


if __name__ == "__main__":
    {"save": save, "load": load}[sys.argv[1]](Path(sys.argv[2]))
