"""Covariance functions and their gradients: what all have, and those of one part."""

import numpy as np

from ..passes import row_squared_norms
from ..threads import TILE_BYTES, consecutive

# The gradient that scikit-learn returns for a tile takes at most about this many bytes.
_GRADIENT_BYTES = 4 * TILE_BYTES

# The diagonal between two copies of rows is read from all pairs of this many rows.
_DIAGONAL_ROWS = 32


def n_free(kernel, name):
    """Return how many elements of ``kernel.theta`` are those of a parameter."""
    hyperparameter = getattr(kernel, f"hyperparameter_{name}")
    return 0 if hyperparameter.fixed else hyperparameter.n_elements


class Covariance:
    """A covariance function, at the parameters ``kernel.theta``.

    White noise is the difference between the variance of a point and the covariance of
    two points at the same place. It is no part of the columns, whatever their points.

    Parameters
    ----------
    n_params : int
        Length of ``kernel.theta``.

    Attributes
    ----------
    has_noise : bool
        Whether `noise` can differ from zero.
    is_zero : bool
        Whether all columns are zero.
    has_point_slopes : bool
        Whether columns know their derivatives by the landmarks.
    constant : float or None
        The value of all entries, where there is one.
    """

    has_noise = False
    is_zero = False
    has_point_slopes = True
    constant = None

    def __init__(self, n_params):
        self.n_params = n_params

    def at(self, Z):
        """Return the columns at landmarks.

        Parameters
        ----------
        Z : ndarray of shape (m, n_features)

        Returns
        -------
        callable
            ``columns(B, dtype)`` is ``k(B, Z)``, an ndarray of shape (n_rows, m).
            ``columns.forward(B)`` is ``(K, pull)``: the same in float64, not to be
            changed before ``pull(W)``, which overwrites W of that shape, returns the
            ndarray of shape (n_params,) ``sum_ij W_ij dK_ij / dtheta``. With
            `has_point_slopes`, ``pull(W, points)`` also adds the ndarray of shape
            (m, n_features) ``sum_i W_ij dK_ij / dz_j`` to `points`.
        """
        raise NotImplementedError

    def scaled(self, Z, factor):
        """Return the columns times a number, whose logarithm is their first parameter."""
        return _ScaledColumns(self.at(Z), factor)

    def diagonal(self, B):
        """Return the variances without noise, an ndarray of shape (n_rows,)."""
        raise NotImplementedError

    def diagonal_pullback(self, B, w):
        """Return ``sum_i w_i d diagonal_i / dtheta``, an ndarray of shape (n_params,)."""
        raise NotImplementedError

    def noise(self, B):
        """Return what ``kernel.diag(B)`` is above `diagonal`."""
        return np.zeros(len(B))

    def noise_pullback(self, B, w):
        """Return ``sum_i w_i d noise_i / dtheta``, an ndarray of shape (n_params,)."""
        return np.zeros(self.n_params)


class ConstantCovariance(Covariance):
    """The same covariance of all points."""

    def __init__(self, kernel):
        super().__init__(n_free(kernel, "constant_value"))
        self.constant = float(kernel.constant_value)

    def at(self, Z):
        return _ConstantColumns(self, len(Z))

    def diagonal(self, B):
        return np.full(len(B), self.constant)

    def diagonal_pullback(self, B, w):
        return np.full(self.n_params, self.constant * w.sum())


class _ConstantColumns:
    def __init__(self, node, m):
        self.node = node
        self._m = m

    def __call__(self, B, dtype):
        return np.full((len(B), self._m), self.node.constant, dtype)

    def forward(self, B):
        return self(B, np.float64), lambda W, points=None: self.node.diagonal_pullback(B, W)


class WhiteCovariance(Covariance):
    """Noise alone."""

    is_zero = True
    has_noise = True

    def __init__(self, kernel):
        super().__init__(n_free(kernel, "noise_level"))
        self._level = float(kernel.noise_level)

    def at(self, Z):
        return ZeroColumns(len(Z), self.n_params)

    def diagonal(self, B):
        return np.zeros(len(B))

    def diagonal_pullback(self, B, w):
        return np.zeros(self.n_params)

    def noise(self, B):
        return np.full(len(B), self._level)

    def noise_pullback(self, B, w):
        return np.full(self.n_params, self._level * w.sum())


class ZeroColumns:
    """Columns of zeros."""

    def __init__(self, m, n_params):
        self._m = m
        self._n_params = n_params

    def __call__(self, B, dtype):
        return np.zeros((len(B), self._m), dtype)

    def forward(self, B):
        return self(B, np.float64), lambda W, points=None: np.zeros(self._n_params)


