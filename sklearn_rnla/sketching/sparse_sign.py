"""Sparse sign sketches: a few random signs a column, applied in input-sparsity time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ._base import TILE, Distribution, Sketch, float_dtype, tiled

# From this many additions on, compiled loops earn back what importing them costs.
_MANY = 2**20


class SparseSignSketch(Sketch):
    """A sketch with `nnz` random signs in each column."""

    def columns(self, start, stop, dtype=np.float64):
        rows, signs = self.entries(start, stop, dtype)
        n_entries = rows.shape[1]
        return sp.csc_array(
            (
                signs.ravel(),
                rows.ravel(),
                np.arange(0, n_entries * (stop - start) + 1, n_entries),
            ),
            shape=(self.shape[0], stop - start),
        )

    def entries(self, start, stop, dtype=np.float64):
        """Return the non-zeros of ``S[:, start:stop]``, a row for each column.

        Parameters
        ----------
        start, stop : int
            A range of columns.
        dtype : numpy dtype, default=float64
            Of the values.

        Returns
        -------
        rows : ndarray of int32 of shape (stop - start, nnz)
            Where they are, increasing along each row.
        values : ndarray of shape (stop - start, nnz)
            What they are.
        """
        n_rows, nnz = self.shape[0], self.distribution.nnz
        # One entry in each of nnz groups of rows: distinct without rejection.
        edges = n_rows * np.arange(nnz + 1) // nnz
        uniform = tiled(self.seed, start, stop, lambda rng: rng.random((nnz, TILE)))
        # The sign is the fraction's leading bit, the place what is left of it.
        negative = uniform < 0.5
        place = 2 * uniform - ~negative
        place *= np.diff(edges)[:, np.newaxis]
        rows = place.astype(np.int32)
        rows += edges[:-1, np.newaxis].astype(np.int32)
        unit = np.array([1.0, -1.0], dtype) / np.asarray(np.sqrt(nnz), dtype)
        signs = unit[negative.view(np.int8)]
        return np.ascontiguousarray(rows.T), np.ascontiguousarray(signs.T)

    def apply(self, A, start):
        nnz = self.distribution.nnz
        if not sp.issparse(A) or A.nnz * nnz < _MANY:
            return super().apply(A, start)
        from .._kernels import sketch_columns

        # Column by column of A, what is added to stays in cache.
        A = A.tocsc()
        out = np.zeros((A.shape[1], self.shape[0]), float_dtype(A))
        entries = self.entries(start, start + A.shape[0], out.dtype)
        data = A.data.astype(out.dtype, copy=False)
        sketch_columns(A.indptr, A.indices, data, *entries, out)
        return out.T

    def project_sparse(self, A):
        """Return ``A S^T`` in sparse form.

        Parameters
        ----------
        A : csr_array of shape (b, n_columns)

        Returns
        -------
        csr_array of shape (b, n_rows)
            With sorted indices.
        """
        from .._kernels import sketch_rows

        dtype = float_dtype(A)
        indptr, indices, data = sketch_rows(
            A.indptr,
            A.indices,
            A.data.astype(dtype, copy=False),
            *self.entries(0, A.shape[1], dtype),
            self.shape[0],
        )
        shape = (A.shape[0], self.shape[0])
        return sp.csr_array((data, indices, indptr), shape=shape)


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
