"""Loops of alternating least squares and of additive biases, by rows.

An observed matrix comes as in ``observed.py``, with a range of rows ``start`` to
``stop``: of these alone the results are written, so that threads can share the output.
"""

import numpy as np

from .compiling import njit
from .observed import FAST

# Gathered rows are padded to a multiple of this, so that no loop over one leaves a rest
# that is not vectorised; and their number to a multiple of four, as so many share a loop.
_PAD = 16

# Numbers gathered at once: they stay in cache.
_BUFFER = 2**16


@njit(nogil=True, fastmath=FAST)
def half_step(start, stop, indptr, indices, values, V, ridge, max_cg, tol, U, objective):
    """Minimise ``||values_i - V_i u||^2 + ridge_i ||u||^2`` for each row i.

    Conjugate gradients from what `U` holds (Takacs, Pilaszy & Tikk 2011). The rows of
    `V` at a row's entries are gathered once; a product with their Gram matrix reads them
    from cache, once.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    values : ndarray of shape (nnz,)
    V : ndarray of shape (n, k)
    ridge : ndarray of shape (m,)
        Of the dtype of V.
    max_cg : int
        Most steps.
    tol : float
        Norm of the gradient at which to stop, relative to that at the start.
    U : ndarray of shape (m, k)
    objective : ndarray of float64 of shape (m,)
        The minima, as far as they were reached.
    """
    k = V.shape[1]
    width = -(-k // _PAD) * _PAD
    most = 4
    for i in range(start, stop):
        most = max(most, indptr[i + 1] - indptr[i])
    chunk = max(4, min(most + 3, _BUFFER // width) // 4 * 4)
    W = np.zeros((chunk, width), V.dtype)
    u = np.zeros(width, V.dtype)
    residual, direction, product = u.copy(), u.copy(), u.copy()
    for i in range(start, stop):
        first, last = indptr[i], indptr[i + 1]
        if first == last:
            U[i, :] = 0
            objective[i] = 0
            continue
        # Not ``u[:k] = U[i]``: numba compiles an error for other lengths, for seconds.
        for a in range(k):
            u[a] = U[i, a]
        residual[:] = 0
        loss = 0.0
        for p in range(first, last, chunk):
            n = min(chunk, last - p)
            _gather(indices[p : p + n], V, W)
            loss += _add_gradient(W, values[p : p + n], u, residual)
        shift = ridge[i]
        rho = u.dtype.type(0)
        for a in range(width):
            loss += shift * u[a] * u[a]
            residual[a] -= shift * u[a]
            direction[a] = residual[a]
            rho += residual[a] * residual[a]
        enough = tol * tol * rho
        for _ in range(max_cg):
            # Not a number, either, is a direction to go.
            if not rho > enough:
                break
            for a in range(width):
                product[a] = shift * direction[a]
            for p in range(first, last, chunk):
                n = min(chunk, last - p)
                if last - first > chunk:
                    _gather(indices[p : p + n], V, W)
                _add_normal_product(W, n, direction, product)
            curvature = u.dtype.type(0)
            for a in range(width):
                curvature += direction[a] * product[a]
            if not curvature > 0:
                break
            step = rho / curvature
            loss -= step * rho
            new = u.dtype.type(0)
            for a in range(width):
                u[a] += step * direction[a]
                residual[a] -= step * product[a]
                new += residual[a] * residual[a]
            turn = new / rho
            for a in range(width):
                direction[a] = residual[a] + turn * direction[a]
            rho = new
        for a in range(k):
            U[i, a] = u[a]
        objective[i] = loss


@njit(nogil=True, fastmath=FAST)
def _gather(indices, V, W):
    """Set the leading rows of `W` to those of `V`, then to 0 up to a multiple of four."""
    n, k = len(indices), V.shape[1]
    for t in range(n):
        row, other = W[t], V[indices[t]]
        for a in range(k):
            row[a] = other[a]
    for t in range(n, -(-n // 4) * 4):
        W[t, :] = 0


@njit(nogil=True, fastmath=FAST)
def _add_normal_product(W, n, x, out):
    """Add ``W^T W x`` of the first n rows to `out`."""
    width = len(x)
    for t in range(0, n, 4):
        w0, w1, w2, w3 = W[t], W[t + 1], W[t + 2], W[t + 3]
        s0 = s1 = s2 = s3 = x.dtype.type(0)
        for a in range(width):
            s0 += w0[a] * x[a]
            s1 += w1[a] * x[a]
            s2 += w2[a] * x[a]
            s3 += w3[a] * x[a]
        for a in range(width):
            out[a] += s0 * w0[a] + s1 * w1[a] + s2 * w2[a] + s3 * w3[a]


@njit(nogil=True, fastmath=FAST)
def _add_gradient(W, values, u, out):
    """Add ``W^T (values - W u)`` to `out`; return ``||values - W u||^2``."""
    n, width = len(values), len(u)
    loss = 0.0
    for t in range(0, n, 4):
        w0, w1, w2, w3 = W[t], W[t + 1], W[t + 2], W[t + 3]
        s0 = values[t]
        s1 = s2 = s3 = u.dtype.type(0)
        if t + 3 < n:
            s1, s2, s3 = values[t + 1], values[t + 2], values[t + 3]
        elif t + 2 < n:
            s1, s2 = values[t + 1], values[t + 2]
        elif t + 1 < n:
            s1 = values[t + 1]
        for a in range(width):
            s0 -= w0[a] * u[a]
            s1 -= w1[a] * u[a]
            s2 -= w2[a] * u[a]
            s3 -= w3[a] * u[a]
        loss += s0 * s0 + s1 * s1 + s2 * s2 + s3 * s3
        for a in range(width):
            out[a] += s0 * w0[a] + s1 * w1[a] + s2 * w2[a] + s3 * w3[a]
    return loss


@njit(nogil=True, fastmath=FAST)
def sums(start, stop, indptr, indices, values, columns, total, squares):
    """Sum what `columns` leave of each row, and its squares.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    values : ndarray of shape (nnz,)
    columns : ndarray of float64 of shape (n,)
        Subtracted.
    total, squares : ndarray of float64 of shape (m,)
    """
    for i in range(start, stop):
        one = two = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            left = values[p] - columns[indices[p]]
            one += left
            two += left * left
        total[i] = one
        squares[i] = two


@njit(nogil=True, fastmath=FAST)
def subtract(start, stop, indptr, indices, values, rows, columns, out):
    """Set `out` to `values` less what belongs to their row and to their column.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices : ndarray
        The pattern, of shape (m, n).
    values : ndarray of shape (nnz,)
    rows : ndarray of float64 of shape (m,)
    columns : ndarray of float64 of shape (n,)
    out : ndarray of shape (nnz,)
    """
    for i in range(start, stop):
        for p in range(indptr[i], indptr[i + 1]):
            out[p] = values[p] - rows[i] - columns[indices[p]]
