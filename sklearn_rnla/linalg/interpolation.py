"""Driver: interpolative decompositions, of a matrix by its own columns or rows."""

from __future__ import annotations

from numbers import Integral
from typing import NamedTuple

import numpy as np

from .._random import draw_seed, stream
from .._sklearn import Interval, StrOptions, validate_params
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix, as_row_matrix, passes
from ..operators.rows import add_states
from ..operators.scaling import in_unit
from ..operators.stacking import stack_rows
from ..sketching import SparseSign
from .column_subset import about_origin, select_columns, sketch_size_of
from .dense.pivoting import column_squared_norms, lu_pivots, pivot_columns, swap_columns
from .dense.rank import numerical_rank, rounding_of
from .dense.triangular import inverse_cholesky, triangular_inverse
from .leverage import unit_columns

# Errors below this many square roots of rounding are lost in a difference of squares.
_FLOOR = 10.0

# By how much an estimate is to be below a tolerance: what the error was found to be above
# it, more is taken.
_MARGINS = (0.05, 0.2, 0.5)


class Interpolation(NamedTuple):
    """Rows and columns of A that all others are combinations of.

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
        Of the approximation, in Frobenius norm relative to A.
    """

    row_indices: np.ndarray | None
    column_indices: np.ndarray | None
    row_interpolation: np.ndarray | None
    column_interpolation: np.ndarray | None
    error_estimate: float


class Gathered(NamedTuple):
    """Columns C of A, and what they span of it.

    Attributes
    ----------
    indices : ndarray of shape (k,)
    C : ndarray, csr_array, dask array or None
        None where it was not asked for.
    basis : ndarray of shape (k, k)
        Upper triangular; ``Q = C basis`` is orthonormal.
    captured : ndarray of shape (k, n_columns)
        ``Q^T A``, in float64.
    norm : float
        Frobenius norm of A.
    errors : ndarray of shape (k + 1,)
        ``||A - C C^+ A||_F / ||A||_F`` with the first 0, 1, ... columns.
    """

    indices: np.ndarray
    C: object
    basis: np.ndarray
    captured: np.ndarray
    norm: float
    errors: np.ndarray

    def interpolation(self, k) -> np.ndarray:
        """Return ``C^+ A`` for the first `k` columns C."""
        W = self.basis[:k, :k] @ self.captured[:k]
        W[:, self.indices[:k]] = np.eye(k)
        return W


def gather_columns(A, k, *, tol=0.0, n_rows=0, keep=False, **options):
    """Choose columns of `A` and return what they span of it, in two passes.

    Parameters
    ----------
    A : CenteredMatrix
        If it is centred, columns are chosen by the rows about their mean. What they span
        is of the rows as they are.
    k : int or None
        How many; None is the fewest whose error is at most `tol`.
    tol : float, default=0.0
        Relative error.
    n_rows : int, default=0
        Rows that are to be chosen too.
    keep : bool, default=False
        Whether to gather C.
    **options
        Further arguments of `select_columns`.

    Returns
    -------
    gathered : Gathered
        Of the columns, and of more where there are more rows, or where the tolerance
        needed fewer than estimated.
    c : int
        Columns chosen: the first so many.
    """
    for margin in _MARGINS:
        root, pivots = select_columns(
            A, k, tol=tol, n_rows=n_rows, margin=margin, **options
        )
        c = len(pivots.indices)
        if n_rows > c or A.center:
            root = about_origin(A, root)
            # Constant columns, which are nothing about their mean, come last.
            c = k if A.center and k is not None else c
            pivots = pivot_columns(
                root.B, max(n_rows, c), first=pivots.indices, rounding=root.rounding
            )
            c = min(c, len(pivots.indices))
        gathered = _gather(A, root, pivots, keep)
        if k is not None:
            break
        enough = np.flatnonzero(gathered.errors <= tol)
        if len(enough) or root.sketch is None:
            c = int(enough[0]) if len(enough) else c
            break
    return gathered, c


