"""Block Krylov iteration on the inverse of a semidefinite matrix: its last eigenvectors."""

import numpy as np

from ..._typing import Array
from ..dense.orth import complete_rows, orthonormal_rows
from ..dense.ritz import RitzBasis, krylov_steps
from ..dense.triangular import inverse_cholesky


def inverse_krylov(
    G: Array, k: int, width: int, *, tol: float, max_passes: int, rng: np.random.Generator
) -> tuple[Array, float]:
    """Find the last eigenvectors of a positive semidefinite matrix.

    Parameters
    ----------
    G : ndarray of shape (n, n)
        Float64. Its diagonal is changed by rounding.
    k : int
        Number of eigenvectors wanted.
    width : int
        Vectors iterated, at least k.
    tol : float
        Error at which to stop.
    max_passes : int
        Most products with the inverse.
    rng : Generator

    Returns
    -------
    vectors : ndarray of shape (k, n)
        Orthonormal rows.
    error : float
        Estimate of what the sum of their eigenvalues has above the least possible, relative
        to itself: few of them may be far below the others, or zero.

    Notes
    -----
    ``n^3`` flops for the inverse of the Cholesky factor, ``4 n^2 width`` for a pass.
    Eigenvalues below eps of the trace are taken for equal to that. Where gains fall as the
    square of the passes (Musco & Musco 2015), half the last gain times their number is
    still to come.
    """
    scale = np.trace(G)
    if not scale > 0:
        return np.eye(len(G))[:k], 0.0
    least = np.finfo(np.float64).eps * scale
    G.flat[:: len(G) + 1] += least
    root = inverse_cholesky(G)

    def multiply(block):
        # Of G = L L^T, the inverse is root^T root: its two halves keep products definite.
        half = block @ root.T
        return half @ root, half @ half.T

    start = orthonormal_rows(rng.standard_normal((width, len(G))))
    energy = np.inf
    steps = krylov_steps(RitzBasis(width, np.float64), start, multiply)
    for n_passes, step in enumerate(steps, 1):
        # The inverse hardly sees what Ritz vectors have of the leading eigenvectors, but G
        # does: their images have less of them.
        X = complete_rows(orthonormal_rows(step.ritz.images), k, rng)
        values, rotation = np.linalg.eigh(X @ G @ X.T)
        found = float(np.maximum(values[:k], least).sum())
        error = max(0.0, (energy - found) * n_passes / (2 * found))
        energy = found
        if error <= tol or n_passes == max_passes:
            break
    return rotation[:, :k].T @ X, error
