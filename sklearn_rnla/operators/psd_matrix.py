"""Positive semidefinite matrices known by their diagonal and chosen columns."""

from abc import ABC, abstractmethod
from copy import copy
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_array

from .._refusals import refuse_complex
from .rows import working_dtype
from .sources import is_dask, refuse_not_in_memory
from .threads import consecutive, kernel_jobs, run_lanes, split, tile_rows

# Tiles are sized for this many columns at a time.
_TYPICAL_COLUMNS = 64


class PSDMatrix(ABC):
    """A symmetric positive semidefinite matrix that is never formed.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
        float32 or float64: that of the columns.
    n_jobs : int
        Threads over tiles.
    """

    def __init__(self, n, dtype, n_jobs=None):
        self.shape = (n, n)
        self.dtype = working_dtype(dtype)
        self.n_jobs = kernel_jobs(n_jobs)
        self.tiles = split(n, tile_rows(_TYPICAL_COLUMNS, self.dtype.itemsize))

    @abstractmethod
    def diagonal(self):
        """Return the diagonal: an ndarray of shape (n,), in float64."""

    @abstractmethod
    def columns(self, indices):
        """Return some columns as a function of a tile.

        Parameters
        ----------
        indices : ndarray of int of shape (b,)

        Returns
        -------
        callable
            ``columns(tile)`` is an ndarray of shape (b, width of the tile).
        """

    @abstractmethod
    def submatrix(self, indices):
        """Return the rows and columns `indices`: an ndarray, in float64."""

    def in_double(self):
        """Return the same matrix with columns in float64."""
        other = copy(self)
        other.dtype = np.dtype(np.float64)
        return other

    def over_tiles(self, function):
        """Return ``function(tile)`` for each tile, in order."""
        return list(run_lanes(function, self.tiles, self.n_jobs))


class KernelMatrix(PSDMatrix):
    """The kernel matrix of rows in memory.

    Parameters
    ----------
    kernel : Kernel
        The kernel function.
    X : ndarray or csr_array of shape (n, n_features)
        The rows.
    n_jobs : int, default=None
        Threads over tiles.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import rpcholesky
    >>> from sklearn_rnla.operators import Kernel, KernelMatrix
    >>> X = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> K = KernelMatrix(Kernel("rbf", {"gamma": 1.0}), X)
    >>> rpcholesky(K, 30, random_state=0).relative_error < 1e-3
    True
    """

    def __init__(self, kernel, X, n_jobs=None):
        super().__init__(X.shape[0], X.dtype, n_jobs)
        self.kernel = kernel
        self._X = sp.csr_array(X) if sp.issparse(X) else X
        self._norms = {}

    def diagonal(self):
        return np.concatenate([self.kernel.diagonal(self._X[t]) for t in self.tiles])

    @cached_property
    def _center(self):
        return None if sp.issparse(self._X) else self._X.mean(axis=0, dtype=np.float64)

    def columns(self, indices):
        at = self.kernel.at(self._X[indices], self._center)
        if not hasattr(at, "norms") or sp.issparse(self._X):
            return lambda tile: at(self._X[tile], self.dtype).T

        def of_tile(tile):
            # The norms about the centre are the same for all columns.
            if tile.start not in self._norms:
                self._norms[tile.start] = at.norms(self._X[tile])
            return at(self._X[tile], self.dtype, self._norms[tile.start]).T

        return of_tile

    def submatrix(self, indices):
        Z = self._X[indices]
        return self.kernel(Z, Z)

    def matmat(self, V):
        """Return the product with V, from the kernel values on and above the diagonal.

        Parameters
        ----------
        V : ndarray of shape (n, n_targets)
            The vectors, as columns.

        Returns
        -------
        ndarray of shape (n, n_targets)
            In float64.
        """

        def of_tile(tile):
            # By symmetry, kernel values with earlier rows serve twice.
            out = np.zeros(V.shape)
            at, V_tile = self.kernel.at(self._X[tile], self._center), V[tile]
            size = tile_rows(tile.stop - tile.start, self.dtype.itemsize)
            for rows in consecutive(tile.start, size):
                K = at(self._X[rows], self.dtype)
                out[rows] = K @ V_tile
                out[tile] += K.T @ V[rows]
            for start in range(tile.start, tile.stop, size):
                rows = slice(start, min(start + size, tile.stop))
                out[rows] += at(self._X[rows], self.dtype) @ V_tile
            return out

        return sum(run_lanes(of_tile, self.tiles, self.n_jobs))