def _gather(A, root, pivots, keep):
    """Return what pivots span of A, in one pass.

    Least squares by sketch and precondition: with ``B[:, J] = P T`` the QR factorisation
    of the sketch's columns, ``A[:, J] T^-1`` is so well conditioned that its normal
    equations lose nothing. As T is triangular, they give the error of the first 1, 2, ...
    columns too. 2 k flops for each entry of A.
    """
    indices, k = pivots.indices, len(pivots.indices)
    columns, norms = unit_columns(root.B[:, indices])
    T = np.linalg.qr(columns, mode="r")[:k]
    inverse = triangular_inverse(T.T).T / norms[:, np.newaxis]
    gather = keep and not A.rows.lazy
    H, Z, squares, blocks = A.fold(fold_interpolation, indices, inverse, gather)
    passes.check_finite(squares, A.dtype)
    whiten = inverse_cholesky(H)
    captured, basis = whiten @ Z, inverse @ whiten.T
    norm = float(np.sqrt(squares))
    gained = np.cumsum([0.0, *np.einsum("ij,ij->i", captured, captured)])
    errors = np.sqrt(np.maximum(1 - gained / squares, 0.0)) if squares else gained
    lost = errors < _FLOOR * np.sqrt(np.finfo(A.dtype).eps)
    errors[lost] = np.minimum(errors, root.estimates(pivots))[lost]
    C = None
    if gather:
        C = stack_rows(blocks)
    elif keep:
        C = A.rows.map(passes.take_columns, indices, n_columns=k)
    return Gathered(indices, C, basis, captured, norm, errors)


def fold_interpolation(state, block, indices, inverse, keep):
    """Fold the normal equations for A in the columns ``Q = A[:, indices] inverse``.

    State: ``[Q^T Q, Q^T A, squared norm of A, blocks of A[:, indices]]``, the last empty
    unless `keep`.
    """
    values = block.values
    is_dense = isinstance(values, np.ndarray)
    columns = values[:, indices]
    Q = (columns if is_dense else columns.toarray()).astype(np.float64) @ inverse
    Qt = np.ascontiguousarray(Q.T, dtype=values.dtype)
    part = [
        Q.T @ Q,
        (Qt @ values if is_dense else (values.T @ Qt.T).T).astype(np.float64),
        passes.squared_norm(values if is_dense else values.data),
        [columns] if keep else [],
    ]
    return add_states(state, part)


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


@validate_params(
    {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "of": [StrOptions({"columns", "rows", "both"})],
        "refine": [StrOptions({"swap"}), None],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def interpolative(
    A, n_components, *, of="columns", refine=None, n_jobs=None, random_state=None
):
    """Compute an interpolative decomposition: by columns, by rows, or by both.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable or dask array
        Of shape (n_rows, n_columns).
    n_components : int
        How many, at most ``min(A.shape)``; fewer come where A has lower rank.
    of : {"columns", "rows", "both"}, default="columns"
        What to keep. "both" keeps a submatrix.
    refine : {"swap"} or None, default=None
        Whether to exchange the choice while that lowers the error on the sketch.
    n_jobs : int, default=None
        Threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

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
    rows = check_matrix(A, n_jobs=n_jobs)
    if not rows.rereadable:
        raise ValueError("A is an iterator, which can be read once: pass an array.")
    k = int(n_components)
    check_rank("n_components", k, rows.shape)
    rng = stream(draw_seed(random_state))
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
    crossing = np.asarray(
        passes.take_columns(take_rows(as_row_matrix(gathered.C), indices), slice(None))
    )
    Q = crossing @ gathered.basis
    inverse = gathered.basis @ np.linalg.inv(Q) if k else Q
    X = as_row_matrix(gathered.C, n_jobs=n_jobs).map(
        passes.project, inverse, 0.0, n_columns=k
    )
    return Interpolation(indices, J, X, Z, error)


def fold_squared_products(state, block, V):
    """Squared norms of the columns of ``B V``: ``[(l,)]``."""
    Y = np.asarray(block.values @ V, dtype=np.float64)
    return add_states(state, [np.einsum("ij,ij->j", Y, Y)])


def _row_interpolation(A, k, refine, rng):
    """Choose rows by pivoting ``(A S^T)^T``, a sketch of the columns."""
    rows, n_columns = A.rows, A.shape[1]
    size, sums = sketch_size_of(k, "cpqr", refine), np.float64
    if size < n_columns:
        sums = rows.dtype
        Y = np.asarray(rows @ SparseSign(size, n_columns).sample(rng).T)
    else:
        Y = rows.map(passes.take_columns, slice(None), n_columns=n_columns)
    B = np.ascontiguousarray(np.asarray(Y, dtype=np.float64).T)
    if not np.isfinite(B).all():
        raise ValueError("Input A contains NaN or infinity.")
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
