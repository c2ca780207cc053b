"""The Gaussian model behind principal components."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._fitting import warn_user
from ..._refusals import refuse_not_finite
from ..._typing import Array, SparseMatrix
from ...operators.passes import project
from .latent import LEAST_NOISE, LatentModel, LatentRows, double, pieces_of


@dataclass(frozen=True)
class ProbabilisticPCA:
    """Gaussian of covariance ``V^T diag(variances - noise) V + noise I``.

    Attributes
    ----------
    components : ndarray of shape (k, n_features)
        Orthonormal rows V.
    mean : ndarray of shape (n_features,)
        Mean of the Gaussian.
    variances : ndarray of shape (k,)
        Variances along the components, in decreasing order.
    noise : float
        Variance in each other direction.
    exponent : int
        The parameters are those of rows divided by two to this power, so that their
        squares are in range.

    Notes
    -----
    Tipping & Bishop (1999), in float64. No variance is below rounding, relative to the
    largest, so that the covariance has an inverse.
    """

    components: np.ndarray
    mean: np.ndarray
    variances: np.ndarray
    noise: float
    exponent: int = 0

    @classmethod
    def above_rounding(
        cls,
        components: Array,
        mean: Array,
        variances: Array,
        noise: float,
        exponent: int = 0,
    ) -> "ProbabilisticPCA":
        """Return the model, with variances below rounding raised to it.

        The mean is given in the unit of the rows.
        """
        floor = np.finfo(components.dtype).eps * variances.max(initial=0.0)
        noise = max(noise, floor, np.finfo(np.float64).tiny)
        return cls(
            components=components.astype(np.float64),
            mean=np.ldexp(mean.astype(np.float64), -exponent),
            variances=np.maximum(variances, noise),
            noise=noise,
            exponent=exponent,
        )

    @property
    def is_complete(self) -> bool:
        """Whether the components leave no direction to the noise."""
        return len(self.components) == len(self.mean)

    def covariance(self) -> Array:
        """Return the covariance matrix."""
        return _times(self._spectral(self.variances, self.noise), 2 * self.exponent)

    def precision(self) -> Array:
        """Return the inverse of the covariance matrix."""
        inverse = self._spectral(1 / self.variances, 1 / self.noise)
        return _times(inverse, -2 * self.exponent)

    def latent(self) -> LatentModel:
        """Return the model as latent variables, loadings and noise.

        A noise of rounding level is raised, as posterior means would be lost in the
        rounding of their equations.
        """
        # Without a direction left to the noise, the least variance is noise of all.
        noise = self.variances.min() if self.is_complete else self.noise
        noise = max(noise, LEAST_NOISE * self.variances.max(initial=0.0))
        W = self.components.T * np.sqrt(np.maximum(self.variances - noise, 0.0))
        return LatentModel(W, self.mean, noise)

    def log_likelihood(self, rows: Any, *, missing: bool = False) -> Any:
        """Return the log-density at each row of a row matrix.

        Parameters
        ----------
        rows : RowMatrix
        missing : bool, default=False
            Whether NaN is a missing entry: the density is that of the others.

        Returns
        -------
        ndarray of shape (n_rows,)
            Bishop (2006), section 12.2.1, in ``O(n_features k)`` a row.
        """
        rows = rows.in_unit(self.exponent)
        rows = rows.unchecked() if missing else rows
        distances = rows.map(squared_mahalanobis, self, missing, n_columns=1)[:, 0]
        return -0.5 * (distances + self.constant(self.components.shape[1]))

    def constant(self, n_scaled: int) -> float:
        """Return minus twice the log-density at the mean, of rows in their own unit.

        Of entries beyond `n_scaled`, or less than these, in the unit of the parameters.
        """
        k, n_features = self.components.shape
        log_det = np.log(self.variances).sum() + (n_features - k) * np.log(self.noise)
        log_det += 2 * n_scaled * self.exponent * np.log(2.0)
        return n_features * np.log(2 * np.pi) + log_det

    def project(
        self, rows: Any, Vt: Array, offset: Array, factors: Array, *, with_std: bool = False
    ) -> Any:
        """Return the coordinates of rows, NaN being a missing entry.

        Parameters
        ----------
        rows : RowMatrix
        Vt, offset
            Those of complete rows are ``x Vt - offset``.
        factors : ndarray of shape (k,)
            What the components were multiplied by in `Vt`.
        with_std : bool, default=False
            Whether their standard deviations follow, given what is known of a row.

        Returns
        -------
        ndarray of shape (n_rows, k) or (n_rows, 2 k)
            A lazy array where the rows are lazy.
        """
        n_columns = (1 + with_std) * len(factors)
        return rows.unchecked().map(
            project_known, self, Vt, offset, factors, with_std, n_columns=n_columns
        )

    def _spectral(self, along, across):
        """Return the matrix with eigenvalues `along` the components, `across` elsewhere."""
        V = self.components
        # An inverse noise of rounding level would cancel where nothing is left to it.
        across = 0.0 if self.is_complete else across
        matrix = (V.T * (along - across)) @ V
        matrix.flat[:: len(matrix) + 1] += across
        return matrix


def _times(matrix, exponent):
    """Return a matrix times a power of two, infinite where it is out of range."""
    with np.errstate(over="ignore"):
        return np.ldexp(matrix, exponent)


def squared_mahalanobis(
    values: Array | SparseMatrix, model: ProbabilisticPCA, missing: bool
) -> Array:
    """Return the squared Mahalanobis distances of a block's rows, as a column.

    Of rows with missing entries, what they are to be for the density of the others.
    """
    V, mean = model.components, model.mean
    Y = values @ V.T - V @ mean
    distances = Y**2 @ (1 / model.variances)
    if not model.is_complete:
        distances += _squares_left(values, Y, V, mean) / model.noise
    if missing:
        for rows, known in _rows_with_gaps(values, distances):
            density = LatentRows.of(known, model.latent()).log_likelihood
            n_missing = np.isnan(known).sum(axis=1)
            distances[rows] = -2 * density - model.constant(n_missing)
    return distances[:, np.newaxis]


def project_known(
    values: Any, model: Any, Vt: Array, offset: Array, factors: Array, with_std: bool
) -> Any:
    """Return coordinates of a block's rows, and their standard deviations if wanted."""
    Y = project(values, Vt, offset)
    std = np.zeros_like(Y)
    unit = np.ldexp(factors, model.exponent)
    for rows, known in _rows_with_gaps(values, Y):
        means, variances = _coordinates(np.ldexp(known, -model.exponent), model)
        Y[rows] = means * unit
        std[rows] = np.sqrt(variances) * unit
    return np.concatenate([Y, std], axis=1) if with_std else Y