class ExplicitMatrix(PSDMatrix):
    """A matrix that is there, or on disk: an ndarray, a sparse matrix or a memmap."""

    def __init__(self, A, n_jobs=None):
        super().__init__(A.shape[0], A.dtype, n_jobs)
        self._A = sp.csr_array(A) if sp.issparse(A) else A

    def diagonal(self):
        return np.asarray(self._A.diagonal(), dtype=np.float64)

    def columns(self, indices):
        chosen = self._A[indices]
        if sp.issparse(chosen):
            chosen = chosen.toarray()
        return lambda tile: np.array(chosen[:, tile], self.dtype)

    def submatrix(self, indices):
        chosen = self._A[indices][:, indices]
        chosen = chosen.toarray() if sp.issparse(chosen) else chosen
        return np.asarray(chosen, np.float64)


class OperatorMatrix(PSDMatrix):
    """A `LinearOperator` that knows its diagonal."""

    def __init__(self, A, n_jobs=None):
        super().__init__(A.shape[0], A.dtype or np.float64, n_jobs)
        self._A = A

    def diagonal(self):
        return np.asarray(self._A.diagonal(), dtype=np.float64)

    def columns(self, indices):
        units = np.zeros((self.shape[0], len(indices)), self.dtype)
        units[indices, np.arange(len(indices))] = 1
        chosen = np.asarray(self._A.matmat(units)).T
        refuse_complex(chosen.dtype)
        chosen = np.ascontiguousarray(chosen, dtype=self.dtype)
        return lambda tile: chosen[:, tile].copy()

    def submatrix(self, indices):
        every = self.columns(indices)(slice(None))
        return every[:, indices].astype(np.float64)


def check_psd(A):
    """Return a square matrix of real numbers; an operator, or what is on disk, as it is.

    Raises
    ------
    TypeError
        When `A` is no matrix.
    ValueError
        When it is not square, or not of real numbers.
    """
    if not (isinstance(A, PSDMatrix | np.memmap) or hasattr(A, "matmat")):
        refuse_not_in_memory(A, "A")
        if not is_dask(A):
            # Of a large matrix a few columns are read: NaN is looked for in these.
            A = check_array(
                A,
                accept_sparse=("csr", "csc"),
                dtype=[np.float64, np.float32],
                ensure_all_finite=False,
                input_name="A",
            )
    if len(getattr(A, "shape", ())) != 2:
        raise TypeError(f"A of type {type(A).__name__} must be a two-dimensional matrix.")
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"A of shape {A.shape} must be square.")
    # An operator may not know its dtype.
    working_dtype(np.float64 if A.dtype is None else A.dtype)
    return A


def as_psd_matrix(A, *, n_jobs=None) -> PSDMatrix:
    """Return `A` as a positive semidefinite matrix known by diagonal and columns.

    Parameters
    ----------
    A : PSDMatrix, array-like, sparse matrix or LinearOperator of shape (n, n)
        An operator needs a method ``diagonal()`` besides ``matmat``.
    n_jobs : int, default=None
        Threads over tiles.

    Returns
    -------
    PSDMatrix
        `A` itself if it is one already.

    Raises
    ------
    TypeError
        When `A` is none of these, or lacks a diagonal.
    ValueError
        When `A` is not square.
    """
    A = check_psd(A)
    if isinstance(A, PSDMatrix):
        return A
    if isinstance(A, np.ndarray) or sp.issparse(A):
        return ExplicitMatrix(A, n_jobs)
    missing = [name for name in ("matmat", "diagonal") if not hasattr(A, name)]
    if missing:
        raise TypeError(
            f"A of type {type(A).__name__} lacks {' and '.join(missing)}: a matrix, a "
            "KernelMatrix or a LinearOperator with a diagonal() is needed."
        )
    return OperatorMatrix(A, n_jobs)
