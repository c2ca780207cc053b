"""Compiled loops. The only module that imports numba, itself imported where it is used.

All release the GIL and run in one thread: threads belong to the row-block engine. Their
first call compiles them, a second or so, and keeps the result on disk.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# The product of a power of two and this de Bruijn number has its exponent, by way of a
# table, in the six leading bits.
_DE_BRUIJN = np.uint64(0x022FDD63CC95386D)
_LEADING = np.uint64(58)
_ONE = np.uint64(1)
_EXPONENTS = np.zeros(64, np.int64)
for _i in range(64):
    _EXPONENTS[((int(_DE_BRUIJN) << _i) & (2**64 - 1)) >> 58] = _i


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
    # Which entries of the row were added to, as bits.
    touched = np.zeros((n_columns + 63) // 64, np.uint64)
    end = 0
    for i in range(n_rows):
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            for t in range(nnz):
                column = targets[j, t]
                row[column] += signs[j, t] * data[p]
                touched[column >> 6] |= _ONE << np.uint64(column & 63)
        for word in range(len(touched)):
            bits = touched[word]
            touched[word] = 0
            while bits:
                lowest = bits & (~bits + _ONE)
                bits ^= lowest
                column = (word << 6) + _EXPONENTS[(lowest * _DE_BRUIJN) >> _LEADING]
                value = row[column]
                row[column] = 0
                # Written always, kept where it is not zero: a branch would cost more.
                out_indices[end] = column
                out_data[end] = value
                end += value != 0
        out_indptr[i + 1] = end
    return out_indptr, out_indices[:end], out_data[:end]
