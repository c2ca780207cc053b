"""Bayesian matrix factorisation by Gibbs sampling."""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from .column_units import ColumnUnits
from .error_bounds import HeldOutErrors
from .model import LowRankModel, RowPrior, fold_in

# Samples kept for prediction, evenly spaced over the sweeps after burn-in.
_N_SAMPLES = 24
# Share of the sweeps that are burn-in.
_BURN_IN = 0.3
# Prior of the hyper-parameters, in units of the standard deviation of the entries: the
# covariance of a row is about this times the identity, worth as many rows as it has
# entries; its mean is worth so many rows.
_COVARIANCE, _MEAN_WEIGHT = 0.3, 2.0
# Degrees of freedom of Student's noise that are considered: variances are finite.
_FREEDOMS = np.array([3, 4, 6, 8, 12, 16, 24, 32, 64, 128.0])


class GibbsResult(NamedTuple):
    """Outcome of the sampler.

    Attributes
    ----------
    model : LowRankModel
    row_noise, column_noise : ndarray of shape (m,) and (n,)
        An entry has the variance ``row_noise[i] column_noise[j]`` about the model.
    held_out : HeldOutErrors
        Errors of entries hidden during burn-in.
    history : list of float
        Root mean squared error of the entries seen, after each sweep.
    """

    model: LowRankModel
    row_noise: np.ndarray
    column_noise: np.ndarray
    held_out: HeldOutErrors
    history: list


def gibbs(
    observed,
    rank,
    *,
    max_iter=60,
    share=0.05,
    hide=None,
    start=None,
    rng,
    report=None,
):
    """Sample low-rank matrices given observed entries.

    Parameters
    ----------
    observed : Observed
    rank : int
        Of the factors, beside the biases; may be 0.
    max_iter : int
        Sweeps, burn-in included.
    share : float
        Of the entries, hidden during burn-in.
    hide : ndarray of bool of shape (nnz,), default=None
        Entries to hide in all sweeps, to compare ranks: all sweeps are burn-in.
    start : LowRankModel, default=None
        Whose last sample to start from, where its rank is the same.
    rng : Generator
    report : callable, default=None
        Called after each sweep; true to stop.

    Returns
    -------
    GibbsResult

    Notes
    -----
    Salakhutdinov & Mnih (2008), algorithm of section 3.3, but that

    - a bias is one more entry of the vector of a row, and shares its prior;
    - noise of an entry has a precision with a factor of its row and one of its column, as
      in Lakshminarayanan, Bouchard & Archambeau (2011), with Gamma priors whose degrees of
      freedom are sampled, from the distribution that has the factors summed out;
    - the first sweeps do not see some entries, which tell the error;
    - rows kept are drawn again, given the columns, with the same normal numbers for each
      row, of opposite sign in the next sample: predictions are averages over the columns'
      samples, and a row that is folded in later has what it would have had.

    A sweep takes ``O(nnz d^2 + (m + n) d^3)`` flops, where d is the rank and one more.
    """
    chain = _Chain(observed, rank, rng)
    if start is not None and start.columns.shape[2] == rank + 1:
        start = start.relative_to(chain.units)
        chain.columns.vectors[:] = start.columns[:, -1]
        chain.rows.vectors[:] = start.rows[:, -1]
    # Entries are hidden only until burn-in ends: samples that are kept see all of them.
    burn_in = max(1, int(_BURN_IN * max_iter)) if hide is None else max_iter
    if hide is None:
        hide = rng.random(observed.nnz) < share
    seen, hidden = chain.observed.split(hide)
    if not (seen.nnz and hidden.nnz):
        seen, hidden = chain.observed, None
    history, total, n_predicted = [], 0.0, 0
    kept = np.linspace(burn_in, max_iter - 1, _N_SAMPLES).round()
    kept = set(kept.astype(int)) if max_iter > burn_in else {0}
    samples = []
    for sweep in range(max_iter):
        if sweep == burn_in:
            seen = chain.observed
        chain.sweep(seen)
        history.append(chain.units.scale * chain.error)
        # The second half of burn-in predicts the hidden entries, averaged like the model.
        if hidden is not None and burn_in // 2 <= sweep < burn_in:
            total = total + chain.predict(hidden)
            n_predicted += 1
        if sweep in kept:
            samples.append(chain.sample())
        if report is not None and report() and samples:
            break
    errors = HeldOutErrors.nothing()
    if n_predicted:
        left = hidden.values - total / n_predicted
        errors = HeldOutErrors.at(hidden, chain.units.scale * left)
    model, row_noise, column_noise = chain.model(samples, observed)
    return GibbsResult(
        model=model,
        row_noise=row_noise,
        column_noise=column_noise,
        held_out=errors,
        history=history,
    )


