"""The missing entries of rows of a Gaussian distribution, given those observed."""

import numpy as np

from .cholesky import INLINE, factor, solve, solve_transposed
from .compiling import njit


@njit(**INLINE)
def _invert(C, d, T):
    """Set the rows of T to those of ``C^-T``: an upper triangle."""
    for c in range(d):
        # Column c of C^-1 is row c of T.
        t = T[c]
        t[c] = C[c, c]
        for a in range(c + 1, d):
            row = C[a]
            s = 0.0
            for e in range(c, a):
                s -= row[e] * t[e]
            t[a] = s * row[a]


@njit(**INLINE)
def fill_rows(missing, gradient, precision, deviations, spread):
    """Set missing deviations to their conditional means, and add up their covariances.

    Parameters
    ----------
    missing : ndarray of bool of shape (m, p)
    gradient : ndarray of shape (m, p)
        The deviations, zero where missing, times the precision.
    precision : ndarray of shape (p, p)
        Inverse of the covariance.
    deviations : ndarray of shape (m, p)
        Of rows from the mean.
    spread : ndarray of shape (p, p)
        Sum of conditional covariances; lower triangle. Of shape (0, 0) if not wanted. A
        row without an entry adds nothing.

    Returns
    -------
    log_det : float
        Sum over rows of the log determinant of the precision of what is missing; nothing
        for a row without an entry.

    Notes
    -----
    For a row of which c entries are missing ``c^3 / 3`` flops, and ``4 c^3 / 3`` for the
    covariance.
    """
    p = missing.shape[1]
    A, T = np.empty((p, p)), np.empty((p, p))
    b = np.empty(p)
    which = np.empty(p, np.int64)
    total = 0.0
    for i in range(len(missing)):
        d = 0
        for j in range(p):
            if missing[i, j]:
                which[d] = j
                d += 1
        if d == 0 or d == p:
            continue
        for a in range(d):
            row = precision[which[a]]
            for c in range(a + 1):
                A[a, c] = row[which[c]]
            b[a] = -gradient[i, which[a]]
        factor(A, d)
        solve(A, d, b)
        solve_transposed(A, d, b)
        log_det = 0.0
        for a in range(d):
            deviations[i, which[a]] = b[a]
            log_det -= np.log(A[a, a])
        total += 2 * log_det
        if len(spread) == 0:
            continue
        _invert(A, d, T)
        for a in range(d):
            row, left = spread[which[a]], T[a]
            for c in range(a + 1):
                right = T[c]
                s = 0.0
                for e in range(a, d):
                    s += left[e] * right[e]
                row[which[c]] += s
    return total
