"""The methods compared: functions of the data that return a `Fit`."""

from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import svds
from sklearn.utils.extmath import randomized_svd

from .harness import installed

OURS = "RandomizedPCA"


class Fit(NamedTuple):
    """Components as rows, and what only ours tells."""

    components: np.ndarray
    n_passes: int | None = None
    error_estimate: float | None = None


def fitted(estimator):
    """Fit an estimator of scikit-learn's kind."""

    def fit(X):
        return fit_of(estimator.fit(X))

    return fit


def fit_of(estimator):
    return Fit(
        estimator.components_,
        getattr(estimator, "n_passes_", None),
        getattr(estimator, "error_estimate_", None),
    )


def streamed(make, batch):
    """Feed an estimator made by `make` by its `partial_fit`."""

    def fit(X):
        estimator = make()
        for start in range(0, len(X), batch):
            estimator.partial_fit(X[start : start + batch])
        return fit_of(estimator)

    return fit


def fbpca_pca(k, n_iter=2, *, center=True):
    fbpca = installed("fbpca")
    return fbpca and (lambda X: Fit(fbpca.pca(X, k, raw=not center, n_iter=n_iter)[2]))


def torch_pca(k, niter, *, center=True):
    torch = installed("torch")

    def fit(X):
        function = torch.pca_lowrank if center else torch.svd_lowrank
        V = function(torch.from_numpy(X), q=min(k + 8, *X.shape), niter=niter)[2]
        return Fit(V.numpy().T[:k])

    return torch and fit


def lanczos(k, *, center=True):
    """Run scipy's svds, on an explicitly centred copy if `center`."""

    def fit(X):
        v0 = np.random.default_rng(0).standard_normal(min(X.shape)).astype(X.dtype)
        return Fit(svds(X - X.mean(axis=0) if center else X, k, v0=v0)[2])

    return fit


def sklearn_svd(k, n_iter):
    return lambda X: Fit(randomized_svd(X, k, n_iter=n_iter, random_state=0)[2])


def on(methods, X):
    """Bind methods to the data, for `race`."""
    return {
        name: None if method is None else (lambda method=method: method(X))
        for name, method in methods.items()
    }


def columns_of(optimum):
    """Return the columns of a comparison of fits."""
    return {
        "excess error": lambda fit: optimum.excess(fit.components),
        "passes": lambda fit: fit.n_passes,
        "estimate": lambda fit: fit.error_estimate,
    }


def best_at_equal_accuracy(rows, ours=OURS):
    """Return a line on the fastest peer that is as accurate as ours, or as 1e-3."""
    error = next(row["excess error"] for row in rows if row["method"] == ours)
    bar = max(1e-3, error)
    equal = [
        row
        for row in rows
        if not row["method"].startswith(ours)
        and row["excess error"] is not None
        and row["excess error"] <= bar
    ]
    if not equal:
        return f"best peer at equal accuracy: none reaches {bar:.1e}"
    best = min(equal, key=lambda row: row["median ms"])
    return (
        f"best peer at equal accuracy ({bar:.1e}): {best['method']}, "
        f"{best['median ms']:.3g} ms, {best['peer / ours']:.2f} times ours"
    )
