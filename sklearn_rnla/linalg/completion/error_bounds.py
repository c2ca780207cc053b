"""What errors of held-out entries say of the missing ones: bounds that cover."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

# Probability that a stated error is at least the true one.
_CONFIDENCE = 0.95


class HeldOutErrors(NamedTuple):
    """Errors of entries that the fit which predicted them had not seen.

    Attributes
    ----------
    rows, columns : ndarray of int of shape (n_errors,)
        Their places; an entry may come twice.
    values : ndarray of shape (n_errors,)
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def nothing(cls):
        """Return that nothing was held out."""
        return cls(*np.zeros((2, 0), dtype=int), np.zeros(0))

    @classmethod
    def at(cls, hidden, values):
        """Return errors at the places of an `Observed`."""
        return cls(hidden.rows, hidden.indices, np.asarray(values, dtype=np.float64))

    def where(self, which):
        """Return those where a mask is true."""
        return HeldOutErrors(self.rows[which], self.columns[which], self.values[which])

    def relative_to(self, spread):
        """Return the errors over the spread of their columns."""
        return self._replace(values=self.values / spread[self.columns])

    @property
    def rms(self):
        """Their root mean square; NaN if there is none."""
        if not len(self.values):
            return np.nan
        unit = float(np.abs(self.values).max()) or 1.0
        return unit * float(np.sqrt(np.mean(np.square(self.values / unit))))


class RowErrors(NamedTuple):
    """Sums of squared errors of each row that has any, and how many they are.

    Attributes
    ----------
    squares, counts : ndarray of shape (n_rows,)
    """

    squares: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, errors, unit=1.0):
        """Return those of a `HeldOutErrors`, in a unit."""
        _, row = np.unique(errors.rows, return_inverse=True)
        return cls(np.bincount(row, np.square(errors.values / unit)), np.bincount(row))

    @classmethod
    def of_table(cls, rows, which, errors):
        """Return those of entries of rows of a table where a mask is true."""
        some = which.any(axis=1)
        _, row = np.unique(rows[some], return_inverse=True)
        squares = np.einsum("ij,ij,ij->i", errors, errors, which)[some]
        counts = np.count_nonzero(which, axis=1)[some]
        return cls(np.bincount(row, squares), np.bincount(row, counts))


class ErrorBounds(NamedTuple):
    """What errors of held-out entries say of the missing ones; NaN if none was held out.

    Attributes
    ----------
    missing : float
        What the root mean squared error of missing entries exceeds in 5 % of cases: of a
        table, relative to the spread of each column.
    new : float
        Such a bound for entries of which the row or the column has no other.
    columns : ndarray of shape (n,)
        Such bounds for each column, in its unit.
    held_out : float
        The root mean squared error of the entries held out, relative as `missing` is.
    """

    missing: float
    new: float
    columns: np.ndarray
    held_out: float


def error_bounds(errors, observed, *, likely=None, spread=None, missing=None):
    """Return what errors of held-out entries say of the missing ones.

    Parameters
    ----------
    errors : HeldOutErrors
    observed : Observed
        All known entries, of shape (m, n).
    likely : tuple of RowErrors, default=None
        See `upper_bound`.
    spread : ndarray of shape (n,), default=None
        Of the columns of a table; None of data whose columns have the same unit.
    missing : ndarray of bool of shape (m, n), default=None
        Which entries of the table are missing.

    Returns
    -------
    ErrorBounds
    """
    n = observed.shape[1]
    # What is missing of a sparse matrix is not what will be asked for: a sample is, of
    # a fifth of the entries, or of as many as are held out.
    n_asked = min(observed.nnz / 5, len(errors.values))
    wanted, n_wanted = (n_asked, n_asked), np.zeros(n, int)
    if spread is None:
        spread = np.ones(n)
    else:
        n_wanted = np.count_nonzero(missing, axis=0)
        wanted = n_wanted.sum(), np.count_nonzero(missing.any(axis=1))
    wanted = wanted if wanted[0] else None
    relative = errors.relative_to(spread)
    in_column = np.bincount(observed.indices, minlength=n)
    alone = (observed.counts[errors.rows] == 1) | (in_column[errors.columns] == 1)
    return ErrorBounds(
        missing=upper_bound(relative, wanted, likely),
        new=upper_bound(relative.where(alone), wanted),
        columns=spread * column_bounds(relative, n, n_wanted),
        held_out=relative.rms,
    )


