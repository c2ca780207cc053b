"""Driver: the CUR decomposition, of real columns and real rows."""

from numbers import Integral
from typing import Literal

from .._random import generator
from .._sklearn import Interval, validated
from .._typing import Float, Int, MatrixLike, Seed
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix
from ..operators.scaling import in_unit
from .column_subset import CONSTRAINTS, Method, check_n_columns
from .columns.gather import gather_columns
from .columns.rows import CUR, choose_rows


@validated(**CONSTRAINTS, n_rows=[Interval(Integral, 1, None, closed="left"), None])
def cur(
    A: MatrixLike,
    n_components: Float | None = None,
    n_rows: Int | None = None,
    *,
    tol: Float = 0.1,
    method: Method = "cpqr",
    refine: Literal["swap"] | None = None,
    sketch_size: Int | None = None,
    block_size: Int | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> CUR:
    """Compute a CUR decomposition.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable or dask array
        Of shape (n_rows, n_columns).
    n_components : int, float or None, default=None
        Number of columns, as in `column_subset`.
    n_rows : int, default=None
        Number of rows, at most ``min(A.shape)``. None means as many as columns.
    tol : float, default=0.1
        Error ``||A - C C^+ A||_F`` relative to the norm of A, for `n_components` None.
    method : {"cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top"}, \
            default="cpqr"
        How columns are chosen; see `CURSelector`.
    refine : {"swap"} or None, default=None
        Whether to exchange columns afterwards, as long as that lowers the error on the
        sketch.
    sketch_size : int, default=None
        Number of rows of the sketch, as in `column_subset`.
    block_size : int, default=None
        Number of rows of a block. None chooses by size.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

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
    interpolative : Without a matrix in the middle.
    randomized_svd : The best approximation of the same rank, by mixtures of columns.

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
    rows = check_matrix(A, rereads=True, block_size=block_size, n_jobs=n_jobs)
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
        rng=generator(random_state),
    )
    return choose_rows(matrix, gathered, c, n_rows or c).times(unit)
