"""Covariances that are functions of scaled distances: one product forward, one back."""

from dataclasses import replace

import numpy as np

from ..passes import row_squared_norms
from ..threads import TILE_BYTES, consecutive, tile_rows
from .nodes import Covariance, PlacedColumns, n_free
from .profiles import contraction

# Largest rounding error of a value, relative to that of a point with itself. Errors of m
# landmarks shift the eigenvalues of their covariance by about sqrt(m) times as much: from
# some tens of landmarks on, by less than the jitter of `evidence`, which is 16 m eps.
_ERROR = 2e-14

# Up to so many features, differences take as long as the product and a look for what it
# does not resolve.
_FEW_FEATURES = 2


class StationaryCovariance(Covariance):
    """A function of the scaled distance, with the variance one.

    Parameters
    ----------
    kernel : kernel object
    profile : profiles.Profile
    scale : str
        Name of the parameter that distances are divided by.
    shape : str, default=""
        Name of the parameter that the profile has, which comes first.
    unit : float, default=1.0
        What distances are divided by is a multiple of the parameter.
    """

    def __init__(self, kernel, profile, scale, shape="", unit=1.0):
        counts = [n_free(kernel, name) if name else 0 for name in (shape, scale)]
        super().__init__(sum(counts))
        self._profile = profile
        self._scale = unit * np.squeeze(getattr(kernel, scale)).astype(np.float64)
        self._free = tuple(count > 0 for count in counts)

    def at(self, Z):
        columns = self._columns(Z, self._profile)
        places = np.append(self.n_params, np.arange(self.n_params))
        return PlacedColumns(columns, places, self.n_params)

    def scaled(self, Z, factor):
        if factor <= 0:
            return super().scaled(Z, factor)
        profile = replace(self._profile, log_amplitude=float(np.log(factor)))
        return self._columns(Z, profile)

    def _columns(self, Z, profile):
        if self._scale.ndim and self._scale.shape != Z.shape[1:]:
            raise ValueError(
                f"length_scale has {self._scale.size} entries, and must have one for each "
                f"of the {Z.shape[1]} features."
            )
        return StationaryColumns(Z, profile, self._scale, self._free)

    def diagonal(self, B):
        return np.ones(len(B))

    def diagonal_pullback(self, B, w):
        return np.zeros(self.n_params)


