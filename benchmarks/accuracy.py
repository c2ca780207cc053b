"""Excess error over the best of a rank, in float64 whatever the data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sklearn_rnla import RandomizedPCA

_BLOCK = 8_192


@dataclass(frozen=True)
class Optimum:
    """The best rank-k approximation of a centred matrix A, by its squared error.

    Parameters
    ----------
    total : float
        ``||A||_F^2``.
    tail : float
        ``||A - A_k||_F^2``.
    captured : callable
        ``||A V^T||_F^2`` of orthonormal rows V.
    """

    total: float
    tail: float
    captured: Callable

    def excess(self, V):
        """Return ``||A - A V^T V||_F / ||A - A_k||_F - 1`` for the row space of V."""
        # Rows orthonormal only to single precision would capture more than they do.
        V = np.linalg.qr(np.asarray(V, dtype=np.float64).T)[0].T
        error = max(0.0, self.total - self.captured(V))
        return float(np.sqrt(error / self.tail)) - 1


def of_spectrum(X, s, k):
    """Return the optimum of a dense matrix that, centred, has singular values `s`."""
    mean = X.mean(axis=0, dtype=np.float64)

    def captured(V):
        blocks = (X[i : i + _BLOCK] for i in range(0, len(X), _BLOCK))
        return sum(np.sum((B @ V.T - mean @ V.T) ** 2) for B in blocks)

    squared = s.astype(np.float64) ** 2
    return Optimum(squared.sum(), squared[k:].sum(), captured)


def of_rows(X, k):
    """Return the optimum of a tall matrix, by one pass for its covariance."""
    G, total = np.zeros((X.shape[1],) * 2), np.zeros(X.shape[1])
    for start in range(0, len(X), _BLOCK):
        B = X[start : start + _BLOCK].astype(np.float64)
        G += B.T @ B
        total += B.sum(axis=0)
    G -= np.outer(total, total) / len(X)
    tail = np.linalg.eigvalsh(G)[:-k].sum()
    return Optimum(np.trace(G), tail, lambda V: np.sum((V @ G) * V))


def of_sparse(X, k, *, center):
    """Return the optimum of a sparse matrix, by an iteration to convergence in float64."""
    X = X.astype(np.float64)
    mean = np.asarray(X.mean(axis=0)).ravel() if center else np.zeros(X.shape[1])
    total = np.sum(X.data**2) - X.shape[0] * float(mean @ mean)

    def captured(V):
        return np.sum((X @ V.T - V @ mean) ** 2)

    best = RandomizedPCA(
        k,
        with_mean=center,
        algorithm="krylov",
        tol=1e-8,
        max_passes=100,
        n_jobs=2,
        random_state=1,
    ).fit(X)
    return Optimum(total, total - captured(best.components_), captured)
