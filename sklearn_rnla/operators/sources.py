"""Sources of row blocks: what may stand behind a row matrix, and how it is told."""

import sys

import numpy as np
import scipy.sparse as sp

from .._refusals import refuse_containers, refuse_masked, refuse_read_once
from .._typing import Blocks, Int, MatrixLike
from .rows import (
    BLOCK_BYTES,
    FEW_ROWS,
    LocalRowMatrix,
    RowMatrix,
    check_block,
    in_unit,
    is_typical,
    working_dtype,
)
from .stacking import stack_rows

# Places in the unit interval, multiples of the golden ratio modulo 1: they are even, and
# in step with no period.
_PLACES = np.sort(np.arange(FEW_ROWS) * ((5**0.5 - 1) / 2) % 1)

# Most rows of a sparse block: their projection on some tens of vectors is some tens of MB.
_SPARSE_BLOCK_ROWS = 2**17


def dense_block_rows(n_features: int, itemsize: int) -> int:
    """Rows of a dense block of about `BLOCK_BYTES`."""
    return max(256, BLOCK_BYTES // max(1, n_features * itemsize) // 256 * 256)


def is_dask(X) -> bool:
    """Whether `X` is a dask array; does not import dask."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(X, dask_array.Array)


def is_row_sliceable(X) -> bool:
    """Whether `X` is a lazy two-dimensional array, such as zarr's and h5py's.

    That is: not an ndarray or a sparse matrix, but with a shape of length two, a numpy
    dtype and row slicing. Data frames and torch tensors are not.
    """
    if isinstance(X, np.ndarray) or sp.issparse(X) or not hasattr(X, "__getitem__"):
        return False
    shape, dtype = getattr(X, "shape", None), getattr(X, "dtype", None)
    if not isinstance(shape, tuple) or len(shape) != 2 or dtype is None:
        return False
    try:
        np.dtype(dtype)
    except TypeError:
        return False
    return True


def is_read_lazily(X: object) -> bool:
    """Whether `X` is read a block at a time, and so not checked or copied whole.

    Parameters
    ----------
    X : object
        What a user passed.

    Returns
    -------
    bool
        True for memmaps, row matrices, iterators, dask arrays and row-sliceables.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.operators import is_read_lazily
    >>> is_read_lazily(np.ones((5, 2))), is_read_lazily(iter([np.ones((5, 2))]))
    (False, True)
    """
    return (
        isinstance(X, np.memmap | RowMatrix)
        or hasattr(X, "__next__")
        or is_dask(X)
        or is_row_sliceable(X)
    )


class ArrayRows(LocalRowMatrix):
    """Rows of an ndarray, a memmap or any two-dimensional object with row slicing.

    Blocks of a float32 or float64 ndarray are views. Blocks of other types and of lazy
    arrays are read, and converted, one at a time; those of a lazy array may be sparse.
    """

    def __init__(self, X, *, weight=None, block_rows=None, n_jobs=None):
        self.resident = isinstance(X, np.ndarray) and not isinstance(X, np.memmap)
        if self.resident:
            refuse_masked(X)
            X = np.asarray(X)
        self._X = X
        dtype = working_dtype(X.dtype)
        if len(X.shape) != 2:
            raise ValueError(f"Expected 2D array, got {len(X.shape)}D array instead.")
        n_rows, n_features = X.shape
        self.nnz = n_rows * n_features
        self.sparse = False
        if not isinstance(X, np.ndarray):
            n_some = min(FEW_ROWS, n_rows)
            some = check_block(X[:n_some], n_features, n_rows=n_some)
            self.sparse = sp.issparse(some)
            if self.sparse:
                # An estimate: all of it is not counted before it is read.
                self.nnz = some.nnz * n_rows // max(1, some.shape[0])
        if not block_rows and self.sparse:
            block_rows = _sparse_block_rows(self.nnz, X.shape)
        super().__init__(
            (n_rows, n_features),
            dtype,
            block_rows=block_rows or dense_block_rows(n_features, dtype.itemsize),
            weight=weight,
            n_jobs=n_jobs,
        )

    def values(self, rows):
        if self.resident:
            return _read(self, self._X[rows])
        return check_block(
            self._X[rows],
            self.shape[1],
            n_rows=rows.stop - rows.start,
            dtype=self.dtype,
            sparse=self.sparse,
            exponent=self.exponent,
        )

    def some_rows(self):
        if not self.resident:
            return super().some_rows()
        return _read(self, self._X[_spread(self.shape[0], self.weight)])

    def take(self, indices):
        if isinstance(self._X, np.ndarray):
            taken = _read(self, np.asarray(self._X[indices]))
        else:
            # Lazy arrays index slowly, or not at all, by a list: read block by block.
            taken = stack_rows(
                [
                    self.values(rows)[_within(indices, rows)]
                    for lane in self._lanes
                    for rows in lane
                ]
            )
        source = SparseRows if self.sparse else ArrayRows
        return source(taken, weight=_take(self.weight, indices), n_jobs=self.n_jobs)


class SparseRows(LocalRowMatrix):
    """Rows of a CSR matrix; CSC is converted once, a copy of the stored entries."""

    sparse = True

    def __init__(self, X, *, weight=None, block_rows=None, n_jobs=None):
        self._X = X = check_block(X)
        self.nnz = X.nnz
        super().__init__(
            X.shape,
            X.dtype,
            block_rows=block_rows or _sparse_block_rows(X.nnz, X.shape),
            weight=weight,
            n_jobs=n_jobs,
        )

    def values(self, rows):
        X = self._X
        if rows.start == 0 and rows.stop == X.shape[0]:
            return _read(self, X)
        first, last = X.indptr[rows.start], X.indptr[rows.stop]
        block = sp.csr_array(
            (
                X.data[first:last],
                X.indices[first:last],
                X.indptr[rows.start : rows.stop + 1] - first,
            ),
            shape=(rows.stop - rows.start, X.shape[1]),
        )
        block.has_canonical_format = True
        return _read(self, block)

    def some_rows(self):
        return _read(self, self._X[_spread(self.shape[0], self.weight)])

    def take(self, indices):
        taken = _read(self, self._X[indices])
        return SparseRows(taken, weight=_take(self.weight, indices), n_jobs=self.n_jobs)


def _read(rows, values):
    """Return values in memory, which were checked as a whole, as `rows` has its blocks."""
    return in_unit(values.astype(rows.dtype, copy=False), rows.exponent)


def _sparse_block_rows(nnz, shape) -> int:
    """Rows of a sparse block.

    The transposed product of a block writes n_features rows: it has many times as many
    entries to earn that back, while its projection fits in memory.
    """
    n_rows, n_features = shape
    entries = max(2**18, 40 * n_features)
    return max(1, min(int(entries * n_rows / max(1, nnz)), _SPARSE_BLOCK_ROWS))


def _spread(n_rows, weight):
    """Return a few indices from all over the rows of typical weight, in order."""
    chosen = None if weight is None else np.flatnonzero(is_typical(weight))
    n = n_rows if chosen is None else len(chosen)
    places = (_PLACES * n).astype(np.intp) if n > FEW_ROWS else np.arange(n)
    return places if chosen is None else chosen[places]


def refuse_not_in_memory(X, name="X"):
    """Raise where X, which errors call `name`, is no matrix of numbers in memory.

    Raises
    ------
    TypeError
        When it is read by slices of rows, or holds a matrix without being one.
    ValueError
        When it has masked entries, or is an iterator or a list of blocks.
    """
    refuse_masked(X, name)
    refuse_containers(X, name)
    refuse_read_once(X, name)
    if is_row_sliceable(X) and not is_dask(X):
        raise TypeError(
            f"{name} of type {type(X).__name__} must be in memory: pass {name}[:]."
        )


def _take(weight, indices):
    return None if weight is None else weight[indices]


def _within(indices, rows):
    first, last = np.searchsorted(indices, [rows.start, rows.stop])
    return indices[first:last] - rows.start


def as_row_matrix(
    X: RowMatrix | MatrixLike | Blocks,
    *,
    block_size: Int | None = None,
    n_jobs: Int | None = None,
) -> RowMatrix:
    """Return `X` as a row matrix.

    Parameters
    ----------
    X : RowMatrix, ndarray, sparse matrix or array, dask array, row-sliceable, iterator
        Two-dimensional and numeric. An iterator yields blocks of rows, dense or sparse,
        and can be read once. Anything else must be converted to an ndarray first.
    block_size : int or None
        Rows per block; None chooses by size. A dask array keeps its own chunks.
    n_jobs : int or None
        Threads over blocks, as joblib counts them.

    Returns
    -------
    RowMatrix
        Its blocks are views of `X` where they can be; `X` itself if it is one already.

    Raises
    ------
    TypeError
        When `X` is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.operators import as_row_matrix
    >>> rows = as_row_matrix(np.ones((5, 2), dtype=np.float32), block_size=2)
    >>> rows.shape, rows.dtype
    ((5, 2), dtype('float32'))
    >>> len(list(rows.blocks()))
    3
    """
    if isinstance(X, RowMatrix):
        return X
    block_size = None if block_size is None else int(block_size)
    if is_dask(X):
        from .dask import DaskRows

        return DaskRows(X)
    if hasattr(X, "__next__"):
        from .stream import StreamRows

        return StreamRows(X)
    if sp.issparse(X):
        source = SparseRows
    elif isinstance(X, np.ndarray) or is_row_sliceable(X):
        source = ArrayRows
    else:
        raise TypeError(
            f"X of type {type(X).__name__} must be an ndarray, a scipy sparse matrix, "
            "a dask array, an iterator of blocks, or have shape, dtype and row slicing."
        )
    return source(X, block_rows=block_size, n_jobs=n_jobs)
