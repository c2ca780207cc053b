"""Units of the columns of a matrix: solvers see entries near one."""

from typing import NamedTuple

import numpy as np

from ...operators.scaling import refuse_overflow, unit_of

# Standard deviations of a log variance below which that of a constant column may lie.
_LEAST = 3.0
# Rows read at a time.
_ROWS = 2**13
_DOUBLE = np.finfo(np.float64)

# Sums of a few entries are to be in range.
_LARGEST = _DOUBLE.max / 8


class ColumnMoments(NamedTuple):
    """Mean and spread of the entries of each column of a table.

    Attributes
    ----------
    counts : ndarray of int of shape (n,)
    mean : ndarray of shape (n,)
        Zero without an entry.
    spread : ndarray of shape (n,)
        Standard deviation; zero where it is that of rounding.
    """

    counts: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, table):
        """Return those of a table of floats, NaN where missing."""
        n = table.shape[1]
        largest, counts, sums, squares = np.zeros((4, n))
        blocks = [table[i : i + _ROWS] for i in range(0, len(table), _ROWS)]
        for block in blocks:
            np.fmax(largest, np.fmax.reduce(np.abs(block)), out=largest)
        refuse_overflow("X", largest.max(initial=0), _LARGEST, "sums")
        # Powers of two: squares of what is left are in range.
        unit = np.ldexp(1.0, np.clip(np.frexp(largest)[1], -1073, 1023))
        for block in blocks:
            known = ~np.isnan(block)
            counts += np.count_nonzero(known, axis=0)
            sums += np.add.reduce(block / unit, where=known)
        mean = sums / np.maximum(counts, 1)
        for block in blocks:
            left = block / unit - mean
            left[np.isnan(left)] = 0
            squares += np.einsum("ij,ij->j", left, left)
        spread = np.sqrt(squares / np.maximum(counts, 1))
        spread[spread <= 8 * np.finfo(table.dtype).eps * np.abs(mean)] = 0
        return cls(counts=counts.astype(int), mean=unit * mean, spread=unit * spread)

    @property
    def usual_spread(self):
        """The spread; of constant columns, the geometric mean of the others."""
        varied = self.spread > 0
        usual = np.exp(np.mean(np.log(self.spread[varied]))) if varied.any() else 1.0
        return np.where(varied, self.spread, usual)


class ColumnUnits(NamedTuple):
    """Location and scale of each column.

    Attributes
    ----------
    location, scale : float, or ndarray of shape (n,)
        Scales are positive. Both are numbers where all columns have the same.
    """

    location: float | np.ndarray = 0.0
    scale: float | np.ndarray = 1.0

    @classmethod
    def common(cls, values):
        """Return the power of two to divide entries by, to square them twice."""
        return cls(scale=unit_of(values))

    @classmethod
    def of(cls, moments, *, shift):
        """Return the units of the columns of a table.

        Parameters
        ----------
        moments : ColumnMoments
        shift : bool
            Whether columns are centred; else the location is zero, and the scale is the
            root mean square.

        Returns
        -------
        ColumnUnits

        Notes
        -----
        Few entries tell a unit badly. Means and log variances are shrunk to those of all
        columns, as much as differences between columns exceed what sampling explains
        (empirical Bayes; for variances, Smyth 2004): columns of ratings keep one unit,
        those of a table of time stamps and lengths have their own.
        """
        counts, mean, spread = moments
        if not shift:
            size = np.hypot(mean, spread)
            return cls(0.0 * mean, _shrunk_scales(size, counts, counts))
        scale = _shrunk_scales(spread, counts, counts - 1)
        return cls(_shrunk(mean, scale / np.sqrt(np.maximum(counts, 1))), scale)

    @property
    def same(self):
        """Whether all columns have the same."""
        return np.ndim(self.scale) == 0

    def at(self, columns):
        """Return the units of the columns of entries."""
        if self.same:
            return self
        return ColumnUnits(self.location[columns], self.scale[columns])

    def take(self, columns, values):
        """Return values of the columns of entries in these units, in float64 at least."""
        refuse_overflow("X", np.abs(values).max(initial=0), _LARGEST, "sums")
        location, scale = self.at(columns)
        return (values - location) / scale

    def standardised(self, observed):
        """Return entries in these units."""
        if self.same and self == (0.0, 1.0):
            return observed
        values = self.take(observed.indices, observed.values)
        return observed.with_values(values.astype(observed.dtype, copy=False))

    def around(self, inner):
        """Return the units of entries, of which `inner` are those in these units."""
        return ColumnUnits(
            self.location + self.scale * inner.location, self.scale * inner.scale
        )


def _shrunk(values, errors):
    """Return values of these standard errors, shrunk to their weighted mean."""
    unit = max(np.abs(values).max(), errors.max())
    part, variances = values / unit, np.square(errors / unit)
    weights = 1 / np.maximum(variances, _DOUBLE.tiny)
    mean = np.average(part, weights=weights / weights.max())
    between = max(float(np.var(part)) - float(np.median(variances)), 0.0)
    # What is added to a value is less than its error: large ones do not round small ones.
    share = variances / np.maximum(between + variances, _DOUBLE.tiny)
    return values + unit * (share * (mean - part))


def _shrunk_scales(scales, counts, freedom):
    """Return standard deviations of columns, shrunk in logarithms; positive."""
    tell = (scales > 0) & (freedom > 0)
    if not tell.any():
        return np.ones(len(scales))
    # Of the variance, where a mean has taken a degree of freedom.
    logs = np.log(scales[tell]) * 2 + np.log(counts[tell] / freedom[tell])
    # Of the logarithm of a sample variance.
    sampling = 2 / freedom[tell]
    mean = float(np.average(logs, weights=1 / sampling))
    between = max(float(np.var(logs)) - float(np.mean(sampling)), 0.0)
    sampling = 2 / np.maximum(freedom, 1e-3)
    all_logs = mean - _LEAST * np.sqrt(between + sampling)
    all_logs[tell] = logs
    all_logs[freedom <= 0] = mean
    weights = between / (between + sampling)
    scales = np.exp((mean + weights * (all_logs - mean)) / 2)
    return np.clip(scales, _DOUBLE.smallest_subnormal, _DOUBLE.max)