class _ScaledColumns:
    """Columns times a number; its logarithm is the first parameter."""

    def __init__(self, columns, factor):
        self._columns = columns
        self._factor = factor

    def __call__(self, B, dtype):
        return self._columns(B, dtype) * np.dtype(dtype).type(self._factor)

    def forward(self, B):
        K, pull_part = self._columns.forward(B)

        def pull(W, points=None):
            total = self._factor * np.einsum("ij,ij->", W, K)
            W *= self._factor
            return np.append(total, pull_part(W, points))

        return K * self._factor, pull


class PlacedColumns:
    """Columns whose parameters have the given places among those of a kernel."""

    def __init__(self, columns, places, n_params):
        self._columns = columns
        self._places = places
        self._n_params = n_params

    def __call__(self, B, dtype):
        return self._columns(B, dtype)

    def forward(self, B):
        K, pull_part = self._columns.forward(B)

        def pull(W, points=None):
            # The last place takes what is not a parameter.
            slopes = np.zeros(self._n_params + 1)
            slopes[self._places] = pull_part(W, points)
            return slopes[:-1]

        return K, pull


class DotProductCovariance(Covariance):
    """Inner products, and a number: the variance of an intercept."""

    def __init__(self, kernel):
        super().__init__(n_free(kernel, "sigma_0"))
        self._squared = float(kernel.sigma_0) ** 2

    def at(self, Z):
        return _DotProductColumns(Z, self)

    def diagonal(self, B):
        return row_squared_norms(B) + self._squared

    def diagonal_pullback(self, B, w):
        return np.full(self.n_params, 2 * self._squared * w.sum())


class _DotProductColumns:
    def __init__(self, Z, node):
        self.node = node
        self._Z = Z.astype(np.float64)

    def __call__(self, B, dtype):
        K = B.astype(np.float64, copy=False) @ self._Z.T
        K += self.node._squared
        return K.astype(dtype, copy=False)

    def forward(self, B):
        def pull(W, points=None):
            if points is not None:
                points += W.T @ B
            return self.node.diagonal_pullback(B, W)

        return self(B, np.float64), pull


class AnyCovariance(Covariance):
    """A covariance of which only scikit-learn's interface is known."""

    has_point_slopes = False

    def __init__(self, kernel, has_noise=True):
        super().__init__(kernel.n_dims)
        # A copy, which stays as it is if the parameters of the kernel are set.
        self._kernel = kernel.clone_with_theta(kernel.theta)
        self.has_noise = has_noise

    def at(self, Z):
        return _AnyColumns(self._kernel, Z)

    def diagonal(self, B):
        # Two copies are compared, because rows that are the same object are noisy.
        tiles = [B[part] for part in consecutive(len(B), _DIAGONAL_ROWS)]
        values = [np.diagonal(self._kernel(tile, tile.copy())) for tile in tiles]
        return np.concatenate([np.empty(0), *values])

    def diagonal_pullback(self, B, w):
        return self._pullbacks(B, w)[0]

    def noise(self, B):
        if not self.has_noise:
            return super().noise(B)
        variance = np.asarray(self._kernel.diag(B), np.float64)
        noise = variance - self.diagonal(B)
        rounding = 64 * np.finfo(np.float64).eps * np.abs(variance)
        return np.where(np.abs(noise) > rounding, noise, 0.0)

    def noise_pullback(self, B, w):
        return self._pullbacks(B, w)[1]

    def _pullbacks(self, B, w):
        slopes = np.zeros((2, self.n_params))
        for part in consecutive(len(B), _DIAGONAL_ROWS):
            tile = B[part]
            gradient = self._kernel(np.vstack([tile, tile]), eval_gradient=True)[1]
            i = np.arange(len(tile))
            between, within = gradient[i, i + len(tile)], gradient[i, i]
            slopes += w[part] @ between, w[part] @ (within - between)
        return slopes


class _AnyColumns:
    """Values as they are; the gradient is that of rows and landmarks on one another."""

    def __init__(self, kernel, Z):
        self.kernel = kernel
        self._Z = Z.astype(np.float64)

    def __call__(self, B, dtype):
        return np.asarray(self.kernel(np.asarray(B, np.float64), self._Z), dtype=dtype)

    def forward(self, B):
        return self(B, np.float64), lambda W, points=None: self._pull(B, W)

    def _pull(self, B, W):
        slopes = np.zeros(self.kernel.n_dims)
        # Half the points of a tile are rows, half landmarks.
        size = max(8, int(np.sqrt(_GRADIENT_BYTES / 8 / max(1, len(slopes)))) // 2)
        for rows in consecutive(len(B), size):
            b = B[rows]
            for columns in consecutive(len(self._Z), size):
                points = np.vstack([b, self._Z[columns]])
                gradient = self.kernel(points, eval_gradient=True)[1]
                cross = gradient[: len(b), len(b) :]
                slopes += np.einsum("ij,ijp->p", W[rows, columns], cross)
        return slopes
