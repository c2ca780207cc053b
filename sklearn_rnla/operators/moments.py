"""Moments of rows, summed about a point near them: what all centring rests on.

Squares about the origin lose as many digits as the mean is far from it. So rows are taken
about a point near their mean before they are squared, and the rest is exact algebra.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._typing import Array, DTypeLike, SparseMatrix

# A column of sparse rows is full if of a few rows this share is stored. It is far from
# zero if its squared mean is so many variances: up to there, algebra costs one digit.
_FULL_SHARE = 7 / 8
_FAR = 10

# Of fewer sparse rows no column is called full.
_LEAST_SPARSE = 8


@dataclass(eq=False)
class Moments:
    """First and second moments of weighted rows about a point.

    Parameters
    ----------
    total_weight : float
        Sum of the row weights; the number of rows without weights.
    sums : ndarray of shape (n_features,)
        Weighted sum of the rows less the point.
    squares : float or ndarray of shape (n_features, n_features)
        Weighted sum of squares about the point, or their Gram matrix.
    shift : ndarray of shape (n_features,) or None
        The point; None is the origin.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.operators import CenteredMatrix, as_row_matrix
    >>> rows = as_row_matrix(np.array([[1.0, 2.0], [3.0, 6.0]]))
    >>> CenteredMatrix(rows).moments.total_weight
    2.0
    """

    total_weight: float
    sums: np.ndarray
    squares: float | np.ndarray
    shift: np.ndarray | None = None

    @classmethod
    def at_mean(cls, total_weight: float, mean: Array, squares: Array | float) -> Moments:
        """Return moments that are known about their own mean.

        Parameters
        ----------
        total_weight : float
            Sum of the row weights.
        mean : ndarray of shape (n_features,)
            Weighted mean of the rows.
        squares : float or ndarray of shape (n_features, n_features)
            About the mean.

        Returns
        -------
        Moments
            Their point is the mean.
        """
        return cls(total_weight, np.zeros(len(mean)), squares, mean)

    @property
    def offset(self) -> np.ndarray:
        """The mean less the point."""
        return self.sums / self.total_weight if self.total_weight else self.sums

    @property
    def mean(self) -> np.ndarray:
        """Weighted mean of the rows, in float64."""
        return self.offset if self.shift is None else self.shift + self.offset

    @property
    def squared_norm(self) -> float:
        """Weighted sum of squares about the point: a squared Frobenius norm."""
        is_gram = isinstance(self.squares, np.ndarray)
        return max(float(np.trace(self.squares) if is_gram else self.squares), 0.0)

    def without_products(self) -> Moments:
        """Return the moments with the sum of squares in the place of a Gram matrix.

        Returns
        -------
        Moments
            About the same point.
        """
        return Moments(self.total_weight, self.sums, self.squared_norm, self.shift)

    def about_mean(self) -> Moments:
        """Return the moments about the mean.

        Returns
        -------
        Moments
            Itself, if it is about the mean already.
        """
        if self.shift is not None and not self.sums.any():
            return self
        offset = self.offset
        squares = self.squares - self._product(self.sums, offset)
        mean = offset if self.shift is None else self.shift + offset
        return Moments.at_mean(self.total_weight, mean, squares)

    def about(self, point: Array | None = None) -> Moments:
        """Return the moments about another point.

        Parameters
        ----------
        point : ndarray of shape (n_features,), default=None
            The point; None is the origin.

        Returns
        -------
        Moments
            The same where both points are the origin.
        """
        if self.shift is None and point is None:
            return self
        step = (0 if self.shift is None else self.shift) - (0 if point is None else point)
        step = step.astype(np.float64)
        cross = self._product(step, self.sums)
        squares = self.squares + cross + np.transpose(cross)
        squares += self.total_weight * self._product(step, step)
        sums = self.sums + self.total_weight * step
        return Moments(self.total_weight, sums, squares, point)

    def __iadd__(self, other: Moments) -> Moments:
        """Merge with the moments of other rows.

        Sums about the same point add up. Others are taken about their means, and the step
        between these adds to the squares (Chan, Golub & LeVeque 1983).
        """
        if not _same(self.shift, other.shift):
            if not (self.total_weight and other.total_weight):
                return self if self.total_weight else other
            left, right = self.about_mean(), other.about_mean()
            step = right.shift - left.shift
            share = right.total_weight / (left.total_weight + right.total_weight)
            left.squares += right.squares
            left.squares += left.total_weight * share * self._product(step, step)
            left.shift = left.shift + share * step
            left.total_weight += right.total_weight
            return left
        self.total_weight += other.total_weight
        self.sums += other.sums
        self.squares += other.squares
        return self

    def for_weight(self, total_weight: float) -> Moments:
        """Return the moments that rows of another total weight have, if they are alike.

        Parameters
        ----------
        total_weight : float
            Sum of their weights.

        Returns
        -------
        Moments
            Of the same mean and mean squares.
        """
        share = total_weight / self.total_weight if self.total_weight else 0.0
        return Moments(total_weight, share * self.sums, share * self.squares, self.shift)

    def scaled(self, factor: float) -> Moments:
        """Return the moments of the rows times a factor.

        Parameters
        ----------
        factor : float
            What the rows are multiplied by.

        Returns
        -------
        Moments
            About the point times the factor.
        """
        shift = None if self.shift is None else self.shift * factor
        return Moments(
            self.total_weight, self.sums * factor, self.squares * factor**2, shift
        )

    def _product(self, v, w):
        if isinstance(self.squares, np.ndarray):
            return v[:, np.newaxis] * w
        return float(v @ w)


def _same(left, right):
    if left is None or right is None:
        return left is right
    return left is right or np.array_equal(left, right)


def point_near(rows: Any) -> Array | None:
    """Return a point near the data, to take them about.

    Parameters
    ----------
    rows : RowMatrix

    Returns
    -------
    ndarray of shape (n_features,) or None
        The mean of a few rows, in the dtype of the data. Of sparse rows, only in columns
        that are full and far from zero, and 0 in the others, which cost no more than a
        digit about the origin; None where there is no such column.
    """
    values = rows.some_rows()
    if isinstance(values, np.ndarray):
        mean = np.add.reduce(values, axis=0, dtype=np.float64) / len(values)
        return mean.astype(rows.dtype, copy=False)
    return full_and_far(values, rows.dtype)


def full_and_far(values: SparseMatrix, dtype: DTypeLike) -> Array | None:
    """Return the mean of sparse rows in columns that are full and far from zero.

    See `point_near`.
    """
    n_rows, n_features = values.shape
    if n_rows < _LEAST_SPARSE:
        return None
    full = np.bincount(values.indices, minlength=n_features) >= _FULL_SHARE * n_rows
    if not full.any():
        return None
    columns = values[:, np.flatnonzero(full)].toarray().astype(np.float64)
    mean = columns.mean(axis=0)
    point = np.zeros(n_features, dtype)
    point[full] = np.where(mean**2 > _FAR * columns.var(axis=0), mean, 0.0)
    return point if point.any() else None


def shift_rows(values: Array | SparseMatrix, shift: Array | None) -> Array | SparseMatrix:
    """Return the rows of a block less `shift`, if any: a copy of the block.

    Parameters
    ----------
    values : ndarray or csr_array
        Without duplicates where it is sparse.
    shift : ndarray of shape (n_features,) or None
        Of sparse rows, zero but in columns that are nearly full, as `point_near` returns
        it: what is not stored there is then.
    """
    if shift is None:
        return values
    if isinstance(values, np.ndarray):
        return values - shift
    indices, is_shifted = values.indices, shift != 0
    data = values.data - shift[indices]
    shifted = sp.csr_array((data, indices, values.indptr), shape=values.shape)
    columns = np.flatnonzero(is_shifted)
    stored = is_shifted[indices]
    if np.count_nonzero(stored) == values.shape[0] * len(columns):
        return shifted
    is_missing = np.ones((values.shape[0], len(columns)), dtype=bool)
    owners = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))[stored]
    is_missing[owners, np.searchsorted(columns, indices[stored])] = False
    i, j = np.nonzero(is_missing)
    missing = sp.csr_array((-shift[columns[j]], (i, columns[j])), shape=values.shape)
    return sp.csr_array(shifted + missing)