class _Sample(NamedTuple):
    """A state of the chain, without the rows: these are drawn again given the columns.

    Attributes
    ----------
    columns : ndarray of shape (n, d)
    new_column : ndarray of shape (d,)
        Drawn from the prior of columns.
    column_scale : ndarray of shape (n,)
        Factors of the precision of the noise.
    precision : ndarray of shape (d, d)
        Of the prior of rows.
    shift : ndarray of shape (d,)
        That precision times the mean.
    noise : float
        Precision of the noise.
    freedom : float
        Degrees of freedom of the noise of a row.
    """

    columns: np.ndarray
    new_column: np.ndarray
    column_scale: np.ndarray
    precision: np.ndarray
    shift: np.ndarray
    noise: float
    freedom: float


class _Side:
    """Rows, or columns: their vectors, the prior of those, and the size of their noise."""

    def __init__(self, n, d, dtype, rng):
        self.vectors = (rng.standard_normal((n, d)) * np.sqrt(_COVARIANCE)).astype(dtype)
        self.scale = np.ones(n)
        self.freedom = np.inf
        self.precision = self.shift = None

    def draw_prior(self, rng):
        """Draw mean and precision of the vectors given them (Normal and Wishart)."""
        X = self.vectors.astype(np.float64)
        n, d = X.shape
        # The paper's Gauss-Wishart with mu_0 = 0, nu_0 = d, beta_0 = _MEAN_WEIGHT and
        # W_0^-1 = d _COVARIANCE I.
        # Parameters of the posterior: the prior mean of the vectors is zero.
        mean, weight = X.mean(axis=0), _MEAN_WEIGHT
        C = X - mean
        scatter = C.T @ C + d * _COVARIANCE * np.eye(d)
        scatter += n * weight / (n + weight) * np.outer(mean, mean)
        # A Wishart matrix of n + d degrees of freedom by Bartlett's decomposition.
        root = np.linalg.cholesky(np.linalg.inv(scatter))
        B = np.tril(rng.standard_normal((d, d)), -1)
        B[np.diag_indices(d)] = np.sqrt(rng.chisquare(n + d - np.arange(d)))
        T = root @ B
        self.precision = T @ T.T
        # Given the precision, the mean is normal with n + weight times that precision.
        noise = np.linalg.solve(T.T, rng.standard_normal(d)) / np.sqrt(n + weight)
        self.shift = self.precision @ (n / (n + weight) * mean + noise)

    def draw_scale(self, counts, spread, rng):
        """Draw degrees of freedom of noise, then factors of its precision."""
        # Likelihood of each number of degrees of freedom: the scales are summed out, so
        # that the two mix well although they depend on each other.
        values, which = np.unique(counts, return_inverse=True)
        half = (_FREEDOMS[:, np.newaxis] + values) / 2
        log_p = gammaln(half)[:, which].sum(axis=1)
        log_p -= len(counts) * (
            gammaln(_FREEDOMS / 2) - _FREEDOMS / 2 * np.log(_FREEDOMS / 2)
        )
        for i, freedom in enumerate(_FREEDOMS):
            log_p[i] -= ((freedom + counts) / 2 * np.log((freedom + spread) / 2)).sum()
        p = np.exp(log_p - log_p.max())
        self.freedom = float(rng.choice(_FREEDOMS, p=p / p.sum()))
        self.scale = rng.gamma((self.freedom + counts) / 2) / ((self.freedom + spread) / 2)


