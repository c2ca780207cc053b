"""The Gaussian model behind principal components."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._typing import Array, SparseMatrix


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

    def log_likelihood(self, rows: Any) -> Any:
        """Return the log-density at each row of a row matrix.

        Returns
        -------
        ndarray of shape (n_rows,)
            Bishop (2006), section 12.2.1, in ``O(n_features k)`` a row.
        """
        k, n_features = self.components.shape
        log_det = np.log(self.variances).sum() + (n_features - k) * np.log(self.noise)
        log_det += 2 * n_features * self.exponent * np.log(2.0)
        rows = rows.in_unit(self.exponent)
        distances = rows.map(squared_mahalanobis, self, n_columns=1)[:, 0]
        return -0.5 * (distances + n_features * np.log(2 * np.pi) + log_det)

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


def squared_mahalanobis(values: Array | SparseMatrix, model: ProbabilisticPCA) -> Array:
    """Return the squared Mahalanobis distances of a block's rows, as a column."""
    V, mean = model.components, model.mean
    Y = values @ V.T - V @ mean
    distances = Y**2 @ (1 / model.variances)
    if not model.is_complete:
        distances += _squares_left(values, Y, V, mean) / model.noise
    return distances[:, np.newaxis]


def _squares_left(values, Y, V, mean):
    """Return the squared norms of what the coordinates Y leave of the rows."""
    if isinstance(values, np.ndarray):
        rest = values - mean - Y @ V
        return np.einsum("ij,ij->i", rest, rest)
    rest = values.multiply(values).sum(axis=1) - 2 * (values @ mean) + mean @ mean
    return np.maximum(rest - np.einsum("ij,ij->i", Y, Y), 0.0)
