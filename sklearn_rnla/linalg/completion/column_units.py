"""Units of the columns of a table: solvers see standardised entries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .model import LowRankModel

# Standard deviations of a log variance below which that of a constant column may lie.
_LEAST = 3.0


class ColumnUnits(NamedTuple):
    """Location and scale of each column.

    Attributes
    ----------
    location, scale : ndarray of shape (n,)
        Scales are positive.
    """

    location: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, observed, *, shift):
        """Return the units of the columns of entries.

        Parameters
        ----------
        observed : Observed
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
        T = observed.T
        counts = np.maximum(T.counts, 1)
        values, columns = T.values.astype(np.float64), T.rows
        n = observed.shape[1]
        location = np.bincount(columns, values, n) / counts if shift else np.zeros(n)
        squares = np.bincount(columns, np.square(values - location[columns]), n)
        # A mean takes a degree of freedom.
        freedom = counts - 1 if shift else counts
        variances = squares / np.maximum(freedom, 1)
        scale = np.sqrt(_shrunk_variances(variances, freedom, location))
        if shift:
            location = _shrunk(location, np.square(scale) / counts)
        return cls(location=location, scale=scale)

    def standardised(self, observed):
        """Return entries in these units."""
        j = observed.indices
        values = (observed.values - self.location[j]) / self.scale[j]
        return observed.with_values(values.astype(observed.dtype, copy=False))

    def restored(self, model):
        """Return a model of standardised entries as one of the entries.

        The bias of a row is in standardised units: it becomes a factor, to which a column
        has its scale.
        """
        offset = float(np.median(self.location))
        unit = float(np.exp(np.mean(np.log(self.scale))))
        scale, columns, prior = self.scale / unit, model.columns, model.prior
        biased = bool(np.isfinite(prior.precision[:, 0, 0]).all())
        extra = 1 if biased else 0
        new = np.empty((*columns.shape[:2], columns.shape[2] + extra), columns.dtype)
        bias = self.location - offset + self.scale * model.offset
        new[..., 0] = (bias / (unit * model.scale))[:, np.newaxis]
        new[..., 0] += scale[:, np.newaxis] * columns[..., 0]
        new[..., 1 : 1 + extra] = scale[:, np.newaxis, np.newaxis]
        new[..., 1 + extra :] = scale[:, np.newaxis, np.newaxis] * columns[..., 1:]
        prior = prior._replace(column_scale=prior.column_scale / np.square(scale))
        return LowRankModel(
            offset=offset,
            scale=unit * model.scale,
            rows=np.pad(model.rows, ((0, 0), (0, 0), (extra, 0))),
            columns=new,
            prior=prior.with_bias_as_factor() if biased else prior,
            new_column=np.pad(model.new_column, ((0, 0), (0, 0), (extra, 0))),
        )

    def standardised_model(self, model):
        """Return rows and columns to start from: the inverse, without the prior."""
        columns, rows = model.columns.astype(np.float64), model.rows
        first = model.prior.first
        scale = self.scale[:, np.newaxis]
        bias = (
            model.offset + model.scale * columns[..., 0] - self.location[:, None]
        ) / scale
        factors = model.scale * columns[..., first:] / scale[..., np.newaxis]
        new = np.concatenate([bias[..., np.newaxis], factors], axis=2)
        rows = rows[..., first - 1 :].copy()
        if first > 1:
            rows[..., 0] *= np.median(model.scale * columns[..., 1] / scale)
        return model._replace(
            offset=0.0, scale=1.0, rows=rows, columns=new.astype(model.columns.dtype)
        )


def _shrunk(values, variances):
    """Return values known with these variances, shrunk to their weighted mean."""
    weights = 1 / variances
    mean = weights @ values / weights.sum()
    between = max(float(np.var(values)) - float(np.median(variances)), 0.0)
    return mean + between / (between + variances) * (values - mean)


def _shrunk_variances(variances, freedom, location):
    """Return variances of columns, shrunk in logarithms; positive."""
    # Differences that are rounding of large entries are none.
    rounding = np.square(8 * np.finfo(np.float64).eps * location)
    tell = (variances > rounding) & (freedom > 0)
    if not tell.any():
        return np.ones(len(variances))
    logs = np.log(variances[tell])
    # Of the logarithm of a sample variance.
    sampling = 2 / freedom[tell]
    mean = float(np.average(logs, weights=1 / sampling))
    between = max(float(np.var(logs)) - float(np.mean(sampling)), 0.0)
    sampling = 2 / np.maximum(freedom, 1e-3)
    least = mean - _LEAST * np.sqrt(between + sampling)
    logs = np.where(tell, np.log(np.where(tell, variances, 1)), least)
    logs[freedom == 0] = mean
    weights = between / (between + sampling) if between else np.zeros(len(logs))
    return np.exp(mean + weights * (logs - mean))
