"""What data may come as, beside arrays."""

import dask.array as da
import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator
from sklearn.preprocessing import StandardScaler

# Older scikit-learn finds no names in the frames of a newer polars.
NAMES_IN_POLARS = hasattr(
    StandardScaler().fit(pl.DataFrame({"a": [1.0, 2.0]})), "feature_names_in_"
)


class Lazy:
    """An array that only knows its shape, its dtype and slices of rows."""

    def __init__(self, X):
        self._X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._X[rows]


class WithDiagonal(LinearOperator):
    """An operator that knows its products and its diagonal."""

    def __init__(self, A):
        super().__init__(A.dtype, A.shape)
        self._A = A

    def _matmat(self, V):
        return self._A @ V

    def diagonal(self):
        return self._A.diagonal()


def on_disk(X, folder):
    """Return the rows as a memmap of a file in `folder`."""
    file = np.memmap(folder / "X.bin", dtype=X.dtype, mode="w+", shape=X.shape)
    file[:] = X
    return file


def sparse_chunks(X, n_rows):
    """Return the rows as a dask array of sparse chunks."""
    return da.from_array(X, chunks=(n_rows, -1)).map_blocks(
        sp.csr_matrix, dtype=X.dtype, meta=sp.csr_matrix((0, 0), dtype=X.dtype)
    )
