"""Sparse sign sketches: a few random signs a column, applied in input-sparsity time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ._base import TILE, Distribution, Sketch, tiled


class SparseSignSketch(Sketch):
    """A sketch with `nnz` random signs in each column."""

    def columns(self, start, stop, dtype=np.float64):
        n_rows, nnz = self.shape[0], self.distribution.nnz
        # One entry in each of nnz groups of rows: distinct without rejection.
        edges = n_rows * np.arange(nnz + 1) // nnz
        uniform = tiled(self.seed, start, stop, lambda rng: rng.random((nnz, TILE)))
        # The sign is the fraction's leading bit, the place what is left of it.
        negative = uniform < 0.5
        place = 2 * uniform - ~negative
        rows = edges[:-1, np.newaxis] + (place * np.diff(edges)[:, np.newaxis]).astype(
            np.int64
        )
        signs = np.where(negative, -1.0, 1.0) / np.sqrt(nnz)
        return sp.csc_array(
            (
                signs.T.ravel().astype(dtype),
                rows.T.ravel(),
                np.arange(0, nnz * (stop - start) + 1, nnz),
            ),
            shape=(n_rows, stop - start),
        )


@dataclass(frozen=True)
class SparseSign(Distribution):
    """Each column has `nnz` entries of +-1 / sqrt(nnz) in distinct random rows.

    Parameters
    ----------
    n_rows : int
        Sketch size: rows of S.
    n_columns : int
        Dimension sketched: columns of S.
    nnz : int, default=8
        Non-zeros in each column of S: each row of A is added to that many rows of S A. At
        most `n_rows`. 1 is CountSketch (Clarkson & Woodruff 2017).

    Notes
    -----
    An OSNAP in block form (Nelson & Nguyen 2013): the rows are cut into `nnz` groups and
    each column has one entry in each. Applying it costs ``2 nnz`` flops for each stored
    entry of A, whatever the sketch size.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from sklearn_rnla.sketching import SparseSign
    >>> S = SparseSign(100, 10_000).sample(0)
    >>> (S @ sp.eye_array(10_000, format="csr")).shape
    (100, 10000)
    """

    nnz: int = 8
    _operator = SparseSignSketch

    def __post_init__(self):
        super().__post_init__()
        if self.nnz < 1:
            raise ValueError(f"nnz={self.nnz} must be at least 1.")
        if self.nnz > self.n_rows:
            object.__setattr__(self, "nnz", self.n_rows)
