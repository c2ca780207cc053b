"""Loops that solve a small least squares problem for each row of observed entries.

Row i of the model is a vector u, with its bias first, and an entry in column j is
``v[j, 0] + u[0] + u[1:] . v[j, 1:]``: a linear regression on ``x_j = (1, v[j, 1:])`` with a
Gaussian prior for u and noise of precision ``noise scale[i] column_scale[j]``.
"""

import numpy as np

from .cholesky import INLINE, factor, solve, solve_transposed
from .compiling import njit


@njit(**INLINE)
def _normal_equations(start, stop, indices, values, V, weight, column_scale, x, A, b):
    """Add the entries of a row, from `start` to `stop`, to ``A u = b``; lower triangle."""
    d = len(b)
    x[0] = 1
    for p in range(start, stop):
        other = V[indices[p]]
        t = weight * column_scale[indices[p]]
        for a in range(1, d):
            x[a] = other[a]
        y = values[p] - other[0]
        for a in range(d):
            ta = t * x[a]
            b[a] += ta * y
            for c in range(a + 1):
                A[a, c] += ta * x[c]


@njit(**INLINE)
def draw_rows(
    start,
    stop,
    indptr,
    indices,
    values,
    V,
    noise,
    scale,
    column_scale,
    precision,
    shift,
    normal,
    out,
):
    """Draw each row from its distribution given the columns.

    Parameters
    ----------
    start, stop : int
        Rows.
    indptr, indices, values : ndarray
        The observed entries, of shape (m, n).
    V : ndarray of shape (n, d)
        Columns, with their bias first.
    noise : float
        Precision of an entry.
    scale, column_scale : ndarray of shape (m,) and (n,)
        Its factors of rows and of columns.
    precision : ndarray of shape (d, d)
        Of the prior; float64, as all sums.
    shift : ndarray of shape (d,)
        The precision times the mean of the prior.
    normal : ndarray of shape (m, d)
        Standard normal numbers.
    out : ndarray of shape (m, d)
    """
    d = len(shift)
    A, b, x = np.empty((d, d)), np.empty(d), np.empty(d)
    for i in range(start, stop):
        # Not ``A[:] = precision``: numba compiles an error for another shape, at length.
        for a in range(d):
            b[a] = shift[a]
            for c in range(a + 1):
                A[a, c] = precision[a, c]
        weight = noise * scale[i]
        _normal_equations(
            indptr[i], indptr[i + 1], indices, values, V, weight, column_scale, x, A, b
        )
        factor(A, d)
        solve(A, d, b)
        for a in range(d):
            b[a] += normal[i, a]
        solve_transposed(A, d, b)
        for a in range(d):
            out[i, a] = b[a]


@njit(**INLINE)
def fold_rows(
    start,
    stop,
    indptr,
    indices,
    values,
    V,
    noise,
    column_scale,
    precision,
    shift,
    power,
    freedom,
    n_reweights,
    normal,
    sample,
    out,
    noise_out,
):
    """Solve for each row given the columns, and for the scale of its noise.

    As `draw_rows`, but for the scale: its expected value, where noise has Student's
    distribution, by `n_reweights` steps of expectation maximisation from one; and for
    `normal`, of shape (d,), which all rows share.

    Parameters
    ----------
    power : float
        The prior of the factors, not of the bias, of a row of c entries is taken as
        ``c^power``-fold.
    freedom : float
        Degrees of freedom of Student's distribution.
    n_reweights : int
        0 where noise is normal.
    sample : int
        Which one to set of those of the output.
    out : ndarray of shape (m, n_samples, d)
    noise_out : ndarray of shape (m, n_samples)
        Expected variance of an entry, but for the factor of its column.
    """
    d = len(shift)
    A, b, x = np.empty((d, d)), np.empty(d), np.empty(d)
    G, g = np.empty((d, d)), np.empty(d)
    u, s = np.empty(d), np.empty(d)
    for i in range(start, stop):
        scale, expected = 1.0, 1.0
        count = indptr[i + 1] - indptr[i]
        times = 1.0
        if power != 0 and count > 0:
            times = float(count) ** power
        G[:] = 0.0
        g[:] = 0.0
        _normal_equations(
            indptr[i], indptr[i + 1], indices, values, V, noise, column_scale, x, G, g
        )
        for step in range(n_reweights + 1):
            for a in range(d):
                # A bias has a penalty of its own.
                t = times if a else 1.0
                b[a] = t * shift[a] + scale * g[a]
                for c in range(a + 1):
                    A[a, c] = t * precision[a, c] + scale * G[a, c]
            factor(A, d)
            solve(A, d, b)
            if step == n_reweights:
                break
            for a in range(d):
                u[a] = b[a]
            solve_transposed(A, d, u)
            spread = 0.0
            for p in range(indptr[i], indptr[i + 1]):
                other = V[indices[p]]
                e = values[p] - other[0] - u[0]
                for a in range(1, d):
                    e -= u[a] * other[a]
                # The variance of the fitted value, by C^-1 x.
                variance = 0.0
                for a in range(d):
                    t = other[a] if a else 1.0
                    for c in range(a):
                        t -= A[a, c] * s[c]
                    s[a] = t * A[a, a]
                    variance += s[a] * s[a]
                spread += noise * column_scale[indices[p]] * (e * e + variance)
            scale = (freedom + count) / (freedom + spread)
            expected = (freedom + spread) / (freedom + count - 2)
        noise_out[i, sample] = expected / noise
        for a in range(d):
            b[a] += normal[a]
        solve_transposed(A, d, b)
        for a in range(d):
            out[i, sample, a] = b[a]


@njit(**INLINE)
def squared_errors(start, stop, indptr, indices, values, U, V, column_scale, out):
    """Set `out` to the sums of squared errors of each row, weighted and plain.

    Parameters
    ----------
    start, stop, indptr, indices, values, V, column_scale
        As in `draw_rows`.
    U : ndarray of shape (m, d)
    out : ndarray of shape (m, 2)
        Weights of entries are those of their columns alone.
    """
    d = U.shape[1]
    for i in range(start, stop):
        total, plain = 0.0, 0.0
        row = U[i]
        for p in range(indptr[i], indptr[i + 1]):
            other = V[indices[p]]
            e = values[p] - other[0] - row[0]
            for a in range(1, d):
                e -= row[a] * other[a]
            plain += e * e
            total += column_scale[indices[p]] * e * e
        out[i, 0] = total
        out[i, 1] = plain


@njit(**INLINE)
def predict_pairs(start, stop, rows, columns, U, V, mean, variance):
    """Set mean and variance over samples of the entries of the model at pairs.

    Parameters
    ----------
    start, stop : int
        Pairs.
    rows, columns : ndarray of int of shape (n_pairs,)
    U, V : ndarray of shape (m, n_samples, d) and (n, n_samples, d)
    mean, variance : ndarray of shape (n_pairs,)
    """
    n_samples, d = U.shape[1:]
    for p in range(start, stop):
        total, squares = 0.0, 0.0
        for s in range(n_samples):
            u, v = U[rows[p], s], V[columns[p], s]
            value = u[0] + v[0]
            for a in range(1, d):
                value += u[a] * v[a]
            total += value
            squares += value * value
        total /= n_samples
        mean[p] = total
        variance[p] = max(squares / n_samples - total * total, 0.0)
