"""Drivers: the truncated singular value decomposition."""

from numbers import Integral, Real
from typing import Literal, NamedTuple

import numpy as np

from .._random import generator
from .._sklearn import Interval, StrOptions, svd_flip, validated
from .._typing import Blocks, Float, Int, MatrixLike, Seed
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix, is_read_lazily
from ..operators.scaling import unit_of
from .dense.orth import complete_rows, orthonormal_rows
from .singular.block_krylov import RightSVD
from .singular.one_view import one_view_right_svd
from .singular.rank_rules import FixedRank
from .singular.truncated_svd import Settings, right_svd, two_sided_svd


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
        Infinite where `max_passes` are too few to tell.
    n_passes : int
        Number of passes made over A.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import randomized_svd
    >>> A = np.random.default_rng(0).standard_normal((100, 20))
    >>> svd = randomized_svd(A, 3, random_state=0)
    >>> svd.U.shape, svd.singular_values.shape, svd.Vt.shape
    ((100, 3), (3,), (3, 20))
    >>> U, s, Vt = svd[:3]
    >>> bool(np.allclose(A @ Vt.T, U * s))
    True
    """

    U: np.ndarray
    singular_values: np.ndarray
    Vt: np.ndarray
    error_estimate: float
    n_passes: int


@validated(
    n_components=[Interval(Integral, 1, None, closed="left")],
    algorithm=[StrOptions({"auto", "krylov", "subspace", "gram"})],
    tol=[Interval(Real, 0, None, closed="left")],
    max_passes=[Interval(Integral, 1, None, closed="left")],
    n_oversamples=[Interval(Integral, 0, None, closed="left"), None],
    sketch=[StrOptions({"row_sampling", "gaussian", "sparse_sign", "srtt"})],
    block_size=[Interval(Integral, 1, None, closed="left"), None],
    n_jobs=[Integral, None],
)
def randomized_svd(
    A: MatrixLike,
    n_components: Int,
    *,
    algorithm: Literal["auto", "krylov", "subspace", "gram"] = "auto",
    tol: Float = 1e-3,
    max_passes: Int = 20,
    n_oversamples: Int | None = None,
    sketch: Literal["row_sampling", "gaussian", "sparse_sign", "srtt"] = "row_sampling",
    block_size: Int | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> SVD:
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
        Stop once the Frobenius error is at most this fraction above the best possible for
        this rank (0.001 means 0.1 %).
    max_passes : int, default=20
        Maximum number of passes of the iteration.
    n_oversamples : int, default=None
        Number of vectors to iterate beyond those wanted. None means at least 8.
    sketch : {"row_sampling", "gaussian", "sparse_sign", "srtt"}, default="row_sampling"
        What the iteration starts from, as in `RandomizedPCA`.
    block_size : int, default=None
        Number of rows of a block. None chooses by size.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    SVD
        ``(U, singular_values, Vt, error_estimate, n_passes)``. For a dask array, U is lazy,
        and its columns are orthonormal where the singular values are above rounding error.

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
    rng = generator(random_state)
    is_dense = not (rows.sparse or is_read_lazily(A))
    if is_dense:
        rows = rows.in_unit(int(np.log2(unit_of(rows.in_memory()))))
    matrix = CenteredMatrix(rows, center=False).in_safe_unit()
    settings = Settings(
        algorithm=algorithm,
        tol=tol,
        max_passes=max_passes,
        n_oversamples=n_oversamples,
        sketch=sketch,
    )
    both = two_sided_svd(matrix, k, settings, rng=rng) if is_dense else None
    if both is not None:
        U, V = svd_flip(both.U, both.Vt, u_based_decision=False)
        s, error, n_passes = both.singular_values, both.error_estimate, both.n_passes
    else:
        _, right = right_svd(matrix, FixedRank(k), settings, rng=rng)
        U, s, V = (_lazy_svd if rows.lazy else _both_sides)(matrix, right, k, rng)
        error, n_passes = right.error_estimate, matrix.n_passes
    s = (s.astype(np.float64) * matrix.unit).astype(rows.dtype)
    return SVD(U, s, V, error_estimate=error, n_passes=n_passes)


def _both_sides(A, right, k, rng):
    """Return U, s and V^T, given right singular vectors, by one more pass."""
    # Halko et al., algorithm 5.1, with the sides exchanged: of an orthonormal basis V of
    # the row space, decompose A V^T.
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


@validated(
    n_components=[Interval(Integral, 1, None, closed="left")],
    n_jobs=[Integral, None],
)
def one_view_svd(
    A: MatrixLike | Blocks,
    n_components: Int,
    *,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> RightSVD:
    """Compute leading right singular vectors of a matrix that is read once.

    Parameters
    ----------
    A : iterator of row blocks, array-like, sparse matrix, memmap or dask array
        Of shape (n_rows, n_columns).
    n_components : int
        Number of singular values and vectors, at most n_columns.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

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
    result = one_view_right_svd(matrix, k, rng=generator(random_state))
    V = svd_flip(None, result.components.copy(), u_based_decision=False)[1]
    s = result.singular_values * matrix.unit
    return result._replace(singular_values=s, components=V)
