"""The model of all completion: a low-rank matrix and biases, or an average of them."""

from typing import NamedTuple

import numpy as np

from ..._sklearn import svd_flip
from ...operators.observed import Observed
from ...operators.scaling import held
from ...operators.threads import run_lanes, split
from .column_units import ColumnUnits

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
        The precision of the factors, not of the bias, is multiplied by the entries of a row
        to this power.
    """

    precision: np.ndarray
    shift: np.ndarray
    noise: np.ndarray
    column_scale: np.ndarray
    normal: np.ndarray
    freedom: np.ndarray
    power: float = 0.0

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
    """A matrix ``location_j + scale_j mean_s(b_i + c_j + u_i . v_j)``, over samples s.

    Attributes
    ----------
    units : ColumnUnits
        Location and scale of each column.
    rows : ndarray of shape (m, n_samples, d)
        ``(b_i, u_i)`` of each sample: d is the rank and one more.
    columns : ndarray of shape (n, n_samples, d)
        ``(c_j, v_j)``.
    prior : RowPrior
        Of rows, in units of the scales.
    new_column : ndarray of shape (1, n_samples, d)
        What a column without entries has.
    shrunk : float
        Factor of all but the location in predictions; rows are fitted without it.
    """

    units: ColumnUnits
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
    def offset(self):
        """Location of all columns; of different ones, some middle one."""
        location = np.ravel(self.units.location)
        return float(np.partition(location, len(location) // 2)[len(location) // 2])

    @property
    def row_biases(self):
        """Their mean, of shape (m,)."""
        return self.biases_of(self.rows)

    @property
    def column_biases(self):
        """What columns have beside `offset`, of shape (n,)."""
        biases = self.shrunk * self.units.scale * self.columns[..., 0].mean(axis=1)
        return biases + (self.units.location - self.offset)

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
        root = self._root
        return (root * (self.units.scale / self._unit) * self._right().T).T

    @property
    def _unit(self):
        """The usual scale of a column."""
        return float(np.exp(np.mean(np.log(self.units.scale))))

    @property
    def _root(self):
        """What either factor has of the scale, in their dtype."""
        root = np.sqrt(self.shrunk / self.n_samples) * np.sqrt(self._unit)
        return self.columns.dtype.type(root)

    @property
    def _bias_is_factor(self):
        """Whether rows have biases, and columns different scales for these."""
        return not self.units.same and np.isfinite(self.prior.precision[0, 0, 0])

    def _left(self, rows):
        """Return factors of rows without units."""
        U = _side_by_side(rows)
        if self._bias_is_factor:
            return np.insert(U, 0, rows[..., 0].sum(axis=1), axis=1)
        return U

    def _right(self):
        """Return factors of columns in units of their scales."""
        V = _side_by_side(self.columns)
        return np.insert(V, 0, 1, axis=1) if self._bias_is_factor else V

    def factors_of(self, rows):
        """Return the factors among vectors of rows, of shape (m, k)."""
        return self._root * self._left(rows)

    def biases_of(self, rows):
        """Return the biases among vectors of rows, of shape (m,)."""
        if not self.units.same:
            return np.zeros(len(rows))
        return self.shrunk * self.units.scale * rows[..., 0].mean(axis=1)

    def relative_to(self, units):
        """Return its vectors as they are in other units, without them: to start from."""
        location, scale = self.units
        ratio = scale / units.scale
        columns, rows = self.columns.astype(np.float64), self.rows.copy()
        columns *= np.reshape(ratio, (-1, 1, 1))
        columns[..., 0] += np.reshape((location - units.location) / units.scale, (-1, 1))
        rows[..., 0] *= np.median(ratio)
        columns = columns.astype(self.columns.dtype)
        return self._replace(units=ColumnUnits(), rows=rows, columns=columns)

    def entries_of(self, rows):
        """Return rows of the matrix in full, of shape (m', n)."""
        n_samples, dtype = self.n_samples, rows.dtype
        U, V = _side_by_side(rows), _side_by_side(self.columns)
        out = U @ (V / dtype.type(n_samples)).T
        out += rows[..., 0].mean(axis=1)[:, np.newaxis]
        out += self.columns[..., 0].mean(axis=1)
        location, scale = self.units
        out *= np.asarray(self.shrunk * scale, dtype)
        out += np.asarray(location, dtype)
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
        # In units where squares are in range: those of the largest column.
        unit = float(np.max(self.units.scale))
        U = self._left(self.rows)
        V = self._right().T * (self.units.scale / unit)
        Q, R = np.linalg.qr(V.T.astype(np.float64))
        gram = R @ (U.T @ U).astype(np.float64) @ R.T
        squares, E = np.linalg.eigh(gram)
        E = E[:, ::-1][:, :rank]
        rotation, components = svd_flip(R.T @ E, (Q @ E).T, u_based_decision=False)
        share = self.shrunk / self.n_samples
        values = unit * share * np.sqrt(np.maximum(squares[::-1][:rank], 0))
        # U has the other part of the unit.
        rotation *= np.sqrt(share) * unit / np.sqrt(self._unit)
        dtype = self.columns.dtype
        return held(values, dtype), components.astype(dtype), rotation.astype(dtype)

    def standardised(self, observed):
        """Return observed entries in the units of the model."""
        values = self.units.take(observed.indices, observed.values)
        return observed.with_values(values.astype(self.columns.dtype, copy=False))


def _side_by_side(vectors):
    """Return the factors of all samples, concatenated along columns."""
    n, n_samples, d = vectors.shape
    return vectors[..., 1:].reshape(n, n_samples * (d - 1))


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
        is one, in units of the squared scales.

    Notes
    -----
    A ridge regression for each row and sample, ``O(c d^2 + d^3)`` flops for c entries.
    Where noise has Student's distribution, its scale in the row is estimated with it.
    """
    from ..._kernels.row_solves import fold_rows

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
            s,
            rows,
            noise,
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
        units=ColumnUnits(location=biases.offset),
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
        float64, the variance in units of the squared scales.
    """
    from ..._kernels.row_solves import predict_pairs

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
    location, scale = model.units.at(columns)
    return location + scale * (model.shrunk * mean), model.shrunk**2 * variance
