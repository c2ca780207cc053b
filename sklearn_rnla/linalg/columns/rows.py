"""Choosing rows among those of chosen columns, and weights for them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize

from ...operators import as_row_matrix, passes
from ...operators.rows import add_states
from ..dense.pivoting import lu_pivots, unit_columns
from ..dense.rank import numerical_rank


class CUR(NamedTuple):
    """``A ~ C U R`` with columns C and rows R of A.

    Attributes
    ----------
    column_indices : ndarray of shape (c,)
        Columns of A in C, in the order chosen.
    row_indices : ndarray of shape (r,)
        Rows of A in R, in the order chosen.
    C : ndarray or csr_array of shape (n_rows, c)
        Sparse where A is; a lazy array where A is a dask array.
    U : ndarray of shape (c, r)
        ``C^+ A R^+``, the best for C and R.
    R : ndarray or csr_array of shape (r, n_columns)
        Sparse where A is.
    error_estimate : float
        ``||A - C U R||_F / ||A||_F``, to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import cur
    >>> A = np.outer([1.0, 2.0, 4.0], [3.0, 1.0])
    >>> result = cur(A, 1)
    >>> result.C.shape, result.U.shape, result.R.shape
    ((3, 1), (1, 1), (1, 2))
    >>> bool(np.allclose(result.C, A[:, result.column_indices]))
    True
    """

    column_indices: np.ndarray
    row_indices: np.ndarray
    C: object
    U: np.ndarray
    R: object
    error_estimate: float

    def times(self, unit) -> CUR:
        """Return the decomposition of a multiple of the matrix.

        Parameters
        ----------
        unit : float
            What the matrix is multiplied by.

        Returns
        -------
        CUR
            The same rows, columns and relative error.
        """
        if unit == 1:
            return self
        of_data, of_middle = self.C.dtype.type(unit), self.U.dtype.type(unit)
        return self._replace(C=self.C * of_data, U=self.U / of_middle, R=self.R * of_data)


def choose_rows(A, gathered, c, n_rows) -> CUR:
    """Choose rows by their part in gathered columns, and the matrix between.

    Parameters
    ----------
    A : CenteredMatrix
        Not centred.
    gathered : Gathered
        At least `n_rows` columns, or as many as A has rank.
    c : int
        Columns that count: the first so many.
    n_rows : int

    Returns
    -------
    CUR
        Fewer rows than `n_rows` where A has lower rank.

    Notes
    -----
    More rows than columns are chosen by their part in as many columns. With
    ``R = Y S V^T``, ``C^+ A R^+ = (C^+ A V) S^-1 Y^T``, and ``C^+ A`` is known: no pass.
    """
    indices = lu_rows(gathered, getattr(A.rows, "n_jobs", None))[:n_rows]
    R = take_rows(A.rows, indices)
    V, inverse = pseudo_inverse(R)
    # C^+ = basis Q^T, so that U = basis (Q^T A) R^+.
    U = gathered.basis[:c, :c] @ (gathered.captured[:c] @ inverse)
    spanned = np.linalg.norm(gathered.captured[:c] @ V) / (gathered.norm or 1.0)
    error = gathered.errors[c]
    if gathered.norm:
        error = max(np.sqrt(max(0.0, 1 - spanned**2)), error)
    C = gathered.C if len(gathered.indices) == c else gathered.C[:, :c]
    return CUR(
        column_indices=gathered.indices[:c],
        row_indices=indices,
        C=C,
        U=U.astype(A.dtype),
        R=R,
        error_estimate=float(error),
    )


def row_weights(A, R) -> np.ndarray:
    """Return the weights with which rows R stand for all rows of `A`.

    Parameters
    ----------
    A : CenteredMatrix
        Not centred.
    R : ndarray or csr_array of shape (r, n_columns)

    Returns
    -------
    ndarray of shape (r,)
        The non-negative w that minimise ``||A^T A - R^T diag(w) R||_F``.

    Notes
    -----
    With ``H_ij = (r_i . r_j)^2`` and ``g_i = ||A r_i||^2``, the objective is
    ``w^T H w - 2 g^T w`` and a constant. One pass for g.
    """
    dense = (R if isinstance(R, np.ndarray) else R.toarray()).astype(np.float64)
    g = A.fold(fold_squared_products, np.ascontiguousarray(dense.T))[0]
    H = (dense @ dense.T) ** 2
    # Scaled to a unit diagonal, and as a least squares problem by a root of H.
    scale = np.sqrt(np.diagonal(H))
    scale[scale == 0] = 1.0
    values, vectors = scipy.linalg.eigh(H / np.outer(scale, scale))
    kept = slice(len(H) - numerical_rank(values, H.shape), None)
    root = np.sqrt(values[kept])[:, np.newaxis] * vectors[:, kept].T
    target = (vectors[:, kept].T @ (g / scale)) / np.sqrt(values[kept])
    return scipy.optimize.nnls(root, target)[0] / scale


def fold_pivot_rows(state, block, inverse):
    """Tournament of rows of ``Q = C inverse``, for blocks of C: ``[indices, rows]``.

    The rows that LU with partial pivoting takes from a block are candidates; those
    that it takes from two lots of candidates go on (Grigori, Demmel & Xiang 2011).
    """
    Q = np.asarray(passes.take_columns(block.values, slice(None)), np.float64) @ inverse
    indices = block.start + np.arange(len(Q))
    return winners(state, winners(None, [indices, Q]))


def winners(left, right):
    """Return the winners of two lots of candidates, ``[indices, rows]``, in order."""
    if left is not None:
        right = [np.concatenate(pair) for pair in zip(left, right, strict=True)]
    indices, rows = right
    if not len(indices):
        return right
    pivots = lu_pivots(rows)
    return [indices[pivots], rows[pivots]]


def lu_rows(columns, n_jobs) -> np.ndarray:
    """Return the rows that LU with partial pivoting takes from gathered columns.

    Parameters
    ----------
    columns : Gathered
        With C.
    n_jobs : int or None

    Returns
    -------
    ndarray of shape (k,)
        In the order taken.

    Notes
    -----
    Of the orthonormal basis of C, by a tournament of blocks, so that neither is dense as
    a whole. Sorensen & Embree (2016) pivot singular vectors so.
    """
    C = as_row_matrix(columns.C, n_jobs=n_jobs)
    indices = C.fold(fold_pivot_rows, columns.basis, combine=winners)[0]
    return np.asarray(indices, dtype=np.intp)


def take_rows(rows, indices):
    """Return rows of a row matrix in the order of `indices`."""
    if not len(indices):
        return rows.some_rows()[:0]
    order = np.argsort(indices)
    return rows.take(indices[order]).in_memory()[np.argsort(order)]


def pseudo_inverse(R):
    """Return an orthonormal basis of the rows of R, as columns, and ``R^+``.

    Of dependent rows, some G such that ``G R`` is the projection on them.
    """
    dense = R if isinstance(R, np.ndarray) else R.toarray()
    columns, norms = unit_columns(dense.T.astype(np.float64))
    V, s, Ut = np.linalg.svd(columns, full_matrices=False)
    rank = numerical_rank(s, columns.shape, R.dtype)
    V = V[:, :rank]
    return V, (V / s[:rank]) @ (Ut[:rank] / norms)


def fold_squared_products(state, block, V):
    """Squared norms of the columns of ``B V``: ``[(l,)]``."""
    Y = np.asarray(block.values @ V, dtype=np.float64)
    return add_states(state, [np.einsum("ij,ij->j", Y, Y)])
