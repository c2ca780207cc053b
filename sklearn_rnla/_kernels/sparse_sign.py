"""Loops that apply a sparse sign sketch.

A sparse sign sketch S comes as codes, of shape (columns of S, nnz): twice the row of each
non-zero, plus one where it is negative. Non-zeros are +-scale. Half the memory of rows and
values, which are looked up at random; unsigned, so that no index is tested for its sign.
"""

import numpy as np

from .compiling import njit

# The product of a power of two and this de Bruijn number has its exponent, by way of a
# table, in the six leading bits.
_DE_BRUIJN = np.uint64(0x022FDD63CC95386D)
_LEADING = np.uint64(58)
_ONE = np.uint64(1)
_EXPONENTS = np.zeros(64, np.int64)
for _i in range(64):
    _EXPONENTS[((int(_DE_BRUIJN) << _i) & (2**64 - 1)) >> 58] = _i

# Rows of a dense matrix sketched together: a few cache lines, added at once.
_PANEL = 64


@njit(nogil=True)
def sketch_columns(indptr, indices, data, codes, scale, out):
    """Add ``(S A)^T`` to `out`, for a CSC matrix A and a sparse sign sketch S.

    Parameters
    ----------
    indptr, indices, data : ndarray
        The matrix A, of shape (b, n); in any order, duplicates are added up.
    codes : ndarray of unsigned int of shape (b, nnz)
        The sketch.
    scale : float
        Size of its entries.
    out : ndarray of shape (n, l)
        Transposed, so that a column of A is added to one row, which stays in cache.
    """
    signed = np.empty(2, data.dtype)
    for j in range(len(indptr) - 1):
        column = out[j]
        for p in range(indptr[j], indptr[j + 1]):
            i = indices[p]
            # Looked up by the sign: a branch would be mispredicted half of the time.
            signed[0] = data[p] * scale
            signed[1] = -signed[0]
            for t in range(codes.shape[1]):
                code = codes[i, t]
                column[code >> 1] += signed[code & 1]


@njit(nogil=True)
def sketch_dense_rows(A, codes, scale, out):
    """Set `out` to ``A S^T``, for a dense matrix A and a sparse sign sketch S.

    Parameters
    ----------
    A : ndarray of shape (b, n), C-contiguous
        The matrix.
    codes : ndarray of unsigned int of shape (n, nnz)
        The sketch.
    scale : float
        Size of its entries.
    out : ndarray of shape (b, l)
        What it holds is overwritten.
    """
    b, n = A.shape
    l = out.shape[1]
    # Rows side by side: those of an entry of S are added in vector instructions.
    panel = np.empty((l, _PANEL), A.dtype)
    signed = np.zeros((2, _PANEL), A.dtype)
    for start in range(0, b, _PANEL):
        width = min(_PANEL, b - start)
        panel[:] = 0
        for j in range(n):
            for k in range(width):
                signed[0, k] = A[start + k, j] * scale
                signed[1, k] = -signed[0, k]
            for t in range(codes.shape[1]):
                code = codes[j, t]
                for k in range(_PANEL):
                    panel[code >> 1, k] += signed[code & 1, k]
        for k in range(width):
            for r in range(l):
                out[start + k, r] = panel[r, k]


@njit(nogil=True)
def sketch_rows(
    indptr, indices, data, codes, scale, n_columns, out_indptr, out_indices, out_data
):
    """Write ``A S^T`` in CSR form, for a CSR matrix A and a sparse sign sketch S.

    Parameters
    ----------
    indptr, indices, data : ndarray
        The matrix A, of shape (b, n); in any order, duplicates are added up.
    codes : ndarray of unsigned int of shape (n, nnz)
        The sketch.
    scale : float
        Size of its entries.
    n_columns : int
        Rows l of S.
    out_indptr : ndarray of shape (b + 1,)
        The result, as are the next two: indices sorted, no zeros stored.
    out_indices, out_data : ndarray
        One longer than the result can be. Allocated by the caller, as numpy asks for
        large pages of memory and numba does not, which is half of the time.
    """
    row = np.zeros(n_columns, data.dtype)
    # Which entries of the row were added to, as bits: no sort, and no search of a row
    # with few of them.
    touched = np.zeros((n_columns + 63) // 64, np.uint64)
    signed = np.empty(2, data.dtype)
    end = np.uint64(0)
    out_indptr[0] = 0
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            signed[0] = data[p] * scale
            signed[1] = -signed[0]
            for t in range(codes.shape[1]):
                code = codes[j, t]
                column = code >> 1
                row[column] += signed[code & 1]
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
                end += np.uint64(value != 0)
        out_indptr[i + 1] = end
