"""The observed entries of a matrix, by rows and by columns, and passes over them."""

from functools import cached_property
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from .threads import run_lanes

# Lanes a pass is cut into, of about as many entries each: enough for threads to share.
_LANES = 32
# Below this many entries of work, a pass is not cut.
_LANE_WORK = 2**14


class Observed:
    """The known entries of a matrix of shape (m, n); zeros among them are known, too.

    Parameters
    ----------
    shape : tuple of int
    indptr : ndarray of int of shape (m + 1,)
    indices : ndarray of int of shape (nnz,)
        Columns; sorted and distinct in each row.
    values : ndarray of shape (nnz,)
        float32 or float64.
    n_jobs : int, default=None
        Threads of passes.

    Attributes
    ----------
    T : Observed
        The same entries by columns.
    order : ndarray of int of shape (nnz,)
        ``x[order]`` takes numbers of entries from their order here to that in ``T``.
    """

    def __init__(self, shape, indptr, indices, values, *, n_jobs=None):
        self.shape = shape
        self.indptr = indptr
        self.indices = indices
        self.values = values
        self.n_jobs = n_jobs

    def __getstate__(self):
        # What is computed on demand takes more room than the entries.
        names = ("shape", "indptr", "indices", "values", "n_jobs")
        return {name: vars(self)[name] for name in names}

    @classmethod
    def from_matrix(cls, X, *, n_jobs=None):
        """Return the known entries of a sparse matrix or of an ndarray."""
        return (cls.from_sparse if sp.issparse(X) else cls.from_dense)(X, n_jobs=n_jobs)

    @classmethod
    def from_sparse(cls, X, *, n_jobs=None):
        """Return the stored entries of a sparse matrix but NaN.

        Parameters
        ----------
        X : sparse matrix of shape (m, n)
            Entries stored twice are averaged.
        n_jobs : int, default=None

        Returns
        -------
        Observed
        """
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        if X.format == "csr" and X.has_canonical_format and not np.isnan(X.data).any():
            data = X.data.astype(dtype, copy=False)
            return cls(X.shape, X.indptr, X.indices, data, n_jobs=n_jobs)
        # Other ways to CSR add up duplicates.
        coo = X.tocoo().astype(dtype)
        known = ~np.isnan(coo.data)
        rows, columns = coo.coords if hasattr(coo, "coords") else (coo.row, coo.col)
        return cls.from_pairs(
            rows[known], columns[known], coo.data[known], coo.shape, n_jobs=n_jobs
        )

    @classmethod
    def from_dense(cls, X, *, n_jobs=None):
        """Return the entries of an ndarray that are not NaN."""
        known = ~np.isnan(X)
        indptr = np.zeros(len(X) + 1, np.int64)
        np.cumsum(known.sum(axis=1), out=indptr[1:])
        index = _index_type(X.shape, indptr[-1])
        indices = np.nonzero(known)[1].astype(index)
        return cls(X.shape, indptr.astype(index), indices, X[known], n_jobs=n_jobs)

    @classmethod
    def from_pairs(cls, rows, columns, values, shape, *, n_jobs=None):
        """Return entries given in any order; those given twice are averaged.

        Parameters
        ----------
        rows, columns : ndarray of int of shape (nnz,)
        values : ndarray of float of shape (nnz,)
        shape : tuple of int
        n_jobs : int, default=None

        Returns
        -------
        Observed
        """
        index = _index_type(shape, len(values))
        rows, columns = rows.astype(index, copy=False), columns.astype(index, copy=False)
        csr = sp.csr_array(sp.coo_array((values, (rows, columns)), shape=shape))
        csr.sum_duplicates()
        data = csr.data
        if csr.nnz < len(values):
            ones = np.ones(len(values), data.dtype)
            times = sp.csr_array(sp.coo_array((ones, (rows, columns)), shape=shape))
            times.sum_duplicates()
            data = data / times.data
        return cls(shape, csr.indptr, csr.indices, data, n_jobs=n_jobs)

    @property
    def nnz(self):
        """Number of entries."""
        return len(self.indices)

    @property
    def dtype(self):
        """The dtype of the values."""
        return self.values.dtype

    @cached_property
    def counts(self):
        """Number of entries of each row, of shape (m,)."""
        return np.diff(self.indptr)

    @cached_property
    def rows(self):
        """The row of each entry, of shape (nnz,)."""
        return np.repeat(np.arange(self.shape[0], dtype=self.indices.dtype), self.counts)

    @cached_property
    def _transposed(self):
        places = np.arange(self.nnz, dtype=self.indptr.dtype)
        csc = sp.csr_array((places, self.indices, self.indptr), shape=self.shape).tocsc()
        order = csc.data
        T = Observed(
            self.shape[::-1],
            csc.indptr,
            csc.indices,
            self.values[order],
            n_jobs=self.n_jobs,
        )
        return T, order

    @property
    def T(self):
        """The same entries by columns."""
        return self._transposed[0]

    @property
    def order(self):
        """The place here of each entry of ``T``."""
        return self._transposed[1]

    def places(self):
        """Return the pattern alone, to be kept: its values, all True, take a byte each.

        Those of a sparse matrix of the user's are copied: scipy changes them in place.
        """
        values = np.ones(self.nnz, dtype=bool)
        indptr, indices = self.indptr.copy(), self.indices.copy()
        return Observed(self.shape, indptr, indices, values, n_jobs=self.n_jobs)

    def with_values(self, values):
        """Return the same pattern with other values, given in the order of these."""
        other = Observed(self.shape, self.indptr, self.indices, values, n_jobs=self.n_jobs)
        for name in ("counts", "rows"):
            if name in vars(self):
                vars(other)[name] = vars(self)[name]
        if "_transposed" in vars(self):
            T, order = self._transposed
            vars(other)["_transposed"] = T.with_values(values[order]), order
        return other

    def take(self, rows):
        """Return some of the rows, in any order."""
        counts = self.counts[rows]
        indptr = np.zeros(len(rows) + 1, self.indptr.dtype)
        np.cumsum(counts, out=indptr[1:])
        places = np.repeat(self.indptr[:-1][rows] - indptr[:-1], counts)
        places += np.arange(indptr[-1], dtype=places.dtype)
        return Observed(
            (len(rows), self.shape[1]),
            indptr,
            self.indices[places],
            self.values[places],
            n_jobs=self.n_jobs,
        )

    def split(self, hide):
        """Return the entries where the mask `hide` is False, and those where it is True."""
        return self.where(~hide), self.where(hide)

    def part_of_each_row(self, share, rng):
        """Return a mask of about a share of the entries of each row, but never all of them.

        It depends on the places of the entries, not on their values.
        """
        order = np.lexsort((rng.random(self.nnz), self.rows))
        # Where in its row an entry stands after shuffling.
        place = np.arange(self.nnz) - self.indptr[self.rows]
        most = np.minimum(np.maximum(share * self.counts, 1).round(), self.counts - 1)
        mask = np.empty(self.nnz, dtype=bool)
        mask[order] = place < most[self.rows]
        return mask

    def where(self, which):
        """Return the entries where a mask of them is True."""
        ends = np.zeros(self.nnz + 1, self.indptr.dtype)
        np.cumsum(which, out=ends[1:])
        return Observed(
            self.shape,
            ends[self.indptr],
            self.indices[which],
            self.values[which],
            n_jobs=self.n_jobs,
        )

    @cached_property
    def lanes(self):
        """Ranges of rows of about as many entries each: (start, stop) of each."""
        # Rows without an entry cost something, too.
        work = self.indptr + np.arange(len(self.indptr))
        n_lanes = int(min(_LANES, max(1, work[-1] // _LANE_WORK)))
        cuts = np.searchsorted(work, work[-1] * np.arange(1, n_lanes) // n_lanes)
        edges = np.unique(np.concatenate([[0], cuts, [self.shape[0]]]))
        return [(int(a), int(b)) for a, b in pairwise(edges)]

    def over_rows(self, kernel, *args):
        """Call ``kernel(start, stop, indptr, indices, *args)`` for all rows, in threads.

        Parameters
        ----------
        kernel : callable
            Compiled; writes what belongs to rows `start` to `stop` into its arguments.
        *args : object
            Passed on unchanged.
        """

        def run(lane):
            kernel(*lane, self.indptr, self.indices, *args)

        for _ in run_lanes(run, self.lanes, self.n_jobs):
            pass

    def sampled_product(self, U, V):
        """Return the entries of ``U V^T`` at the observed places, of shape (nnz,)."""
        from .._kernels.observed import sampled_product

        out = np.empty(self.nnz, U.dtype)
        self.over_rows(sampled_product, U, V, out)
        return out

    def product(self, values, V):
        """Return the product of the sparse matrix of `values` with V, of shape (m, k)."""
        from .._kernels.observed import sparse_product

        out = np.empty((self.shape[0], V.shape[1]), V.dtype)
        self.over_rows(sparse_product, values, V, out)
        return out


def _index_type(shape, nnz):
    small = max(*shape, nnz) < np.iinfo(np.int32).max
    return np.dtype(np.int32 if small else np.int64)