def upper_bound(errors, wanted=None, likely=None):
    """Return what the root mean squared error of other entries exceeds in 5 % of cases.

    Parameters
    ----------
    errors : HeldOutErrors
    wanted : tuple of float, default=None
        The number of other entries, and of the rows that they are in; None for
        infinitely many.
    likely : tuple of RowErrors, default=None
        Of more entries, and of those of `errors`: errors that go with these.

    Returns
    -------
    float
        NaN if fewer than two rows have an error.

    Notes
    -----
    Both mean squares are averages over rows that are taken to be drawn from one
    distribution, as entries of a row are related. Their ratio is taken to be lognormal,
    which is right for many rows, and has the skewness that few rows of positive squares
    have. The variance of the squares is itself known from the same rows only, and enters
    by its own upper bound, which matters for heavy tails: there it is much above it.

    With `likely`, the mean square is that of more entries, times the ratio that it has on
    those held out (the ratio estimator of sampling theory): errors that are large and rare
    are then not missed for being rare.
    """
    unit = float(np.abs(errors.values).max(initial=0)) or 1.0
    rows = RowErrors.of(errors, unit)
    if len(rows.counts) < 2:
        return np.nan
    ratio, doubt, told = 1.0, 0.0, rows
    if likely is not None and likely[1].squares.any():
        told, same = likely
        ratio = rows.squares.sum() / same.squares.sum()
        left = (rows.squares - ratio * same.squares) / (rows.squares.mean() or 1.0)
        doubt = _above(np.square(left)) / len(left)
    mean = told.squares.sum() / told.counts.sum()
    if not ratio * mean:
        return 0.0
    size, R = told.counts.mean(), len(told.counts)
    variance = _above(np.square((told.squares - mean * told.counts) / (mean * size)))
    others = 0.0
    if wanted is not None:
        n_entries, n_rows = wanted
        others = 1 / max(min(n_rows, n_entries / size), 1)
    spread = np.sqrt(np.log1p(variance * (1 / R + others) + doubt))
    quantile = stdtrit(len(rows.counts) - 1, _CONFIDENCE)
    return unit * float(np.sqrt(ratio * mean * np.exp(quantile * spread)))


def column_bounds(errors, n_columns, n_wanted):
    """Return such a bound for each column.

    Parameters
    ----------
    errors : HeldOutErrors
        Relative to the spread of their columns, so that these compare.
    n_columns : int
    n_wanted : ndarray of int of shape (n_columns,)
        Entries that are missing in each; where there is none, as if there were many.

    Returns
    -------
    ndarray of shape (n_columns,)
        NaN if nothing was held out.

    Notes
    -----
    As in `upper_bound`, but that the mean square of a column is an average of its own
    and, with the weight of one entry, of all columns, and the variance of its squares is
    that of its own or of all, whichever is larger.
    """
    n = len(errors.values)
    if n < 2:
        return np.full(n_columns, np.nan)
    unit = float(np.abs(errors.values).max()) or 1.0
    squares = np.square(errors.values / unit)
    counts = np.bincount(errors.columns, minlength=n_columns)
    sums = np.bincount(errors.columns, squares, n_columns)
    overall = squares.mean()
    if not overall:
        return np.zeros(n_columns)
    means = (sums + overall) / (counts + 1)
    around = np.square(squares - means[errors.columns])
    of_column = np.bincount(errors.columns, around, n_columns) / np.maximum(counts - 1, 1)
    variance = np.maximum(of_column / np.square(means), np.var(squares) / overall**2)
    share = 1 / (counts + 1) + np.where(n_wanted > 0, 1 / np.maximum(n_wanted, 1), 0)
    spread = np.sqrt(np.log1p(variance * share))
    quantile = stdtrit(np.maximum(counts, 2), _CONFIDENCE)
    return unit * np.sqrt(means * np.exp(quantile * spread))


def _above(squares):
    """Return an upper bound on the mean of squared deviations."""
    n = len(squares)
    variance = squares.sum() / (n - 1)
    if not variance:
        return 0.0
    kurtosis = np.mean(np.square(squares)) / np.mean(squares) ** 2 - 1
    return variance * np.exp(
        stdtrit(n - 1, _CONFIDENCE) * np.sqrt(np.log1p(max(kurtosis, 0) / n))
    )
