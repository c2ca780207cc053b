"""Driver: the CUR decomposition, of real columns and real rows."""

from __future__ import annotations

from numbers import Integral
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize

from .._random import draw_seed, stream
from .._sklearn import Interval, validate_params
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix
from ..operators.scaling import in_unit
from .column_subset import CONSTRAINTS, check_n_columns
from .dense.rank import numerical_rank
from .interpolation import (
    fold_squared_products,
    gather_columns,
    lu_rows,
    pseudo_inverse,
    take_rows,
)


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


@validate_params(
    CONSTRAINTS | {"n_rows": [Interval(Integral, 1, None, closed="left"), None]},
    prefer_skip_nested_validation=True,
)
def cur(
    A,
    n_components=None,
    n_rows=None,
    *,
    tol=0.1,
    method="cpqr",
    refine=None,
    sketch_size=None,
    block_size=None,
    n_jobs=None,
    random_state=None,
):
    """Compute a CUR decomposition.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable or dask array
        Of shape (n_rows, n_columns).
    n_components : int, float or None, default=None
        How many columns; see `column_subset`.
    n_rows : int, default=None
        How many rows, at most ``min(A.shape)``; None is as many as columns.
    tol : float, default=0.1
        Error ``||A - C C^+ A||_F`` relative to the norm of A, for `n_components` None.
    method : {"cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top"}, \
            default="cpqr"
        How columns are chosen; see `CURSelector`.
    refine : {"swap"} or None, default=None
        Whether to exchange columns afterwards while that lowers the error on the sketch.
    sketch_size : int, default=None
        Rows of the sketch; see `column_subset`.
    block_size : int, default=None
        Rows of a block.
    n_jobs : int, default=None
        Threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    CUR
        ``(column_indices, row_indices, C, U, R, error_estimate)``. Fewer columns and rows
        than asked for where A has lower rank.

    Raises
    ------
    ValueError
        When A has NaN or infinity, or `n_components` or `n_rows` exceeds
        ``min(A.shape)``.

    See Also
    --------
    interpolative : Without a matrix between.
    randomized_svd : The best of the same rank, of no real columns.

    Notes
    -----
    Columns as in `column_subset`, rows by LU with partial pivoting of their orthonormal
    basis, and ``U = C^+ A R^+``, the best middle matrix (Stewart 1999), never the inverse
    of the crossing. Two passes and the chosen rows are read.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import cur
    >>> A = np.outer([1.0, 2.0, 4.0], [3.0, 1.0])
    >>> column_indices, row_indices, C, U, R, error = cur(A, 1)
    >>> bool(np.allclose(C @ U @ R, A))
    True
    """
    rows = check_matrix(A, block_size=block_size, n_jobs=n_jobs)
    k, tol = check_n_columns(n_components, tol, method, rows)
    if n_rows is not None:
        check_rank("n_rows", int(n_rows), rows.shape)
    rows, unit = in_unit(rows)
    matrix = CenteredMatrix(rows, center=False)
    gathered, c = gather_columns(
        matrix,
        k,
        tol=tol,
        n_rows=n_rows or 0,
        keep=True,
        method=method,
        refine=refine,
        sketch_size=sketch_size,
        rng=stream(draw_seed(random_state)),
    )
    return choose_rows(matrix, gathered, c, n_rows or c).times(unit)
