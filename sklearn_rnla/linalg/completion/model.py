"""The model of all completion: a low-rank matrix and biases, or an average of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._sklearn import svd_flip
from ...operators.lanes import run_lanes, split
from ...operators.observed import Observed
from ...operators.scaling import held

# Pairs predicted at a time.
_PAIRS = 2**16


class RowPrior(NamedTuple):
    """What is known of a row before its entries are: all that folding in needs.

    Of each sample:

    Attributes
    ----------
    precision : ndarray of shape (n_samples, d, d)
        Of a row, its bias first; infinite where there is none.
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
        The precision of the factors is multiplied by the entries of a row to this power.
    first : int
        Where in a row the factors begin of which that is so. Before them there is a bias
        and, at 2, one that is a factor, as columns have units of their own.
    """

    precision: np.ndarray
    shift: np.ndarray
    noise: np.ndarray
    column_scale: np.ndarray
    normal: np.ndarray
    freedom: np.ndarray
    power: float = 0.0
    first: int = 1

    def with_bias_as_factor(self):
        """Return the prior of rows ``(0, b_i, u_i)``, of which the first has no freedom."""
        d = self.shift.shape[1] + 1
        precision = np.zeros((len(self.noise), d, d))
        precision[:, 1:, 1:] = self.precision
        precision[:, 0, 0] = np.inf
        none = ((0, 0), (1, 0))
        return self._replace(
            precision=precision,
            shift=np.pad(self.shift, none),
            normal=np.pad(self.normal, none),
            first=self.first + 1,
        )

    @classmethod
    def ridge(cls, n, bias_penalty, penalties, power=0.0):
        """Return the prior of a ridge regression on n columns, of one sample."""
        d = len(penalties) + 1
        return cls(
            precision=np.diag([bias_penalty, *penalties])[np.newaxis],
            shift=np.zeros((1, d)),
            noise=np.ones(1),
            column_scale=np.ones((1, n)),
            normal=np.zeros((1, d)),
            freedom=np.full(1, np.inf),
            power=power,
        )


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
    new_column : ndarray of shape (1, n_samples, d)
        What a column without entries has.
    shrunk : float
        Factor of all but the offset in predictions; rows are fitted without it.
    """

    offset: float
    scale: float
    rows: np.ndarray
    columns: np.ndarray
    prior: RowPrior
    new_column: np.ndarray
    shrunk: float = 1.0

    @property
    def shape(self):
        """Shape of the matrix."""
        return len(self.rows), len(self.columns)

    @property
    def n_samples(self):
        """Number of samples; one of a solver that is not Bayesian."""
        return self.columns.shape[1]

    @property
    def row_biases(self):
        """Their mean, of shape (m,)."""
        return self.biases_of(self.rows)

    @property
    def column_biases(self):
        """Their mean, of shape (n,)."""
        return self.biases_of(self.columns)

    def factors(self):
        """Return U of shape (m, k) and V of shape (n, k).

        The factors of all samples are concatenated along columns. The model is ``offset +
        row_biases + column_biases + U V^T``.
        """
        return self.row_factors, self.column_factors

    @property
    def row_factors(self):
        """U alone, of shape (m, k)."""
        return self.factors_of(self.rows)

    @property
    def column_factors(self):
        """V alone, of shape (n, k)."""
        return self.factors_of(self.columns)

    def times(self, unit):
        """Return the model of the matrix in another unit: `unit` times as large."""
        return self._replace(offset=self.offset * unit, scale=self.scale * unit)

    def factors_of(self, vectors):
        """Return the factors among vectors of rows or columns, of shape (m, k)."""
        root = vectors.dtype.type(np.sqrt(self.shrunk * self.scale / self.n_samples))
        n, n_samples, d = vectors.shape
        return root * vectors[..., 1:].reshape(n, n_samples * (d - 1))

    def biases_of(self, vectors):
        """Return the biases among vectors of rows or columns, of shape (m,)."""
        return self.shrunk * self.scale * vectors[..., 0].mean(axis=1)

    def entries_of(self, rows):
        """Return rows of the matrix in full, of shape (m', n)."""
        dtype = rows.dtype
        out = self.factors_of(rows) @ self.factors_of(self.columns).T
        out += (self.offset + self.biases_of(rows)).astype(dtype)[:, np.newaxis]
        out += self.column_biases.astype(dtype)
        return out

    def fill(self, X, *, n_jobs=None):
        """Return rows with entries of the matrix for those that are missing.

        Parameters
        ----------
        X : ndarray of shape (m', n)
            NaN where missing.
        n_jobs : int, default=None

        Returns
        -------
        ndarray of shape (m', n)
        """
        rows, _ = fold_in(self, Observed.from_dense(X, n_jobs=n_jobs))
        return np.where(np.isnan(X), self.entries_of(rows), X)

    def svd(self, rank):
        """Return the leading singular triplets of the product of the factors.

        Returns
        -------
        singular_values : ndarray of shape (rank,)
        components : ndarray of shape (rank, n)
            Right singular vectors.
        rotation : ndarray of shape (k, rank)
            ``U rotation`` are left singular vectors times singular values.

        Notes
        -----
        From a QR factor of V and a Gram matrix of U: values below the square root of
        rounding, relative to the largest, are not accurate.
        """
        # In the units of the model, where squares are in range.
        U, V = self._replace(scale=1.0).factors()
        Q, R = np.linalg.qr(V.astype(np.float64))
        gram = R @ (U.T @ U).astype(np.float64) @ R.T
        squares, E = np.linalg.eigh(gram)
        E = E[:, ::-1][:, :rank]
        rotation, components = svd_flip(R.T @ E, (Q @ E).T, u_based_decision=False)
        values = self.scale * np.sqrt(np.maximum(squares[::-1][:rank], 0))
        rotation *= np.sqrt(self.scale)
        dtype = V.dtype
        return held(values, dtype), components.astype(dtype), rotation.astype(dtype)

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
        is one, in units of ``scale ** 2``.

    Notes
    -----
    A ridge regression for each row and sample, ``O(c d^2 + d^3)`` flops for c entries.
    Where noise has Student's distribution, its scale in the row is estimated with it.
    """
    from ..._kernels.rows import fold_rows

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
            prior.first,
            prior.freedom[s],
            1 if robust else 0,
            prior.normal[s],
            rows[:, s],
            noise[:, s],
        )
    return rows, noise.mean(axis=1)


def model_of_columns(observed, biases, V, penalties, power=0.0):
    """Return the model of given factors of columns, with rows folded in.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    biases : Biases
    V : ndarray of shape (n, k)
    penalties : ndarray of shape (k,)
        Of the factors of a row.
    power : float, default=0.0
        Penalties are multiplied by the entries of a row to this power.

    Returns
    -------
    LowRankModel
        Of one sample.
    """
    columns = np.column_stack([biases.columns, V]).astype(observed.dtype)[:, np.newaxis]
    model = LowRankModel(
        offset=biases.offset,
        scale=1.0,
        rows=None,
        columns=columns,
        prior=RowPrior.ridge(len(V), biases.row_penalty, penalties, power),
        new_column=np.zeros_like(columns[:1]),
    )
    return model._replace(rows=fold_in(model, observed)[0])


def negligible_penalties(V):
    """Return penalties that only decide where entries do not."""
    squares = float(np.square(V, dtype=np.float64).mean()) if V.size else 1.0
    return np.full(V.shape[1], 1e-14 * (squares or 1.0))


def predict_entries(model, rows, columns, *, n_jobs=None):
    """Return entries of the model, and their variances over its samples.

    Parameters
    ----------
    model : LowRankModel
    rows, columns : ndarray of int of shape (n_pairs,)
    n_jobs : int, default=None

    Returns
    -------
    mean, variance : ndarray of shape (n_pairs,)
        float64, the variance in units of ``scale ** 2``.
    """
    from ..._kernels.rows import predict_pairs

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
    scale = model.shrunk * model.scale
    return model.offset + scale * mean, model.shrunk**2 * variance