class _Chain:
    """The state of the sampler, in units of the standard deviation of the entries."""

    def __init__(self, observed, rank, rng):
        values = observed.values.astype(np.float64)
        mean, spread = float(values.mean()), float(values.std())
        # Equal entries have no unit of their own, but that of their rounding.
        tiny = float(np.finfo(observed.dtype).eps * np.abs(values).max())
        self.units = ColumnUnits(mean, max(spread, tiny) or 1.0)
        self.observed = self.units.standardised(observed)
        self.rng = rng
        m, n = observed.shape
        self.rows = _Side(m, rank + 1, observed.dtype, rng)
        self.columns = _Side(n, rank + 1, observed.dtype, rng)
        self.noise = 1.0
        self.error = np.inf

    def sweep(self, observed):
        """Draw everything once, given the rest."""
        self._draw_side(observed, self.rows, self.columns)
        self._draw_side(observed.T, self.columns, self.rows)
        spread = self._squared_errors(observed, self.rows, self.columns)
        total = float(self.rows.scale @ spread[:, 0])
        self.error = np.sqrt(spread[:, 1].sum() / observed.nnz)
        self.noise = self.rng.gamma(1 + observed.nnz / 2) / (1e-3 + total / 2)
        self.rows.draw_scale(observed.counts, self.noise * spread[:, 0], self.rng)
        of_columns = self._squared_errors(observed.T, self.columns, self.rows)
        self.columns.draw_scale(observed.T.counts, self.noise * of_columns[:, 0], self.rng)

    def _draw_side(self, observed, side, other):
        """Draw the prior of a side, then its vectors given those of the other side.

        Parameters
        ----------
        observed : Observed
            With the side as rows.
        side, other : _Side
        """
        from ..._kernels.row_solves import draw_rows

        side.draw_prior(self.rng)
        normal = self.rng.standard_normal(side.vectors.shape, dtype=side.vectors.dtype)
        # Of row i: precision P + noise scale_i sum_j scale_j v_j v_j^T over its entries,
        # and precision times mean = shift + noise scale_i sum_j scale_j x_ij v_j.
        observed.over_rows(
            draw_rows,
            observed.values,
            other.vectors,
            self.noise,
            side.scale,
            other.scale,
            side.precision,
            side.shift,
            normal,
            side.vectors,
        )

    def _squared_errors(self, observed, side, other):
        from ..._kernels.row_solves import squared_errors

        out = np.empty((observed.shape[0], 2))
        observed.over_rows(
            squared_errors, observed.values, side.vectors, other.vectors, other.scale, out
        )
        return out

    def predict(self, observed):
        """Return the model at the places of `observed`, in its units."""
        U, V = self.rows.vectors, self.columns.vectors
        product = (
            observed.sampled_product(
                np.ascontiguousarray(U[:, 1:]), np.ascontiguousarray(V[:, 1:])
            )
            if U.shape[1] > 1
            else 0
        )
        return product + U[observed.rows, 0] + V[observed.indices, 0]

    def _new_column(self):
        """Draw the vector of a column without entries, from its prior."""
        L = np.linalg.cholesky(self.columns.precision)
        mean = np.linalg.solve(self.columns.precision, self.columns.shift)
        return mean + np.linalg.solve(L.T, self.rng.standard_normal(len(mean)))

    def sample(self):
        """Return what prediction and folding in need of this state."""
        return _Sample(
            columns=self.columns.vectors.copy(),
            new_column=self._new_column(),
            column_scale=self.columns.scale.copy(),
            precision=self.rows.precision,
            shift=self.rows.shift,
            noise=self.noise,
            freedom=self.rows.freedom,
        )

    def model(self, samples, observed):
        """Return the average of samples, with rows folded in, and the noise about it.

        Parameters
        ----------
        samples : list of _Sample
        observed : Observed
            The entries in their own units.

        Returns
        -------
        model : LowRankModel
        row_noise, column_noise : ndarray of shape (m,) and (n,)
        """
        of_samples = _Sample(*zip(*samples, strict=True))
        d = samples[0].columns.shape[1]
        # Antithetic pairs: what one sample of a row adds to the mean, the next takes away.
        normal = self.rng.standard_normal((-(-len(samples) // 2), d))
        normal = np.stack([normal, -normal], axis=1).reshape(-1, d)[: len(samples)]
        if len(samples) == 1:
            normal[:] = 0
        prior = RowPrior(
            precision=np.stack(of_samples.precision),
            shift=np.stack(of_samples.shift),
            noise=np.array(of_samples.noise),
            column_scale=np.stack(of_samples.column_scale),
            normal=normal,
            freedom=np.array(of_samples.freedom),
        )
        model = LowRankModel(
            units=self.units,
            rows=None,
            columns=np.stack(of_samples.columns, axis=1),
            prior=prior,
            new_column=np.array(of_samples.new_column, observed.dtype)[np.newaxis],
        )
        rows, row_noise = fold_in(model, observed)
        column_noise = (1 / prior.column_scale).mean(axis=0)
        return model._replace(rows=rows), row_noise, column_noise
