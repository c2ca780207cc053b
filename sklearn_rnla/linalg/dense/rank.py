"""Numerical rank: how many directions of a matrix are more than rounding errors."""

import numpy as np

from ..._typing import Array, DTypeLike

# Margin over the errors expected: LAPACK's own are a few times those of one rounding.
_MARGIN = 4.0


def rounding_of(
    shape: tuple[int, ...], data: DTypeLike = np.float64, sums: DTypeLike = np.float64
) -> float:
    """Return the size of the rounding errors in a column, relative to the column.

    Parameters
    ----------
    shape : tuple of int
        Of the matrix: ``(n_rows, n_columns)``.
    data : numpy dtype, default=float64
        Precision in which its entries were rounded, once each.
    sums : numpy dtype, default=float64
        Precision in which sums over its rows and columns were accumulated.

    Returns
    -------
    float

    Notes
    -----
    Rounding errors have random signs, so that those of n operations add up to ``sqrt(n)``
    of one (Higham & Mary 2019). A column that is the sum of others in the precision of the
    data carries an error for each of them, of which ``min(shape)`` are independent. The
    number of rows does not matter: each row has errors of its own, as it has entries. Sums
    over the rows accumulate in their own precision, which is float64 unless said otherwise.
    Errors are relative to each column, as those of
    sketches, Gram matrices and Householder QR are: columns in small units are not lost
    beside others in large ones.
    """
    entries = np.sqrt(min(shape)) * np.finfo(data).eps
    return float(_MARGIN * (entries + np.sqrt(max(shape)) * np.finfo(sums).eps))


def numerical_rank(
    s: Array,
    shape: tuple[int, ...],
    data: DTypeLike = np.float64,
    sums: DTypeLike = np.float64,
) -> int:
    """Return how many singular values are more than rounding errors.

    Parameters
    ----------
    s : ndarray
        Singular values, or eigenvalues of a symmetric matrix, in any order. The columns of
        the matrix have the same unit, or were scaled to the same length before.
    shape, data, sums
        As in `rounding_of`.

    Returns
    -------
    int
        Zero where all are zero.
    """
    return int(np.count_nonzero(s > rounding_of(shape, data, sums) * s.max(initial=0.0)))
