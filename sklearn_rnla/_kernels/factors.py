"""Loops of the search along a line of two factors."""

from .compiling import njit
from .observed import FAST


@njit(nogil=True, fastmath=FAST)
def line_terms(start, stop, indptr, indices, residual, left, right, first, second, sums):
    """Set what the residual loses along ``(U + t dU) (V + t dV)^T``, and its products.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    residual : ndarray of shape (nnz,)
    left, right : ndarray of shape (m, 2 k) and (n, 2 k)
        ``[U, dU]`` and ``[V, dV]``.
    first, second : ndarray of shape (nnz,)
        Set to the observed entries of ``U dV^T + dU V^T`` and ``dU dV^T``.
    sums : ndarray of float64 of shape (m, 5)
        Set to each row's inner products of the residual with `first` and `second`, and
        of these: (first, first), (first, second), (second, second).
    """
    k = left.shape[1] // 2
    for i in range(start, stop):
        u, du = left[i, :k], left[i, k:]
        total = sums[i]
        total[:] = 0
        for p in range(indptr[i], indptr[i + 1]):
            both = right[indices[p]]
            v, dv = both[:k], both[k:]
            one = u[0] * dv[0] + du[0] * v[0]
            two = du[0] * dv[0]
            for a in range(1, k):
                one += u[a] * dv[a] + du[a] * v[a]
                two += du[a] * dv[a]
            first[p] = one
            second[p] = two
            total[0] += residual[p] * one
            total[1] += residual[p] * two
            total[2] += one * one
            total[3] += one * two
            total[4] += two * two
