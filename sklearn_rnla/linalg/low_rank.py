"""The model of all completion: a low-rank matrix and biases, or an average of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..operators._rows import run_lanes, split
from ..operators.observed import Observed

# Pairs predicted at a time.
_PAIRS = 2**16


class RowPrior(NamedTuple):
    """What is known of a row before its entries are: all that folding in needs.

    Of each sample:

    Attributes
    ----------
    precision : ndarray of shape (n_samples, d, d)
        Of a row, its bias first.
    shift : ndarray of shape (n_samples, d)
        That precision times the mean.
    noise : ndarray of shape (n_samples,)
        Precision of an entry.
    column_scale : ndarray of shape (n_samples, n)
        Factors of that precision.
    normal : ndarray of shape (n_samples, d)
        Zero for the mean of a row; standard normal numbers for a draw, the same for all
        rows, so that equal rows have equal factors.
    freedom : ndarray of shape (n_samples,)
        Degrees of freedom of Student's distribution of noise; infinite where normal.
    power : float
        The precision is multiplied by the entries of a row to this power.
    """

    precision: np.ndarray
    shift: np.ndarray
    noise: np.ndarray
    column_scale: np.ndarray
    normal: np.ndarray
    freedom: np.ndarray
    power: float = 0.0


class LowRankModel(NamedTuple):
    """A matrix ``offset + scale mean_s(b_i + c_j + u_i . v_j)``, over samples s.

    Attributes
    ----------
    offset, scale : float
    rows : ndarray of shape (m, n_samples, d)
        ``(b_i, u_i)`` of each sample: d is the rank and one more.
    columns : ndarray of shape (n, n_samples, d)
        ``(c_j, v_j)``.
    prior : RowPrior
        Of rows, in units of `scale`.
    """

    offset: float
    scale: float
    rows: np.ndarray
    columns: np.ndarray
    prior: RowPrior

    @property
    def n_samples(self):
        """Number of samples; one of a solver that is not Bayesian."""
        return self.columns.shape[1]

    @property
    def row_biases(self):
        """Their mean, of shape (m,)."""
        return self.scale * self.rows[..., 0].mean(axis=1)

    @property
    def column_biases(self):
        """Their mean, of shape (n,)."""
        return self.scale * self.columns[..., 0].mean(axis=1)

    def factors(self):
        """Return U of shape (m, k) and V of shape (n, k), those of all samples abreast.

        The model is ``offset + row_biases + column_biases + U V^T``.
        """
        U, V = self.rows[..., 1:], self.columns[..., 1:]
        root = U.dtype.type(np.sqrt(self.scale / self.n_samples))
        return root * U.reshape(len(U), -1), root * V.reshape(len(V), -1)

    def standardised(self, observed):
        """Return observed entries in the units of the model."""
        values = (observed.values - self.offset) / self.scale
        return observed.with_values(values.astype(self.columns.dtype, copy=False))


def fold_in(model, observed):
    """Return the rows that entries of other rows have, given the columns of a model.

    Parameters
    ----------
    model : LowRankModel
    observed : Observed
        Of shape (m', n).

    Returns
    -------
    rows : ndarray of shape (m', n_samples, d)
    noise : ndarray of shape (m',)
        Variance of an entry of each row about the model, where the factor of its column
        is one.

    Notes
    -----
    A ridge regression for each row and sample, ``O(c d^2 + d^3)`` flops for c entries.
    Where noise has Student's distribution, its scale in the row is estimated with it.
    """
    from .._kernels.rows import fold_rows

    prior, observed = model.prior, model.standardised(observed)
    d = model.columns.shape[2]
    n_samples = model.n_samples
    rows = np.empty((observed.shape[0], n_samples, d), model.columns.dtype)
    noise = np.zeros((observed.shape[0], n_samples))
    for s in range(n_samples):
        robust = np.isfinite(prior.freedom[s])
        observed.over_rows(
            fold_rows,
            observed.values,
            np.ascontiguousarray(model.columns[:, s]),
            prior.noise[s],
            prior.column_scale[s],
            prior.precision[s],
            prior.shift[s],
            prior.power,
            prior.freedom[s],
            1 if robust else 0,
            prior.normal[s],
            rows[:, s],
            noise[:, s],
        )
    return rows, model.scale**2 * noise.mean(axis=1)


def predict_pairs(model, rows, columns, *, n_jobs=None):
    """Return entries of the model, and their variances over its samples.

    Parameters
    ----------
    model : LowRankModel
    rows, columns : ndarray of int of shape (n_pairs,)
    n_jobs : int, default=None

    Returns
    -------
    mean, variance : ndarray of shape (n_pairs,)
        float64.
    """
    from .._kernels.rows import predict_pairs

    mean, variance = np.empty(len(rows)), np.empty(len(rows))

    def run(pairs):
        predict_pairs(
            pairs.start,
            pairs.stop,
            rows,
            columns,
            model.rows,
            model.columns,
            mean,
            variance,
        )

    if len(rows):
        for _ in run_lanes(run, split(len(rows), _PAIRS), n_jobs):
            pass
    return model.offset + model.scale * mean, model.scale**2 * variance


def held_out(observed, share, rng):
    """Split observed entries in two at random.

    Parameters
    ----------
    observed : Observed
    share : float
        Of entries in the second part.
    rng : Generator

    Returns
    -------
    kept, hidden : Observed
    """
    hide = rng.random(observed.nnz) < share
    return _part(observed, ~hide), _part(observed, hide)


def _part(observed, which):
    ends = np.concatenate([[0], np.cumsum(which)])
    return Observed(
        observed.shape,
        ends[observed.indptr].astype(observed.indptr.dtype),
        observed.indices[which],
        observed.values[which],
        n_jobs=observed.n_jobs,
    )