def _coordinates(values, model):
    """Return the posterior means and variances of the coordinates of a few rows.

    Those that the complete rows would have: of their missing entries, the noise counts too.
    """
    V, latent = model.components, model.latent()
    found = LatentRows.of(values, latent)
    means = (found.deviations + ~found.known * (found.means @ latent.W.T)) @ V.T
    # Of V, what the missing features hold: P = V_m V_m^T.
    k = len(V)
    i, j = np.triu_indices(k)
    P = np.empty((len(found.patterns), k, k))
    P[:, i, j] = P[:, j, i] = (1 - found.patterns) @ (V[i] * V[j]).T
    B = P * np.sqrt(np.maximum(model.variances - latent.noise, 0.0))
    variances = np.einsum("uij,uij->ui", B @ found.inverse, B)
    variances += np.einsum("uii->ui", P)
    return means, (latent.noise * np.maximum(variances, 0.0))[found.which]


def _rows_with_gaps(values, results):
    """Yield which rows of a block have gaps, a few at a time, and these rows.

    They are those whose results are not finite. An entry that is infinite is an error.
    """
    gaps = np.flatnonzero(~np.isfinite(results.reshape(len(results), -1)).all(axis=1))
    for part in pieces_of(values[gaps], results[0].size):
        rows = gaps[part]
        known = double(values[rows])
        if np.isinf(known).any():
            refuse_not_finite(known)
        if np.isnan(known).all(axis=1).any():
            warn_user(
                "A row of X has no known entry: it is taken to lie at the mean. Leave such "
                "rows out."
            )
        yield rows, known


def _squares_left(values, Y, V, mean):
    """Return the squared norms of what the coordinates Y leave of the rows."""
    if isinstance(values, np.ndarray):
        rest = values - mean - Y @ V
        return np.einsum("ij,ij->i", rest, rest)
    rest = values.multiply(values).sum(axis=1) - 2 * (values @ mean) + mean @ mean
    return np.maximum(rest - np.einsum("ij,ij->i", Y, Y), 0.0)
