"""Loops of alternating least squares and Gauss-Newton over observed entries, by rows.

The pattern and the range of rows come as in ``observed.py``. What is one small triangular
factor a row is an array of shape (m, k, k).
"""

from .compiling import njit
from .observed import FAST


@njit(nogil=True, fastmath=FAST)
def gram_factors(start, stop, indptr, indices, V, penalty, out):
    """Set `out` to the Cholesky factors of the Gram matrices of the rows of V observed.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    V : ndarray of shape (n, k)
    penalty : ndarray of shape (k,)
        Added to the diagonal. A row of fewer than k entries needs one that is positive.
    out : ndarray of shape (m, k, k)
        Lower triangles; what is above is left as it was.
    """
    k = V.shape[1]
    for i in range(start, stop):
        L = out[i]
        for a in range(k):
            for b in range(a + 1):
                L[a, b] = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            row = V[indices[p]]
            for a in range(k):
                value = row[a]
                for b in range(a + 1):
                    L[a, b] += value * row[b]
        for a in range(k):
            L[a, a] += penalty[a]
            for b in range(a + 1):
                total = L[a, b]
                for c in range(b):
                    total -= L[a, c] * L[b, c]
                if a > b:
                    L[a, b] = total / L[b, b]
                else:
                    # Rounding may leave less than was added.
                    L[a, a] = max(total, penalty[a]) ** 0.5


@njit(nogil=True, fastmath=FAST)
def _solve(factor, x):
    """Overwrite x by ``L^{-1} x``."""
    for a in range(len(x)):
        total = x[a]
        for b in range(a):
            total -= factor[a, b] * x[b]
        x[a] = total / factor[a, a]


@njit(nogil=True, fastmath=FAST)
def _solve_transposed(factor, x, out):
    """Set `out`, which may be x, to ``L^{-T} x``."""
    for a in range(len(x) - 1, -1, -1):
        total = x[a]
        for b in range(a + 1, len(x)):
            total -= factor[b, a] * out[b]
        out[a] = total / factor[a, a]


@njit(nogil=True, fastmath=FAST)
def forward(start, stop, indptr, indices, L, X):
    """Replace each row x of X by ``L^{-1} x``, with its own factor."""
    for i in range(start, stop):
        _solve(L[i], X[i])


@njit(nogil=True, fastmath=FAST)
def backward(start, stop, indptr, indices, L, X, out):
    """Set each row of `out` to ``L^{-T} x``, for x the row of X, with its own factor."""
    for i in range(start, stop):
        _solve_transposed(L[i], X[i], out[i])


@njit(nogil=True, fastmath=FAST)
def solve_rows(start, stop, indptr, indices, values, V, L, out):
    """Set the rows of `out` to the least squares solutions of ``out V^T = values``.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    values : ndarray of shape (nnz,)
    V : ndarray of shape (n, k)
    L : ndarray of shape (m, k, k)
        From `gram_factors` of V.
    out : ndarray of shape (m, k)
    """
    k = V.shape[1]
    for i in range(start, stop):
        x = out[i]
        x[:] = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            value, row = values[p], V[indices[p]]
            for a in range(k):
                x[a] += value * row[a]
        _solve(L[i], x)
        _solve_transposed(L[i], x, x)


@njit(nogil=True, fastmath=FAST)
def projected_product(start, stop, indptr, indices, U, D, V, L, work, out):
    """Set `out` to the entries of ``U D^T`` less what ``X V^T`` fits of them in each row.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    U : ndarray of shape (m, k)
    D, V : ndarray of shape (n, k)
    L : ndarray of shape (m, k, k)
        From `gram_factors` of V.
    work : ndarray of shape (m, k)
        Set to X.
    out : ndarray of shape (nnz,)
    """
    k = V.shape[1]
    for i in range(start, stop):
        row = U[i]
        for p in range(indptr[i], indptr[i + 1]):
            other = D[indices[p]]
            total = row[0] * other[0]
            for a in range(1, k):
                total += row[a] * other[a]
            out[p] = total
    solve_rows(start, stop, indptr, indices, out, V, L, work)
    for i in range(start, stop):
        row = work[i]
        for p in range(indptr[i], indptr[i + 1]):
            other = V[indices[p]]
            total = out[p]
            for a in range(k):
                total -= row[a] * other[a]
            out[p] = total
