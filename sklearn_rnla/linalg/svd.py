"""Drivers: the truncated singular value decomposition."""

from __future__ import annotations

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from .._random import draw_seed, stream
from .._sklearn import Interval, StrOptions, svd_flip, validate_params
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix, is_read_lazily
from ..operators.scaling import unit_of
from .dense.orth import complete_rows, orthonormal_rows
from .singular.choice import right_svd, two_sided_svd
from .singular.one_view import one_view_right_svd
from .singular.rank_rules import FixedRank


class SVD(NamedTuple):
    """A truncated singular value decomposition ``A ~ U diag(singular_values) Vt``.

    Attributes
    ----------
    U : ndarray of shape (n_rows, k)
        Orthonormal columns.
    singular_values : ndarray of shape (k,)
        In decreasing order.
    Vt : ndarray of shape (k, n_columns)
        Orthonormal rows.
    error_estimate : float
        Estimated excess Frobenius error over the best rank k, relative to its error.
    n_passes : int
        Passes made over A.
    """

    U: np.ndarray
    singular_values: np.ndarray
    Vt: np.ndarray
    error_estimate: float
    n_passes: int


@validate_params(
    {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "algorithm": [StrOptions({"auto", "krylov", "subspace", "gram"})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_passes": [Interval(Integral, 1, None, closed="left")],
        "n_oversamples": [Interval(Integral, 0, None, closed="left"), None],
        "sketch": [StrOptions({"row_sampling", "gaussian", "sparse_sign", "srtt"})],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def randomized_svd(
    A,
    n_components,
    *,
    algorithm="auto",
    tol=1e-3,
    max_passes=20,
    n_oversamples=None,
    sketch="row_sampling",
    block_size=None,
    n_jobs=None,
    random_state=None,
):
    """Compute a truncated singular value decomposition by passes over row blocks.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable or dask array
        Of shape (n_rows, n_columns).
    n_components : int
        Number of singular triplets, at most ``min(A.shape)``.
    algorithm : {"auto", "krylov", "subspace", "gram"}, default="auto"
        As in `RandomizedPCA`.
    tol : float, default=1e-3
        Excess Frobenius error, relative to that of the best rank `n_components`, at which
        passes stop.
    max_passes : int, default=20
        Most passes of the iteration.
    n_oversamples : int, default=None
        Vectors iterated beyond those wanted; None is at least 8.
    sketch : {"row_sampling", "gaussian", "sparse_sign", "srtt"}, default="row_sampling"
        What the iteration starts from.
    block_size : int, default=None
        Rows of a block.
    n_jobs : int, default=None
        Threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    SVD
        ``(U, singular_values, Vt, error_estimate, n_passes)``. Of a dask array, U is a lazy
        one, and its columns are orthonormal where the singular values are not lost in
        rounding.

    Raises
    ------
    ValueError
        When A has NaN or infinity, or, where it is sparse or not in memory, values too
        large to be squared; when `n_components` exceeds ``min(A.shape)``.

    See Also
    --------
    one_view_svd : For data that can be read once.

    Notes
    -----
    Block Krylov iteration (Musco & Musco 2015), which Halko, Martinsson & Tropp (2011)
    describe as algorithm 4.3 without its memory. Of a dense matrix in memory, U comes with
    the iteration, which keeps ``A V^T`` of each pass: as much memory as the matrix has
    again, at most twice. Else, one more pass for ``A V^T``, whose QR factorisation gives
    U and the singular values, to rounding relative to the largest.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import randomized_svd
    >>> A = np.outer(np.arange(1, 6), np.ones(4))
    >>> randomized_svd(A, 2, random_state=0).singular_values.round(6)
    array([14.832397,  0.      ])
    """
    rows = check_matrix(
        A,
        rereads=True,
        instead="or use one_view_svd",
        block_size=block_size,
        n_jobs=n_jobs,
    )
    k = int(n_components)
    check_rank("n_components", k, rows.shape)
    rng = stream(draw_seed(random_state))
    is_dense = not (rows.sparse or is_read_lazily(A))
    if is_dense:
        rows = rows.in_unit(int(np.log2(unit_of(rows.in_memory()))))
    matrix = CenteredMatrix(rows, center=False).in_safe_unit()
    options = {
        "algorithm": algorithm,
        "tol": tol,
        "max_passes": max_passes,
        "n_oversamples": n_oversamples,
        "rng": rng,
    }
    both = None
    if is_dense and sketch == "row_sampling":
        both = two_sided_svd(matrix, k, **options)
    if both is not None:
        U, V = svd_flip(both.U, both.Vt, u_based_decision=False)
        s, error, n_passes = both.singular_values, both.error_estimate, both.n_passes
    else:
        _, right = right_svd(matrix, FixedRank(k), sketch=sketch, **options)
        U, s, V = (_lazy_svd if rows.lazy else _both_sides)(matrix, right, k, rng)
        error, n_passes = right.error_estimate, matrix.n_passes
    s = (s.astype(np.float64) * matrix.unit).astype(rows.dtype)
    return SVD(U, s, V, error_estimate=error, n_passes=n_passes)


def _both_sides(A, right, k, rng):
    """Return U, s and V^T, given right singular vectors, by one more pass."""
    V = right.components[:k]
    Y = A.project(V)
    # The singular values of A V^T, not the roots of its Gram matrix: squaring loses half
    # of the digits.
    Qt = orthonormal_rows(Y.T)
    rotation, s, turn = np.linalg.svd(Qt.astype(np.float64) @ Y, full_matrices=False)
    Ut = complete_rows(rotation.T.astype(A.dtype) @ Qt, k, rng)
    s = np.concatenate([s, np.zeros(k - len(s))])
    V = complete_rows(turn.astype(A.dtype) @ V, k, rng)
    U, V = svd_flip(Ut.T, V, u_based_decision=False)
    return U, s, V


def _lazy_svd(A, right, k, rng):
    """Return a lazy U, s and V^T, by one more pass now, and another where U is computed.

    Not the product ``A V^T``, but its triangular factor comes back to this process.
    """
    V = right.components[:k]
    _, s, rotation = np.linalg.svd(A.triangular_factor(V))
    V = svd_flip(None, rotation.astype(A.dtype) @ V, u_based_decision=False)[1]
    inverse = 1 / np.where(s > 0, s, np.inf)
    U = A.project(V * inverse.astype(A.dtype)[:, np.newaxis])
    return U, s, V


@validate_params(
    {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def one_view_svd(A, n_components, *, n_jobs=None, random_state=None):
    """Compute leading right singular vectors of a matrix that is read once.

    Parameters
    ----------
    A : iterator of row blocks, array-like, sparse matrix, memmap or dask array
        Of shape (n_rows, n_columns).
    n_components : int
        Number of singular values and vectors, at most n_columns.
    n_jobs : int, default=None
        Threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    RightSVD
        ``(singular_values, components, error_estimate, converged)``.

    Raises
    ------
    ValueError
        When A has NaN or infinity, or `n_components` exceeds n_columns.

    See Also
    --------
    randomized_svd : Accurate, for data that can be read several times.

    Notes
    -----
    The Nystroem approximation of ``A^T A`` (Tropp, Yurtsever, Udell & Cevher 2017), as good
    as a randomized SVD without power iteration, and a sketch that corrects its values and
    estimates its error. Both hold about ``18 n_components n_columns`` numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import one_view_svd
    >>> blocks = (np.full((10, 8), float(i)) for i in range(3))
    >>> one_view_svd(blocks, 1, random_state=0).singular_values.round(6)
    array([20.])
    """
    rows = check_matrix(A, n_jobs=n_jobs)
    k = int(n_components)
    check_rank("n_components", k, (rows.shape[0] or rows.shape[1], rows.shape[1]))
    matrix = CenteredMatrix(rows, center=False).in_safe_unit()
    result = one_view_right_svd(matrix, k, rng=stream(draw_seed(random_state)))
    V = svd_flip(None, result.components.copy(), u_based_decision=False)[1]
    s = result.singular_values * matrix.unit
    return result._replace(singular_values=s, components=V)
