"""Sparse sign sketches: a few random signs a column, applied in input-sparsity time."""

import sys
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import scipy.sparse as sp

from .distribution import TILE, Distribution, Sketch, float_dtype, tiled

# From this many additions on, compiled loops earn back what importing numba costs; from
# few on, once that is done. Both ways give the same, to the bit.
_MANY = 2**18
_FEW = 2**12
_KERNELS = f"{__package__.rpartition('.')[0]}._kernels.sparse_sign"


class SparseSignSketch(Sketch):
    """A sketch with `nnz` random signs in each column."""

    def columns(self, start, stop, dtype=np.float64):
        return self.matrix(self.codes(start, stop), dtype)

    def codes(self, start, stop):
        """Return the non-zeros of ``S[:, start:stop]``, a row for each column.

        Parameters
        ----------
        start, stop : int
            A range of columns.

        Returns
        -------
        ndarray of unsigned int of shape (stop - start, nnz)
            Twice the row of S, increasing, plus one where the entry is negative.
        """
        n_rows, nnz = self.shape[0], self.distribution.nnz
        # One entry in each of nnz groups of rows: distinct without rejection.
        edges = n_rows * np.arange(nnz + 1) // nnz
        uniform = tiled(self.seed, start, stop, lambda rng: rng.random((nnz, TILE)))
        # The sign is the fraction's leading bit, the place what is left of it.
        negative = uniform < 0.5
        place = 2 * uniform - ~negative
        place *= np.diff(edges)[:, np.newaxis]
        codes = place.astype(np.uint16 if n_rows <= 2**15 else np.uint32)
        codes += edges[:-1, np.newaxis].astype(codes.dtype)
        codes <<= 1
        codes |= negative
        return np.ascontiguousarray(codes.T)

    def apply(self, A, start):
        # Column by column of A, what is added to stays in cache.
        At = A.tocsc().T if sp.issparse(A) else A.T
        return self.project(At, self.codes(start, start + A.shape[0])).T

    def prepare(self, size):
        if size * self.distribution.nnz >= _MANY:
            import_module(_KERNELS)

    def drawn(self, dtype=np.float64):
        return self.codes(0, self.shape[1])

    def project_sparse(self, A, drawn):
        """Return ``A S^T`` in sparse form.

        Parameters
        ----------
        A : csr_array of shape (b, n_columns)
            Rows of a matrix.
        drawn : ndarray
            As `drawn` returns it.

        Returns
        -------
        csr_array of shape (b, n_rows)
            With sorted indices.
        """
        dtype, (n_rows, nnz) = float_dtype(A), (self.shape[0], self.distribution.nnz)
        if not self._is_compiled(A):
            product = sp.csr_array(A @ self.matrix(drawn, dtype).T)
            product.sort_indices()
            return product
        from .._kernels.sparse_sign import sketch_rows

        most = int(np.minimum(nnz * np.diff(A.indptr).astype(np.int64), n_rows).sum())
        index = np.int32 if most < np.iinfo(np.int32).max else np.int64
        indptr = np.empty(A.shape[0] + 1, index)
        indices, data = np.empty(most + 1, index), np.empty(most + 1, dtype)
        sketch_rows(
            A.indptr,
            A.indices,
            A.data.astype(dtype, copy=False),
            drawn,
            self._scale(dtype),
            n_rows,
            indptr,
            indices,
            data,
        )
        stored = slice(indptr[-1])
        product = sp.csr_array(
            (data[stored], indices[stored], indptr), shape=(A.shape[0], n_rows)
        )
        product.has_canonical_format = True
        return product

    def project(self, A, drawn):
        dtype = float_dtype(A)
        if not self._is_compiled(A):
            product = (self.matrix(drawn, dtype) @ A.T).T
            return product.toarray() if sp.issparse(product) else np.asarray(product)
        from .._kernels.sparse_sign import sketch_columns, sketch_dense_rows

        out = np.zeros((A.shape[0], self.shape[0]), dtype)
        if sp.issparse(A):
            # The rows of A are the columns of its transpose.
            A = A.tocsr()
            data = A.data.astype(dtype, copy=False)
            sketch_columns(A.indptr, A.indices, data, drawn, self._scale(dtype), out)
        else:
            sketch_dense_rows(A.astype(dtype, copy=False), drawn, self._scale(dtype), out)
        return out

    def _is_compiled(self, A):
        """Whether the product with the rows of A is large, and one where scipy is slow.

        It is fast for dense columns, which it adds up.
        """
        size = A.nnz if sp.issparse(A) else A.size
        is_slow = sp.issparse(A) or (A.flags.c_contiguous and not A.flags.f_contiguous)
        least = _FEW if _KERNELS in sys.modules else _MANY
        return is_slow and size * self.distribution.nnz >= least and A.dtype.kind != "c"

    def _scale(self, dtype):
        return dtype(1 / np.sqrt(self.distribution.nnz))

    def matrix(self, codes, dtype):
        """Return the columns of S that are given by their `codes`: a csc_array."""
        nnz = codes.shape[1]
        signs = np.array([1, -1], dtype) * self._scale(np.dtype(dtype).type)
        index = np.int32 if codes.size < np.iinfo(np.int32).max else np.int64
        return sp.csc_array(
            (
                signs[codes.ravel() & 1],
                (codes.ravel() >> 1).astype(index),
                np.arange(0, codes.size + 1, nnz, dtype=index),
            ),
            shape=(self.shape[0], len(codes)),
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
