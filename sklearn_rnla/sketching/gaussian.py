"""Gaussian sketches: the reference, dense and without structure."""

from dataclasses import dataclass

import numpy as np

from .._typing import Array, DTypeLike
from .distribution import TILE, Distribution, Sketch, tiled


class GaussianSketch(Sketch):
    """A sketch of independent normal entries."""

    def columns(self, start: int, stop: int, dtype: DTypeLike = np.float64) -> Array:
        n_rows = self.shape[0]
        entries = tiled(
            self.seed, start, stop, lambda rng: rng.standard_normal((n_rows, TILE))
        )
        return (entries / np.sqrt(n_rows)).astype(dtype, copy=False)

    def drawn(self, dtype: DTypeLike = np.float64) -> Array:
        # scipy's products with sparse rows want S^T in C order.
        return np.asfortranarray(super().drawn(dtype))


@dataclass(frozen=True)
class Gaussian(Distribution):
    """Independent normal entries of variance 1 / n_rows.

    Parameters
    ----------
    n_rows : int
        Sketch size: rows of S.
    n_columns : int
        Dimension sketched: columns of S.

    Notes
    -----
    For a fixed x, ``||S x||^2 / ||x||^2`` is chi-square with n_rows degrees of freedom,
    over n_rows (Dasgupta & Gupta 2003). Applying S to an m x n matrix costs 2 m n n_rows
    flops; drawing it, m n_rows normal numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.sketching import Gaussian
    >>> S = Gaussian(50, 1000).sample(0)
    >>> (S @ np.ones((1000, 3))).shape
    (50, 3)
    """

    _operator = GaussianSketch
