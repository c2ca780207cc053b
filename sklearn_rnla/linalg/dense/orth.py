"""Orthonormal bases by Cholesky QR, with Householder QR where that breaks down."""

import numpy as np
import scipy.linalg
from sklearn.utils.validation import check_array

from ..._refusals import refuse_missing, refuse_not_finite
from ..._typing import Array
from ...operators.sources import refuse_not_in_memory
from .rank import rounding_of

# Columns multiplied at a time in double precision: their copies stay in cache.
_CHUNK = 4096

# A Cholesky factor whose diagonal spans more than this has lost too many digits: of the
# Gram matrix, which is in float64, or of the product with the factor's inverse.
_GRAM_LIMIT = 0.1 / np.sqrt(np.finfo(np.float64).eps)
_PRODUCT_LIMIT = 1e-2

# Sums of squares below this have lost digits to underflow.
_LEAST_SQUARE = np.finfo(np.float64).tiny / np.finfo(np.float64).eps

# One more projection takes overlaps below this to rounding.
_SMALL_OVERLAP = 1e-2


def product64(V, W):
    """Return ``V W^T`` summed in float64, whatever the dtypes."""
    if V.dtype == W.dtype == np.float64:
        return V @ W.T
    total = np.zeros((len(V), len(W)))
    for start in range(0, V.shape[1], _CHUNK):
        chunk = slice(start, start + _CHUNK)
        right = W[:, chunk].astype(np.float64)
        left = right if V is W else V[:, chunk].astype(np.float64)
        total += left @ right.T
    return total


def orthonormal_rows(V, n_rounds=2):
    """Return an orthonormal basis of the row space of `V`.

    Parameters
    ----------
    V : ndarray of shape (l, n)
        Floating point, l <= n. Rows count as of unit length: what matters is their
        directions.
    n_rounds : int, default=2
        Rounds of Cholesky QR: 1 is enough where the rows are nearly orthonormal.

    Returns
    -------
    ndarray of shape (r, n)
        Orthonormal rows to rounding; r < l where the scaled rows are dependent to
        rounding.

    Notes
    -----
    Cholesky QR twice (Yamamoto, Nakatsukasa, Yanagisawa & Fukaya 2015): 4 l^2 n flops,
    all in matrix products, with the Gram matrix in float64, so that single precision
    input passes whatever its condition. Householder QR with column pivoting, which finds
    the rank, where a Cholesky factor breaks down or is ill-conditioned.
    """
    limit = min(_GRAM_LIMIT, _PRODUCT_LIMIT / np.finfo(V.dtype).eps)
    current = V
    for _ in range(n_rounds):
        with np.errstate(over="ignore", invalid="ignore"):
            gram = product64(current, current)
        squares = np.diagonal(gram)
        if squares.size and not _LEAST_SQUARE < squares.min() <= squares.max() < np.inf:
            return orthonormal_rows(_in_range(V), n_rounds)
        norms = np.sqrt(squares)
        # V = L Q, where L is the Cholesky factor of V V^T. The rows are scaled first: their
        # sizes should not count as ill conditioning.
        L, info = scipy.linalg.lapack.dpotrf(gram / np.outer(norms, norms), lower=1)
        diagonal = np.diagonal(L)
        if info or diagonal.max(initial=0) > limit * diagonal.min(initial=1):
            return _pivoted_rows(_unit_rows(V))
        inverse = scipy.linalg.lapack.dtrtri(L, lower=1)[0] if len(L) else L
        current = (np.tril(inverse) / norms).astype(V.dtype) @ current
    return current


def _in_range(V):
    """Return the rows that are not zero, each times the power of two that it needs."""
    refuse_not_finite(V)
    largest = np.abs(V).max(axis=1)
    kept = largest > 0
    exponents = np.frexp(largest[kept])[1]
    return np.ldexp(V[kept], -exponents[:, np.newaxis])


def _unit_rows(V):
    norms = np.sqrt(np.einsum("ij,ij->i", V, V, dtype=np.float64))
    return (V / np.where(norms > 0, norms, 1.0)[:, np.newaxis]).astype(V.dtype)


def _pivoted_rows(V, scale=None):
    Q, R, _ = scipy.linalg.qr(V.T, mode="economic", pivoting=True, check_finite=False)
    diagonal = np.abs(np.diagonal(R))
    scale = diagonal.max(initial=0.0) if scale is None else scale
    # QR is in the precision of V, and so are its sums.
    cutoff = rounding_of(V.shape[::-1], V.dtype, V.dtype) * scale
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
    W = W.astype(V.dtype, copy=False)
    fresh = orthonormal_rows(_without(V, W @ V.T, W), n_rounds=1)
    overlap = fresh @ V.T
    if len(V) + len(fresh) > V.shape[1] or np.abs(overlap).max(initial=0) > _SMALL_OVERLAP:
        # Normalising magnified what rounding had left of V: find the rank first.
        W = _unit_rows(W)
        for _ in range(2):
            W = _without(V, W @ V.T, W)
        fresh = _pivoted_rows(W, scale=1.0)[: V.shape[1] - len(V)]
        fresh = orthonormal_rows(_without(V, fresh @ V.T, fresh))
        overlap = fresh @ V.T
    return orthonormal_rows(_without(V, overlap, fresh), n_rounds=1)


def _without(V, overlap, W):
    """Return ``W - overlap V`` in one array's memory."""
    rest = overlap @ V
    return np.subtract(W, rest, out=rest)


def complete_rows(V, n_rows, rng):
    """Return `V` with random orthonormal rows added up to `n_rows`."""
    while len(V) < n_rows:
        fresh = rng.standard_normal((n_rows - len(V), V.shape[1])).astype(V.dtype)
        V = np.concatenate([V, extend_rows(V, fresh)])
    return V


def orth(A: Array) -> Array:
    """Return an orthonormal basis of the column space of a tall matrix.

    Parameters
    ----------
    A : array-like of shape (m, l)
        With l <= m.

    Returns
    -------
    ndarray of shape (m, r)
        Orthonormal columns; r < l where the columns, scaled to unit length, are dependent
        to rounding.

    Raises
    ------
    ValueError
        When A has more columns than rows, NaN or infinity.

    See Also
    --------
    scipy.linalg.orth : By a singular value decomposition.

    Notes
    -----
    Cholesky QR twice (Yamamoto, Nakatsukasa, Yanagisawa & Fukaya 2015), Householder QR with
    column pivoting where that breaks down. ``4 m l^2`` flops.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import orth
    >>> np.abs(orth(np.array([[3.0, 3.0], [4.0, 4.0], [0.0, 0.0]])))
    array([[0.6],
           [0.8],
           [0. ]])
    """
    refuse_not_in_memory(A, "A")
    A = check_array(
        A, dtype=[np.float64, np.float32], ensure_all_finite=False, input_name="A"
    )
    refuse_missing(A, "A")
    if A.shape[0] < A.shape[1]:
        raise ValueError(f"A of shape {A.shape} must have no more columns than rows.")
    return orthonormal_rows(np.ascontiguousarray(A.T)).T
