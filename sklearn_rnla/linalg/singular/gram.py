"""Exact right singular vectors from a Gram matrix, on the smaller side."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..dense.orth import complete_rows, orthonormal_rows
from ..dense.rank import numerical_rank
from ..dense.ritz import descending_eigh
from .block_krylov import RightSVD, accurate_values, squaring_loses, storage_excess
from .row_gram import WideSparse

# Beyond this share of all eigenvectors, or below this size, LAPACK's solver for all of
# them is faster than the one for some.
_SUBSET_SHARE = 0.3
_SUBSET_SIZE = 200

# More values than are asked for: they tell how much is left where that is a difference of
# rounding errors.
_MARGIN = 8

# Squared singular values within this many eps of the largest are lost in a Gram matrix,
# and with them their vectors.
_LOST_LIMIT = 1e2


def leading_eigh(H, k):
    """Return the k leading eigenvalues, or all, and their eigenvectors as rows."""
    n = len(H)
    if k > _SUBSET_SHARE * n or n < _SUBSET_SIZE:
        return descending_eigh(H)
    values, vectors = scipy.linalg.eigh(
        H, subset_by_index=[n - k, n - 1], overwrite_a=True, check_finite=False
    )
    return values[::-1], np.ascontiguousarray(vectors[:, ::-1].T)


def gram_svd(A, k, *, rng):
    """Compute the leading k right singular vectors of `A` exactly.

    Parameters
    ----------
    A : CenteredMatrix
    k : int
        At most ``min(A.shape)``.
    rng : Generator
        Completes the basis where k exceeds the rank.

    Returns
    -------
    RightSVD
        Of k triplets or more.

    Notes
    -----
    Tall: the n x n Gram matrix in one pass, n_rows n_features^2 flops. Wide and in memory:
    that of the rows, n_rows^2 n_features flops, fewer where rows are sparse (see
    `WideSparse`). Singular values that squaring loses are recovered from a QR factor: of
    ``A V^T``, or, where the vectors are lost as well, of A itself; not for a stream, which
    cannot be read again.
    """
    n_rows, n_features = A.shape
    wide = n_rows is not None and n_rows < n_features and hasattr(A.rows, "values")
    if wide:
        # What is not finite shows in the moments, before it spoils the Gram matrix.
        total = A.moments.squared_norm
        s, V = (_wide_sparse if A.rows.sparse else _wide)(A, k)
    else:
        s, V = _tall(A, k)
        total = A.moments.squared_norm
    if len(V) < k:
        V = complete_rows(V.astype(A.dtype), k, rng)
        s = np.concatenate([s, np.zeros(k - len(s))])
    eps = float(np.finfo(A.dtype).eps)
    rest = total - float(np.sum(s[:k] ** 2))
    # The difference, unless it is rounding.
    tail = rest if rest > _LOST_LIMIT * eps * total else float(np.sum(s[k:] ** 2))
    excess = storage_excess(s[:k], tail, A.dtype)
    return RightSVD(s[: len(V)], V, error_estimate=excess, converged=True)


def _tall(A, k):
    """Return at least the k leading singular values that are not zero, from A^T A."""
    H = A.gram()
    scale = np.trace(H)
    if scale <= 0:
        return np.zeros(0), np.zeros((0, len(H)))
    margin = min(len(H), k + _MARGIN)
    values, V = leading_eigh(H, margin)
    if not A.rows.rereadable:
        s = np.sqrt(np.maximum(values, 0.0))
    elif squaring_loses(values, min(k, len(values)), A.dtype, _LOST_LIMIT):
        s, V = _reached(*np.linalg.svd(A.triangular_factor(), full_matrices=False)[1:])
    else:
        s, V = accurate_values(A, values, V.astype(A.dtype), k)
    return s[:margin], V[:margin].astype(A.dtype)


def _reached(s, V):
    """Leave out what is lost in rounding: the caller's completion is canonical."""
    rank = numerical_rank(s, V.shape)
    return s[:rank], V[:rank]


def _wide(A, k):
    """Return the k leading singular values that are not zero, or more, from A A^T."""
    B = A.dense().astype(np.float64)
    margin = min(len(B), k + _MARGIN)
    values, U = leading_eigh(B @ B.T, margin)
    if values[0] <= 0:
        return np.zeros(0), np.zeros((0, B.shape[1]))
    if squaring_loses(values, min(k, len(values)), np.float64):
        s, V = scipy.linalg.svd(B, full_matrices=False, check_finite=False)[1:]
        s, V = _reached(s, V)
        return s[:margin], V[:margin].astype(A.dtype)
    s = np.sqrt(np.maximum(values, 0.0))
    return s, orthonormal_rows(U[:k] @ B).astype(A.dtype)


def _wide_sparse(A, k):
    """Return what `_wide` does, without a dense copy of sparse rows."""
    B = WideSparse(A)
    margin = min(A.shape[0], k + _MARGIN)
    values, U = leading_eigh(B.gram(), margin)
    if values[0] <= 0:
        return np.zeros(0), np.zeros((0, A.shape[1]))
    if squaring_loses(values, min(k, len(values)), np.float64):
        s, U = _reached(*scipy.linalg.svd(B.triangular_factor(), check_finite=False)[1:])
    else:
        s = np.sqrt(np.maximum(values, 0.0))
    return s[:margin], B.right_vectors(s[:k], U[:k])
