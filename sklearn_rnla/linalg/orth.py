"""Orthonormal bases by Cholesky QR, with Householder QR where that breaks down."""

from __future__ import annotations

import numpy as np
import scipy.linalg


def _unit_rows(V):
    norms = np.sqrt(np.einsum("ij,ij->i", V, V, dtype=np.float64))
    keep = norms > 0
    if not keep.all():
        V, norms = V[keep], norms[keep]
    return V / norms[:, np.newaxis].astype(V.dtype)


def orthonormal_rows(V):
    """Return an orthonormal basis of the row space of `V`.

    Parameters
    ----------
    V : ndarray of shape (l, n)
        Floating point, l <= n. Rows are scaled to unit length first, so that what counts is
        their directions.

    Returns
    -------
    ndarray of shape (r, n)
        Orthonormal rows to rounding; r < l where the scaled rows are dependent to
        rounding.

    Notes
    -----
    Cholesky QR twice (Yamamoto, Nakatsukasa, Yanagisawa & Fukaya 2015): 4 l^2 n flops,
    all in matrix products; the l x l factors are in float64. Householder QR with column
    pivoting, which finds the rank, where the first Cholesky factor breaks down or is
    ill-conditioned.
    """
    V = _unit_rows(V)
    limit = 0.1 / np.sqrt(np.finfo(V.dtype).eps)
    for _ in range(2):
        gram = (V @ V.T).astype(np.float64)
        L, info = scipy.linalg.lapack.dpotrf(gram, lower=1)
        diagonal = np.diagonal(L)
        if info or diagonal.max(initial=0.0) > limit * diagonal.min(initial=np.inf):
            return _pivoted_rows(V)
        inverse = scipy.linalg.lapack.dtrtri(L, lower=1)[0] if len(L) else L
        V = np.tril(inverse).astype(V.dtype) @ V
    return V


def _pivoted_rows(V):
    Q, R, _ = scipy.linalg.qr(V.T, mode="economic", pivoting=True, check_finite=False)
    diagonal = np.abs(np.diagonal(R))
    cutoff = max(V.shape) * np.finfo(V.dtype).eps * diagonal.max(initial=0.0)
    return np.ascontiguousarray(Q[:, : np.count_nonzero(diagonal > cutoff)].T)


def extend_rows(V, W):
    """Return an orthonormal basis of what the rows of `W` add to those of `V`.

    Parameters
    ----------
    V : ndarray of shape (q, n)
        Orthonormal rows.
    W : ndarray of shape (l, n)

    Returns
    -------
    ndarray of shape (r, n)
        Orthonormal, orthogonal to V, r <= l. Rows of W within rounding of the span of V
        add nothing.
    """
    norms = np.sqrt(np.einsum("ij,ij->i", W, W, dtype=np.float64))
    for _ in range(2):
        W = W - (W @ V.T) @ V
    kept = np.sqrt(np.einsum("ij,ij->i", W, W, dtype=np.float64))
    W = W[kept > 8 * np.finfo(W.dtype).eps * norms]
    W = orthonormal_rows(W)
    # Normalising magnified what rounding had left of V in W.
    return orthonormal_rows(W - (W @ V.T) @ V)


def complete_rows(V, n_rows, rng):
    """Return `V` with random orthonormal rows added up to `n_rows`."""
    while len(V) < n_rows:
        fresh = rng.standard_normal((n_rows - len(V), V.shape[1])).astype(V.dtype)
        V = np.concatenate([V, extend_rows(V, fresh)])
    return V
