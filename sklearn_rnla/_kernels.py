"""Compiled loops. The only module that imports numba, itself imported where it is used.

All release the GIL and run in one thread: threads belong to the row-block engine. Their
first call compiles them, a second or so, and keeps the result on disk.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def sketch_columns(indptr, indices, data, targets, signs, out):
    """Add ``(S A)^T`` to `out`, for a CSC matrix A and a sparse S.

    Parameters
    ----------
    indptr, indices, data : ndarray
        The matrix A, of shape (b, n).
    targets, signs : ndarray of shape (b, nnz)
        Where the non-zeros of each column of S are, and what they are.
    out : ndarray of shape (n, l)
        Transposed, so that a column of A is added to one row, which stays in cache.
    """
    for j in range(len(indptr) - 1):
        column = out[j]
        for p in range(indptr[j], indptr[j + 1]):
            i = indices[p]
            for t in range(targets.shape[1]):
                column[targets[i, t]] += signs[i, t] * data[p]


@njit(nogil=True, cache=True)
def sketch_rows(indptr, indices, data, targets, signs, n_columns):
    """Return ``A S^T`` in CSR form, for a CSR matrix A and a sparse S.

    Parameters
    ----------
    indptr, indices, data : ndarray
        The matrix A, of shape (b, n).
    targets, signs : ndarray of shape (n, nnz)
        Where the non-zeros of each column of S are, and what they are.
    n_columns : int
        Rows l of S.

    Returns
    -------
    out_indptr, out_indices, out_data : ndarray
        With sorted indices, without stored zeros.
    """
    n_rows, nnz = len(indptr) - 1, targets.shape[1]
    most = 0
    for i in range(n_rows):
        most += min(n_columns, nnz * (indptr[i + 1] - indptr[i]))
    out_indptr = np.zeros(n_rows + 1, np.int64)
    # One more: below, a zero is written where the next entry will be.
    out_indices = np.empty(most + 1, np.int32)
    out_data = np.empty(most + 1, data.dtype)
    row = np.zeros(n_columns, data.dtype)
    end = 0
    for i in range(n_rows):
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            for t in range(nnz):
                row[targets[j, t]] += signs[j, t] * data[p]
        for column in range(n_columns):
            # A branch would be mispredicted: write always, go on where it counts.
            value = row[column]
            out_indices[end] = column
            out_data[end] = value
            end += value != 0
            row[column] = 0
        out_indptr[i + 1] = end
    return out_indptr, out_indices[:end], out_data[:end]
