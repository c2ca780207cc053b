"""Driver: leverage scores, exact or sketched."""

import math
from numbers import Integral
from typing import Literal

import numpy as np
import scipy.linalg

from .._random import generator
from .._sklearn import Interval, StrOptions, validated
from .._typing import Array, Int, MatrixLike, Seed
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix
from ..operators.scaling import in_unit
from ..sketching import Gaussian, SparseSign
from .columns.select import double_sketch
from .dense.pivoting import unit_columns
from .dense.rank import numerical_rank
from .singular.truncated_svd import leading_right

# A sketch of this many rows for each column leaves a condition number of about 3.
_ROWS_PER_COLUMN = 4

# Probes for each unit of log2(n_rows): scores within some 30 %, their order mostly right.
_PROBES = 8


@validated(
    n_components=[Interval(Integral, 1, None, closed="left"), None],
    of=[StrOptions({"rows", "columns"})],
    method=[StrOptions({"exact", "sketched"})],
    n_jobs=[Integral, None],
)
def leverage_scores(
    A: MatrixLike,
    n_components: Int | None = None,
    *,
    of: Literal["rows", "columns"] = "rows",
    method: Literal["exact", "sketched"] = "exact",
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> Array:
    """Compute the leverage scores of the rows or of the columns of a matrix.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable or dask array
        Of shape (n_rows, n_columns).
    n_components : int, default=None
        Number of leading singular vectors that count. None means all, up to the rank.
    of : {"rows", "columns"}, default="rows"
        Whether the scores are those of the rows or of the columns.
    method : {"exact", "sketched"}, default="exact"
        With all singular vectors: "exact" is by QR; "sketched" is faster for the rows of a
        tall matrix, with each score right to about 30 %. With `n_components`, the singular
        vectors are those of `randomized_svd` whatever the method.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    ndarray of shape (n_rows,) or (n_columns,)
        Exact scores lie between 0 and 1 and sum to `n_components` or the rank.

    Raises
    ------
    ValueError
        When A has NaN or infinity, or `n_components` exceeds ``min(A.shape)``.

    See Also
    --------
    ridge_leverage_scores : Of a kernel matrix.

    Notes
    -----
    The squared norms of the rows of U, or of V, where ``A = U S V^T`` (Mahoney & Drineas
    2009). "sketched" is algorithm 1 of Drineas, Magdon-Ismail, Mahoney & Woodruff (2012)
    with a sparse-sign sketch.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import leverage_scores
    >>> A = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    >>> leverage_scores(A).round(6)
    array([0.5, 0.5, 1. ])
    """
    rows = check_matrix(A, rereads=True, n_jobs=n_jobs)
    if n_components is not None:
        check_rank("n_components", int(n_components), rows.shape)
    rng = generator(random_state)
    rows, _ = in_unit(rows)
    matrix = CenteredMatrix(rows, center=False)
    # A pass that looks for NaN, which a factorisation would only stumble over.
    matrix.find_moments()
    if of == "columns":
        if n_components is None:
            return _of_columns(matrix)
        V = leading_right(matrix, int(n_components), rng)
        return np.einsum("ij,ij->j", V, V)
    n_rows, n_columns = rows.shape
    probes = math.ceil(_PROBES * math.log2(n_rows + 1))
    size = _ROWS_PER_COLUMN * n_columns
    if n_components is None and method == "sketched" and size < n_rows:
        sketch = double_sketch(matrix, SparseSign(size, n_rows).sample(rng))
        whiten = _inverse_root(sketch, matrix)
        # The inverse of a sketched Gram matrix is too large by l / (l - n), on average.
        whiten *= np.sqrt(1 - 1 / _ROWS_PER_COLUMN)
        if probes < whiten.shape[1]:
            whiten = whiten @ Gaussian(probes, whiten.shape[1]).sample(rng).to_dense().T
    elif n_components is None:
        whiten = _inverse_root(matrix.triangular_factor(), matrix)
    else:
        V = leading_right(matrix, int(n_components), rng)
        # A V^T is orthogonal to rounding only where V is exact.
        whiten = V.T @ _inverse_root(matrix.triangular_factor(V), matrix)
    scores = rows.map(_row_squares, whiten, n_columns=1)
    return np.asarray(scores)[:, 0].astype(np.float64)


def _decomposed(B, A):
    """Return singular values and vectors of B, for A, with columns of unit length.

    The rank is then that of A in any units.
    """
    B, norms = unit_columns(B)
    _, s, V = np.linalg.svd(B, full_matrices=False)
    rank = numerical_rank(s, A.shape, A.dtype)
    return s[:rank], V[:rank], norms


def _of_columns(A):
    """Return the squared norms of the rows of an orthonormal basis of A's row space."""
    _, V, norms = _decomposed(A.triangular_factor(), A)
    # Householder reflections of rows in decreasing order, with column pivoting, are
    # accurate for each row (Cox & Higham 1998): small columns of A count as they should.
    order = np.argsort(-norms)
    Q = scipy.linalg.qr((V * norms)[:, order].T, mode="economic", pivoting=True)[0]
    scores = np.empty(len(norms))
    scores[order] = np.einsum("ij,ij->i", Q, Q)
    return scores


def _inverse_root(B, A):
    """Return W with ``(B W)^T B W = I`` on the row space of B, for A."""
    s, V, norms = _decomposed(B, A)
    return V.T / s / norms[:, np.newaxis]


def _row_squares(values, whiten):
    Y = np.asarray(values @ whiten)
    return np.einsum("ij,ij->i", Y, Y)[:, np.newaxis]
