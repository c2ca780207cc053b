"""Driver: columns that span a matrix, chosen from a sketch of its rows."""

from numbers import Integral, Real
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from .._random import generator
from .._sklearn import Interval, RealNotInt, StrOptions, validated
from .._typing import Float, Int, MatrixLike, Seed
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix, RowMatrix
from ..operators.scaling import in_unit
from .columns.select import METHODS, ORDERED_METHODS, select_columns

Method: TypeAlias = Literal["cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top"]

CONSTRAINTS = {
    "n_components": [
        Interval(Integral, 1, None, closed="left"),
        Interval(RealNotInt, 0, 1, closed="neither"),
        None,
    ],
    "tol": [Interval(Real, 0, 1, closed="left")],
    "method": [StrOptions({*METHODS})],
    "refine": [StrOptions({"swap"}), None],
    "sketch_size": [Interval(Integral, 1, None, closed="left"), None],
    "block_size": [Interval(Integral, 1, None, closed="left"), None],
    "n_jobs": [Integral, None],
}


class ColumnSubset(NamedTuple):
    """Columns C of a matrix A.

    Attributes
    ----------
    indices : ndarray of shape (k,)
        Indices of the columns, in the order chosen.
    error_estimate : float
        Estimate of ``||A - C C^+ A||_F / ||A||_F``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import column_subset
    >>> A = np.random.default_rng(0).standard_normal((50, 3)) @ np.ones((3, 8))
    >>> subset = column_subset(A, 1, random_state=0)
    >>> A[:, subset.indices].shape
    (50, 1)
    >>> subset.error_estimate < 1e-6
    True
    """

    indices: np.ndarray
    error_estimate: float


@validated(**CONSTRAINTS)
def column_subset(
    A: MatrixLike,
    n_components: Float | None = None,
    *,
    tol: Float = 0.1,
    method: Method = "cpqr",
    refine: Literal["swap"] | None = None,
    sketch_size: Int | None = None,
    block_size: Int | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> ColumnSubset:
    """Choose columns whose span is close to that of all columns.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable or dask array
        Of shape (n_rows, n_columns).
    n_components : int, float or None, default=None
        Number of columns: an int of at most ``min(A.shape)``; a float in (0, 1), the share
        of the squared Frobenius norm that the columns should span; None, as many as
        `tol` needs.
    tol : float, default=0.1
        Error ``||A - C C^+ A||_F`` relative to the norm of A, for `n_components` None.
    method : {"cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top"}, \
            default="cpqr"
        How columns are chosen; see `CURSelector`. Only "cpqr" and "greedy" can stop at an
        error.
    refine : {"swap"} or None, default=None
        Whether to exchange columns afterwards, as long as that lowers the error on the
        sketch.
    sketch_size : int, default=None
        Number of rows of the sketch. None means 8 for each column (16 with `refine`, one
        with "lupp" and no `refine`) and 10 more.
    block_size : int, default=None
        Number of rows of a block. None chooses by size.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    ColumnSubset
        ``(indices, error_estimate)``. There are fewer columns if A has lower rank.

    Raises
    ------
    ValueError
        When A has NaN or infinity, `n_components` exceeds ``min(A.shape)``, or `method`
        cannot stop at an error.

    See Also
    --------
    interpolative : The other columns in terms of these.
    cur : Columns and rows.

    Notes
    -----
    One pass for the sketch, in time linear in the stored entries. Pivots of a sketch:
    Voronin & Martinsson (2017), Dong & Martinsson (2023).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import column_subset
    >>> A = np.diag([1.0, 3.0, 2.0])
    >>> column_subset(A, 2).indices
    array([1, 2])
    """
    rows = check_matrix(A, rereads=True, block_size=block_size, n_jobs=n_jobs)
    k, tol = check_n_columns(n_components, tol, method, rows)
    rows, _ = in_unit(rows)
    root, pivots = select_columns(
        CenteredMatrix(rows, center=False),
        k,
        tol=tol,
        method=method,
        refine=refine,
        sketch_size=sketch_size,
        rng=generator(random_state),
    )
    return ColumnSubset(pivots.indices, float(root.estimates(pivots)[-1]))


def check_n_columns(
    n_components: Float | None, tol: float, method: str, rows: RowMatrix
) -> tuple[int | None, float]:
    """Return how many columns are asked for, None for a tolerance, and that.

    Raises
    ------
    ValueError
        When they are more than A has, or `method` cannot stop at an error.
    """
    if isinstance(n_components, Integral):
        check_rank("n_components", int(n_components), rows.shape)
        return int(n_components), 0.0
    if method not in ORDERED_METHODS:
        raise ValueError(
            f"n_components={n_components} needs a method that stops at an error: "
            f"method={method!r} must be one of {', '.join(ORDERED_METHODS)}."
        )
    return None, float(tol if n_components is None else np.sqrt(1 - n_components))