class StationaryColumns:
    """``a f(|b - z|^2)``, distances scaled: the argument from one product, tile by tile.

    Rows ``[x, x.x, 1]`` times columns ``[-2 z, 1, z.z]``, about the mean of the
    landmarks. Rounding loses the difference of large norms: pairs of which it would be
    felt in the values are computed again from the differences of their coordinates. Of few
    features, all are computed from these.

    The gradient with respect to all length scales is the contraction of weights times
    derivatives G with ``(x_k - z_k)^2``, expanded: ``x.x`` with row sums, ``z.z`` with
    column sums, and one product ``G Z``.

    Parameters
    ----------
    Z : ndarray of shape (m, n_features)
    profile : profiles.Profile
    length_scale : float or ndarray of shape (n_features,)
    free : tuple of bool
        Whether the shape of the profile, and the length scale, are parameters.
    """

    def __init__(self, Z, profile, length_scale, free):
        self.profile = profile
        self.free = free
        self._scale = 1 / np.asarray(length_scale, np.float64)
        self._center = Z.mean(axis=0, dtype=np.float64)
        # Norms up to this one are resolved at any distance.
        self._resolution = 2 * np.finfo(np.float64).eps
        self._limit = _ERROR / (self._resolution * profile.steepness(0.0))
        self._set_landmarks((Z - self._center) * self._scale)

    def __getstate__(self):
        return {k: v for k, v in vars(self).items() if k not in ("_right", "_back")}

    def __setstate__(self, state):
        vars(self).update(state)
        self._set_landmarks(self._Z)

    def _set_landmarks(self, Z):
        """Keep scaled landmarks, and the factors of products that come of them."""
        (m, d), profile = Z.shape, self.profile
        norms = row_squared_norms(Z)
        self._Z = Z
        self._right = np.empty((d + 2, m))
        self._right[:d] = -2 * profile.factor * Z.T
        self._right[d] = profile.factor
        self._right[d + 1] = profile.factor * norms + profile.offset
        self._back = np.hstack([Z, np.ones((m, 1))])

    def __call__(self, B, dtype):
        rows = self._rows(B)
        K = np.empty((len(rows), len(self._Z)), dtype)
        size = tile_rows(len(self._Z), 8)
        kept = np.empty((self.profile.n_kept, min(size, len(K)), len(self._Z)))
        for tile in consecutive(len(K), size):
            T = K[tile] if K.dtype == np.float64 else np.empty(K[tile].shape)
            self._evaluate(rows[tile], T, kept[:, : len(T)])
            if T.base is not K:
                K[tile] = T
        return K

    def forward(self, B):
        """Return the values and the function that pulls weights of them back."""
        rows = self._rows(B)
        shape = len(rows), len(self._Z)
        K, kept = np.empty(shape), np.empty((self.profile.n_kept, *shape))
        tiles = list(consecutive(len(K), tile_rows(len(self._Z), 8)))
        pairs = [self._evaluate(rows[tile], K[tile], kept[:, tile]) for tile in tiles]

        def pull(W, points=None):
            return self._pull(W, rows, K, kept, tiles, pairs, points)

        return K, pull

    def _rows(self, B):
        rows = np.empty((len(B), B.shape[1] + 2))
        np.subtract(B, self._center, out=rows[:, :-2])
        rows[:, :-2] *= self._scale
        rows[:, -2] = row_squared_norms(rows[:, :-2])
        rows[:, -1] = 1
        return rows

    def _evaluate(self, rows, T, kept):
        """Write values to T; return the pairs that were computed from differences."""
        profile = self.profile
        if self._Z.shape[1] <= _FEW_FEATURES:
            pairs = np.empty((2, 0), np.intp)
            self._from_differences(rows, T)
        else:
            np.matmul(rows, self._right, out=T)
            pairs = self._unresolved(rows[:, -2], T)
        for part, squares in self._squares(rows, pairs):
            T[part] = profile.factor * squares.sum(axis=1) + profile.offset
        clamp = np.maximum if profile.factor > 0 else np.minimum
        clamp(T, profile.bound, out=T)
        profile.evaluate(T, kept)
        return pairs

    def _from_differences(self, rows, T):
        """Write the arguments of the profile to T, in a sweep for each feature."""
        T[...] = self.profile.offset
        for difference in self._differences(rows):
            difference *= difference
            difference *= self.profile.factor
            T += difference

    def _differences(self, rows):
        """Yield the differences of rows and landmarks, feature by feature."""
        for k, z in enumerate(self._Z.T):
            yield np.subtract.outer(rows[:, k], z)

    def _unresolved(self, norms, T):
        """Return row and column indices of pairs so close that rounding is felt.

        Where only one of two norms is large, the points are not close.
        """
        far = np.flatnonzero(norms > self._limit)
        if not far.size:
            return far, far
        resolution, reach = self._resolution * norms.max(), 2.0**-40
        while resolution * self.profile.steepness(reach) > _ERROR:
            reach *= 2
        closer = np.less if self.profile.factor > 0 else np.greater
        part = T if len(far) == len(T) else T[far]
        rows, columns = np.nonzero(
            closer(part, self.profile.factor * reach + self.profile.offset)
        )
        return far[rows], columns

    def _squares(self, rows, pairs):
        """Yield some of the pairs and their squared differences, by coordinate."""
        size = max(1, TILE_BYTES // (8 * rows.shape[1]))
        for start in range(0, len(pairs[0]), size):
            part = tuple(index[start : start + size] for index in pairs)
            squares = rows[part[0], :-2]
            squares -= self._Z[part[1]]
            squares *= squares
            yield part, squares

    def _pull(self, W, rows, K, kept, tiles, pairs, points):
        """Return the contraction of weights with derivatives: log a, shape, scales."""
        total, by_shape = 0.0, 0.0
        by_scale, columns = np.zeros(self._Z.shape[1]), np.zeros(len(self._Z))
        by_point = None if points is None else np.zeros_like(self._Z)
        for tile, close in zip(tiles, pairs, strict=True):
            G, x = W[tile], rows[tile]
            of_tile = self.profile.weigh(G, K[tile], kept[:, tile])
            total, by_shape = total + of_tile[0], by_shape + of_tile[1]
            if not self.free[1] and points is None:
                continue
            if len(by_scale) <= _FEW_FEATURES:
                for k, difference in enumerate(self._differences(x)):
                    weighted = G * difference
                    by_scale[k] += contraction(weighted, difference)
                    if points is not None:
                        by_point[:, k] -= weighted.sum(axis=0)
                continue
            for part, squares in self._squares(x, close):
                by_scale += G[part] @ squares
                if points is not None:
                    apart = self._Z[part[1]] - x[part[0], :-2]
                    np.add.at(by_point, part[1], G[part][:, np.newaxis] * apart)
                G[part] = 0
            back, x = G @ self._back, x[:, :-2]
            of_columns = np.ones(len(G)) @ G
            columns += of_columns
            by_scale += back[:, -1] @ (x * x) - 2 * np.einsum("ij,ij->j", x, back[:, :-1])
            if points is not None:
                by_point += of_columns[:, np.newaxis] * self._Z - G.T @ x
        by_scale += columns @ (self._Z * self._Z)
        by_scale *= -2 * self.profile.slope
        if points is not None:
            points += 2 * self.profile.slope * self._scale * by_point
        if self._scale.ndim == 0:
            by_scale = by_scale.sum(keepdims=True)
        shape = [by_shape] if self.free[0] else []
        return np.array([total, *shape, *(by_scale if self.free[1] else [])])
