"""Loops over the observed entries of a matrix, by rows.

An observed matrix comes as ``indptr`` and ``indices`` of its rows, and a range of rows
``start`` to ``stop``: of these alone the results are written, so that threads can share
the output.
"""

from .compiling import njit

# Sums may be reordered into vector instructions, but NaN and infinity stay what they are.
FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(nogil=True, fastmath=FAST)
def sampled_product(start, stop, indptr, indices, U, V, out):
    """Set `out` to the observed entries of ``U V^T``.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    U, V : ndarray of shape (m, k) and (n, k)
    out : ndarray of shape (nnz,)
    """
    for i in range(start, stop):
        row = U[i]
        for p in range(indptr[i], indptr[i + 1]):
            other = V[indices[p]]
            total = row[0] * other[0]
            for a in range(1, len(row)):
                total += row[a] * other[a]
            out[p] = total


@njit(nogil=True, fastmath=FAST)
def sparse_product(start, stop, indptr, indices, values, V, out):
    """Set `out` to the product of a sparse matrix and a dense one.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    values : ndarray of shape (nnz,)
    V : ndarray of shape (n, k)
    out : ndarray of shape (m, k)
    """
    for i in range(start, stop):
        row = out[i]
        row[:] = 0
        for p in range(indptr[i], indptr[i + 1]):
            value = values[p]
            other = V[indices[p]]
            for a in range(len(row)):
                row[a] += value * other[a]
