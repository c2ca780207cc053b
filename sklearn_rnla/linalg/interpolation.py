"""Driver: interpolative decompositions, of a matrix by its own columns or rows."""

from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np

from .._random import generator
from .._refusals import refuse_not_finite
from .._sklearn import Interval, StrOptions, validated
from .._typing import Int, MatrixLike, Seed
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix, as_row_matrix, passes
from ..operators.scaling import in_unit
from ..sketching import SparseSign
from .columns.gather import gather_columns
from .columns.rows import fold_squared_products, lu_rows, pseudo_inverse, take_rows
from .columns.select import sketch_size_of
from .dense.pivoting import column_squared_norms, pivot_columns, swap_columns
from .dense.rank import rounding_of


class Interpolation(NamedTuple):
    """Rows and columns of A of which all others are combinations.

    Attributes
    ----------
    row_indices : ndarray of shape (k,) or None
        The rows; None where all of them are taken.
    column_indices : ndarray of shape (k,) or None
        The columns; None where all of them are taken.
    row_interpolation : ndarray of shape (n_rows, k) or None
        X of ``A ~ X A[rows]``.
    column_interpolation : ndarray of shape (k, n_columns) or None
        Z of ``A ~ A[:, columns] Z``; with both, ``A ~ X A[rows][:, columns] Z``.
    error_estimate : float
        Frobenius norm of the error, relative to that of A.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import interpolative
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 8))
    >>> result = interpolative(A, 3, of="columns", random_state=0)
    >>> J, Z = result.column_indices, result.column_interpolation
    >>> bool(np.allclose(A[:, J] @ Z, A))
    True
    >>> result.row_indices is None
    True
    """

    row_indices: np.ndarray | None
    column_indices: np.ndarray | None
    row_interpolation: np.ndarray | None
    column_interpolation: np.ndarray | None
    error_estimate: float


@validated(
    n_components=[Interval(Integral, 1, None, closed="left")],
    of=[StrOptions({"columns", "rows", "both"})],
    refine=[StrOptions({"swap"}), None],
    n_jobs=[Integral, None],
)
def interpolative(
    A: MatrixLike,
    n_components: Int,
    *,
    of: Literal["columns", "rows", "both"] = "columns",
    refine: Literal["swap"] | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> Interpolation:
    """Compute an interpolative decomposition: by columns, by rows, or by both.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable or dask array
        Of shape (n_rows, n_columns).
    n_components : int
        Number of rows or columns to keep, at most ``min(A.shape)``. Fewer are kept if A has
        lower rank.
    of : {"columns", "rows", "both"}, default="columns"
        What to keep; "both" keeps a submatrix.
    refine : {"swap"} or None, default=None
        Whether to exchange the choice as long as that lowers the error on the sketch.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    Interpolation
        ``(row_indices, column_indices, row_interpolation, column_interpolation,
        error_estimate)``.

    Raises
    ------
    ValueError
        When A has NaN or infinity, or `n_components` exceeds ``min(A.shape)``.

    See Also
    --------
    cur : Columns and rows, and a matrix between them.
    scipy.linalg.interpolative.interp_decomp : By columns, for dense matrices.

    Notes
    -----
    Column pivots of a sparse-sign sketch (Voronin & Martinsson 2017, section 4); the
    interpolation is the least squares solution with all of A, not with the sketch. With
    both, rows are chosen by LU of the columns: ``A[:, columns] = X A[rows][:, columns]``
    holds exactly.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import interpolative
    >>> A = np.outer([1.0, 2.0, 4.0], [3.0, 1.0])
    >>> result = interpolative(A, 1)
    >>> result.column_indices, result.column_interpolation.round(6)
    (array([0]), array([[1.      , 0.333333]]))
    """
    rows = check_matrix(A, rereads=True, n_jobs=n_jobs)
    k = int(n_components)
    check_rank("n_components", k, rows.shape)
    rng = generator(random_state)
    matrix = CenteredMatrix(in_unit(rows)[0], center=False)
    if of == "rows":
        return _row_interpolation(matrix, k, refine, rng)
    gathered, k = gather_columns(matrix, k, keep=of == "both", refine=refine, rng=rng)
    J = gathered.indices
    Z = gathered.interpolation(k).astype(rows.dtype)
    error = float(gathered.errors[-1])
    if of == "columns":
        return Interpolation(None, J, None, Z, error_estimate=error)
    indices = lu_rows(gathered, n_jobs)
    C = as_row_matrix(gathered.C, n_jobs=n_jobs)
    Q = passes.dense_rows(take_rows(C, indices)) @ gathered.basis
    inverse = gathered.basis @ np.linalg.inv(Q) if k else Q
    X = C.map(passes.project, inverse, 0.0, n_columns=k)
    return Interpolation(indices, J, X, Z, error)


def _row_interpolation(A, k, refine, rng):
    """Choose rows by pivoting ``(A S^T)^T``, a sketch of the columns."""
    rows, n_columns = A.rows, A.shape[1]
    size, sums = sketch_size_of(k, "cpqr", refine), np.float64
    if size < n_columns:
        sums = rows.dtype
        Y = np.asarray(rows @ SparseSign(size, n_columns).sample(rng).T)
    else:
        Y = rows.map(passes.dense_rows, n_columns=n_columns)
    B = np.ascontiguousarray(np.asarray(Y, dtype=np.float64).T)
    refuse_not_finite(B, "A")
    rounding = rounding_of((n_columns, k), rows.dtype, sums)
    rounding *= np.sqrt(column_squared_norms(B))
    indices = pivot_columns(B, k, rounding=rounding).indices
    if refine == "swap":
        indices = swap_columns(B, indices, rounding=rounding)
    V, inverse = pseudo_inverse(take_rows(rows, indices))
    squares = A.fold(fold_squared_products, V)[0]
    X = rows.map(passes.project, inverse.astype(rows.dtype), 0.0, n_columns=len(indices))
    if not rows.lazy:
        X[indices] = np.eye(len(indices))
    total = A.moments.squared_norm
    error = np.sqrt(max(0.0, 1 - squares.sum() / total)) if total else 0.0
    return Interpolation(indices, None, X, None, float(error))
