"""Passes of kernel features: a tile of kernel values at a time, consumed in cache."""

import numpy as np

from .rows import add_states
from .threads import consecutive, tile_rows

# A block has this many rows where kernels are evaluated: a few tiles for every thread.
BLOCK_ROWS = 4096

# A triangular product is computed this many columns at a time.
_PANEL = 64


class FeatureMap:
    """Features ``k(B, Z) W^T`` of rows B.

    Parameters
    ----------
    columns : callable
        ``Kernel.at(Z)``.
    W : ndarray of shape (rank, m)
        Root of the inverse of the landmarks' kernel.
    triangular : bool
        Whether W is lower triangular, which halves the second product.
    """

    def __init__(self, columns, W, triangular):
        self.columns = columns
        self.triangular = triangular
        self.W = W
        self._cast = {}

    def __getstate__(self):
        return self.__dict__ | {"_cast": {}}

    @property
    def shape(self):
        """Number of features and of landmarks."""
        return self.W.shape

    def tiles(self, n_rows, dtype):
        """Yield slices of rows whose kernel values fit in cache."""
        size = tile_rows(self.W.shape[1], np.dtype(dtype).itemsize)
        yield from consecutive(n_rows, size)

    def of_tile(self, values, dtype, out=None):
        """Return the features of a few rows.

        Parameters
        ----------
        values : ndarray or csr_array of shape (n_rows, n_features)
        dtype : numpy dtype
        out : ndarray of shape (n_rows, rank), default=None
            Where to write them.

        Returns
        -------
        ndarray of shape (n_rows, rank)
        """
        return self.of_values(self.columns(values, np.dtype(dtype)), out)

    def of_values(self, K, out=None):
        """Return ``K W^T``, the features of rows with the kernel values K."""
        if K.dtype not in self._cast:
            self._cast[K.dtype] = np.ascontiguousarray(self.W.T, K.dtype)
        Wt = self._cast[K.dtype]
        rank = len(self.W)
        if not self.triangular or rank < 2 * _PANEL:
            return np.matmul(K, Wt, out=out)
        out = np.empty((len(K), rank), K.dtype) if out is None else out
        # Products by numpy alone: scipy's BLAS, which has triangular ones, is another
        # library with threads of its own, and the two get in each other's way.
        for panel in _panels(rank):
            np.matmul(K[:, : panel.stop], Wt[: panel.stop, panel], out=out[:, panel])
        return out

    def pulled_back(self, S):
        """Return ``S W``, in float64: weights of features as those of kernel values."""
        rank = len(self.W)
        if not self.triangular or rank < 2 * _PANEL:
            return S @ self.W
        out = np.empty(S.shape)
        for panel in _panels(rank):
            np.matmul(S[:, panel.start :], self.W[panel.start :, panel], out=out[:, panel])
        return out


def _panels(rank):
    """Yield slices of `_PANEL` columns; the last is up to twice as wide."""
    for start in range(0, rank, _PANEL):
        stop = rank if rank - start < 2 * _PANEL else start + _PANEL
        yield slice(start, stop)
        if stop == rank:
            return


def features(values, feature_map, dtype):
    """Return the features of a block's rows, tile by tile."""
    out = np.empty((values.shape[0], feature_map.shape[0]), dtype)
    for tile in feature_map.tiles(len(out), dtype):
        feature_map.of_tile(values[tile], dtype, out=out[tile])
    return out


def gram_rows(rank):
    """Return how many features of rows pay for adding their Gram matrix to a sum."""
    return max(1024, 2 * rank)


def add_gram(state, F, Y, weight=None):
    """Add ``[F^T W F, F^T W Y, Y^T W Y]`` (its diagonal) to the state, in float64."""
    if weight is not None:
        root = np.sqrt(weight.astype(np.float64))[:, np.newaxis]
        F, Y = F * root.astype(F.dtype), Y * root
    gram = (F.T @ F).astype(np.float64, copy=False)
    part = [gram, (F.T @ Y.astype(F.dtype)).astype(np.float64), np.einsum("ij,ij->j", Y, Y)]
    return add_states(state, part)


def predictions(values, columns, dual, intercept, dtype):
    """Return ``k(B, Z) dual + intercept`` of a block's rows, tile by tile.

    Summed in float64: the coefficients are large where the kernel is ill-conditioned, and
    cancel.
    """
    out = np.empty((values.shape[0], dual.shape[1]), dtype)
    size = tile_rows(len(dual), 8)
    for part in consecutive(len(out), size):
        K = columns(values[part], dtype).astype(np.float64, copy=False)
        out[part] = K @ dual + intercept
    return out
