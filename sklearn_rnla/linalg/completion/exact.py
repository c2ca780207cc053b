"""Exact recovery of a matrix of low rank from few of its entries."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .completability import Part, closure, core_of, determined_by, remainder

# The penalty: its first value relative to the top singular value of the zero-filled
# matrix, its factor from a sweep to the next, and where alternating ends, relative to the
# least singular value found, or to the top one where the rank is less than asked for.
_HOTTEST = 0.5
_COOLING = 0.95
_COLDEST = 1e-2
_FROZEN = 1e-7
# Least singular value to go on with, relative to the top one.
_EMBER = 1e-6
# Extrapolation of a sweep along the one before.
_MOMENTUM = 0.8
# Exponents of the scales of rows and columns, in the order they are tried.
_SCALINGS = (0.5, 0.0)
# A Gauss-Newton step is solved to this relative residual, or that of the entries where it
# is less, down to the second; in at most so many products.
_ACCURACY = (0.1, 1e-3)
_MOST_PRODUCTS = 300
# Steps have stalled where so many of them leave more than that of the residual.
_PATIENCE = 5
_STALLED = 0.9
# Rows and columns are set aside, up to so many times, where their squared norm is so many
# times the median.
_ATTEMPTS = 4
_OUTLYING = 8.0
# Below this many multiplications of a sweep, starting threads takes longer than it saves.
_THREADED = 2**25
# Power iterations to start from.
_N_POWERS = 8
# Penalty, relative to the mean square of a factor, that leaves a solution as it is but
# makes that of too few equations the one of least norm.
_TINY = 1e-14


class Recovery(NamedTuple):
    """A matrix ``U V^T`` that agrees with what was observed.

    Attributes
    ----------
    U : ndarray of shape (m, k)
        Its Gram matrix is that of V, diagonal, and falls: the singular values.
    V : ndarray of shape (n, k)
    residual : float
        Norm of what is left of the observed entries, relative to theirs.
    n_iter : int
        Sweeps and Gauss-Newton steps.
    converged : bool
        Whether the residual is at most the tolerance.
    history : list of float
        Relative residual after each iteration, in the norm and of the entries that it
        worked with.
    determined : tuple of ndarray of bool
        Rows, of shape (m,), and columns, of shape (n,), between which entries follow from
        those observed, as far as counting them tells. Others are a guess, whatever the
        residual: a row of fewer entries than the rank is among them.
    """

    U: np.ndarray
    V: np.ndarray
    residual: float
    n_iter: int
    converged: bool
    history: list
    determined: tuple


def recover(observed, rank, *, tol=1e-10, max_iter=1000, rng, report=None):
    """Find the matrix of a given rank from few of its entries.

    Rows and columns with no more entries than unknowns say nothing about the others, so
    they come last, one after the other, by small linear systems. What is left is found by
    alternating least squares with a penalty that falls, and then Gauss-Newton steps. Where
    these stall it is mostly for a row or column whose factor has gone to infinity on the
    wrong side: it is set aside, and follows from the others.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    rank : int
        At most m and n.
    tol : float, default=1e-10
        Residual, relative to the norm of the observed entries, to reach; at least the
        precision of the values.
    max_iter : int, default=1000
        Most iterations.
    rng : Generator
        For the start of a power iteration.
    report : callable, default=None
        Called after each iteration; a true answer asks to stop.

    Returns
    -------
    Recovery
        In float64. Of noisy entries a local minimum of the residual, not converged.

    Notes
    -----
    The sampling must be at random, and have some 1.2 times as many entries as a matrix of
    that rank has degrees of freedom, ``rank (m + n - rank)``. A sweep takes
    ``O(nnz rank^2)``, a step some 50 products of ``O(nnz rank)``.

    Alternating is momentum on ridge regressions. The penalty of a direction falls faster,
    the larger its singular value, as in iteratively reweighted least squares (Kuemmerle &
    Mayrink Verdun 2021): with the same penalty for all, what the large ones are shrunk by
    drowns the small. A Gauss-Newton step moves both factors as in GNMR (Zilber & Nadler
    2022), but by Levenberg-Marquardt, with one of the factors eliminated, by conjugate
    gradients in the basis where each column's equations are orthonormal.

    References
    ----------
    Candes & Recht (2009). Exact matrix completion via convex optimization. Foundations of
    Computational Mathematics 9.

    Zilber & Nadler (2022). GNMR: a provable one-line algorithm for low rank matrix
    recovery. SIAM Journal on Mathematics of Data Science 4.

    Kuemmerle & Mayrink Verdun (2021). A scalable second order method for ill-conditioned
    matrix completion from few samples. ICML.
    """
    tol = max(tol, np.finfo(observed.dtype).eps)
    whole = observed.with_values(observed.values.astype(np.float64, copy=False))
    if whole.nnz * rank**2 < _THREADED:
        whole.n_jobs = whole.T.n_jobs = 1
    core = core_of(whole, np.ones(whole.nnz, bool), rank)
    determined = determined_by(whole, core, rank)
    if not whole.values.any():
        U, V = (np.zeros((n, rank)) for n in whole.shape)
        return Recovery(
            U=U,
            V=V,
            residual=0.0,
            n_iter=0,
            converged=True,
            history=[],
            determined=determined,
        )
    if not core.rows.any():
        core = Part.whole(whole.shape)
    progress = _Progress(max_iter, report)
    least, best = np.inf, None
    # Another scaling is tried where the first does not solve the core.
    for exponent in _SCALINGS:
        a, b = _scales(whole, exponent)
        scaled = whole.with_values(whole.values * a[whole.rows] * b[whole.indices])
        U, V, solved = _recover_core(scaled, core, rank, tol, rng, progress)
        U, V = _balance(U / a[:, None], V / b[:, None])
        residual = _relative_residual(whole, U, V)
        if best is None or residual < least:
            least, best = residual, (U, V)
        if solved or progress.over:
            break
    # Rows and columns outside of the core, and the scales, are no longer held fixed.
    U, V = best
    U, V, residual = _gauss_newton(whole, U, V, _end(whole, U, V), tol, progress)
    return Recovery(
        U=U,
        V=V,
        residual=residual,
        n_iter=len(progress.history),
        converged=residual <= tol,
        history=progress.history,
        determined=determined,
    )


class _Progress:
    """Iterations made, and whether another may be."""

    def __init__(self, max_iter, report):
        self.history = []
        self.over = max_iter <= 0
        self._max_iter = max_iter
        self._report = report

    def add(self, residual):
        """Count an iteration."""
        self.history.append(float(residual))
        stop = self._report is not None and self._report()
        self.over = stop or len(self.history) >= self._max_iter


def _recover_core(observed, core, rank, tol, rng, progress):
    """Return factors, and whether those of the core reach the tolerance.

    Parameters
    ----------
    observed : Observed
    core : Part
    rank : int
    tol : float
    rng : Generator
    progress : _Progress

    Returns
    -------
    U, V : ndarray of shape (m, rank) and (n, rank)
        Of all rows and columns.
    solved : bool
    """
    inside = core.of(observed)
    U, V, penalty = _anneal(inside, rank, rng, progress)
    for attempt in range(_ATTEMPTS):
        U, V, residual = _gauss_newton(inside, U, V, penalty, tol, progress)
        if residual <= tol or progress.over or attempt == _ATTEMPTS - 1:
            break
        smaller = _without_outliers(inside, U, V, core, rank)
        if not smaller.rows.any():
            break
        core = smaller
        inside = core.of(observed)
    return *_extend(observed, U, V, core), residual <= tol


def _without_outliers(observed, U, V, core, rank):
    """Return the core of what has factors of common size."""
    kept = []
    for factor, inside in zip((U, V), core, strict=True):
        squares = np.square(factor).sum(axis=1)
        kept.append(inside & (squares <= _OUTLYING * np.median(squares[inside])))
    rows, columns = kept
    return core_of(observed, rows[observed.rows] & columns[observed.indices], rank)


def _extend(observed, U, V, core):
    """Return factors of all rows and columns from those of the core.

    First of what follows from the core, each by a linear system of its entries in what is
    known already, then of what is left, so that each fits if one can.
    """
    U, V, rank = U.copy(), V.copy(), U.shape[1]
    U[~core.rows], V[~core.columns] = 0, 0
    parts = [core, *closure(observed, core, rank)]
    for before, after in pairwise([*parts, *remainder(observed, parts[-1], rank)]):
        new, T = (
            Part(after.rows & ~before.rows, after.columns & ~before.columns),
            observed.T,
        )
        if new.rows.any():
            entries = new._replace(columns=before.columns).of(observed)
            U[new.rows] = _ridge_rows(entries, V, _tiny_penalty(V))[new.rows]
        if new.columns.any():
            entries = Part(new.columns, before.rows).of(T)
            V[new.columns] = _ridge_rows(entries, U, _tiny_penalty(U))[new.columns]
    return U, V


def _tiny_penalty(factor):
    """Return a penalty that only decides where there are too few equations."""
    return _TINY * (np.square(factor).mean() or 1.0)


def _scales(observed, exponent):
    """Return scales of rows and columns; to exponent 1, all have the same mean square."""
    squares = np.square(observed.values)
    a, b = (np.ones((n, 1)) for n in observed.shape)
    if exponent == 0:
        return a[:, 0], b[:, 0]
    by_column = squares[observed.order]
    for _ in range(5):
        for own, other, side, values in (
            (a, b, observed, squares),
            (b, a, observed.T, by_column),
        ):
            mean = side.product(values, other**2) / np.maximum(side.counts, 1)[:, None]
            own[:] = 1 / np.sqrt(np.where(mean > 0, mean, 1.0))
    return a[:, 0] ** exponent, b[:, 0] ** exponent


def _balance(U, V):
    """Return factors of the same product with the same, diagonal, Gram matrix.

    By QR factors, not by Gram matrices as in `balanced_factors`: the residual is to fall to
    rounding.
    """
    Qu, Ru = np.linalg.qr(U)
    Qv, Rv = np.linalg.qr(V)
    W, s, Zt = np.linalg.svd(Ru @ Rv.T)
    return Qu @ (W * np.sqrt(s)), Qv @ (Zt.T * np.sqrt(s))


def _residual(observed, U, V):
    """Return what ``U V^T`` leaves of the entries, of shape (nnz,)."""
    return observed.values - observed.sampled_product(U, V)


def _relative_residual(observed, U, V):
    """Return the norm of what is left, relative to that of the entries."""
    whole = np.linalg.norm(observed.values)
    return float(np.linalg.norm(_residual(observed, U, V)) / whole) if whole else 0.0


def _density(observed):
    """Return the part observed of the rows and columns that have an entry."""
    return observed.nnz / (
        np.count_nonzero(observed.counts) * np.count_nonzero(observed.T.counts)
    )


def _end(observed, U, V):
    """Return the penalty that alternating ends with."""
    gram = np.linalg.eigvalsh(U.T @ U)
    return _density(observed) * max(_COLDEST * gram[0], _FROZEN * gram[-1])


def _gram_factors(observed, V, penalty):
    """Return the Cholesky factor of the normal equations of each row."""
    from ..._kernels.exact import gram_factors

    k = V.shape[1]
    L = np.empty((observed.shape[0], k, k))
    observed.over_rows(gram_factors, V, penalty * np.ones(k), L)
    return L


def _row_solutions(observed, values, V, L):
    """Return the ridge regression of the values of each row on V, given its factor L."""
    from ..._kernels.exact import solve_rows

    out = np.empty((observed.shape[0], V.shape[1]))
    observed.over_rows(solve_rows, values, V, L, out)
    return out


def _ridge_rows(observed, V, penalty):
    """Return the ridge regression of the entries of each row on V."""
    return _row_solutions(observed, observed.values, V, _gram_factors(observed, V, penalty))


def _anneal(observed, rank, rng, progress):
    """Return factors, and the penalty they are the solution for.

    Alternating ridge regressions with momentum, from the leading singular vectors of the
    entries with zeros elsewhere, under a penalty that falls with each sweep.
    """
    T = observed.T
    V = np.linalg.qr(rng.standard_normal((observed.shape[1], rank)))[0]
    for _ in range(_N_POWERS):
        V, R = np.linalg.qr(T.product(T.values, observed.product(observed.values, V)))
    top = np.sqrt(np.linalg.norm(R, 2))
    U, V = _balance(observed.product(observed.values, V), V)
    ahead, density = U, _density(observed)
    penalty = _HOTTEST * top
    weights = np.ones(rank)
    while True:
        V = _ridge_rows(T, ahead, penalty * weights)
        before, U = U, _ridge_rows(observed, V, penalty * weights)
        progress.add(_relative_residual(observed, U, V))
        # Each singular direction has a penalty of its own. The factors are turned to these
        # directions, and the last step with them, to extrapolate along it.
        Ru, Rv = np.linalg.qr(U, mode="r"), np.linalg.qr(V, mode="r")
        _, s, Zt = np.linalg.svd(Ru @ Rv.T)
        # Those that the penalty has put out are kept alight, to grow when it has fallen.
        size = np.sqrt(np.maximum(s, _EMBER * s[0])) / np.maximum(s, _TINY * s[0])
        turn = Rv.T @ (Zt.T * size)
        U, before = U @ turn, before @ turn
        ahead = U + _MOMENTUM * (U - before)
        penalty *= _COOLING
        # The weights of iteratively reweighted least squares.
        # From 1, where the penalty rules, to 0, where the entries do.
        weights = penalty / (penalty + density * s)
        if penalty < max(_COLDEST * density * s[-1], _FROZEN * top) or progress.over:
            break
    V = _ridge_rows(T, U, penalty * weights)
    return *_balance(U, V), penalty


def _gauss_newton(observed, U, V, penalty, tol, progress):
    """Return factors of a smaller residual, and that.

    The penalty is on the step: it falls where the linear model is right.
    """
    norm = np.linalg.norm(observed.values)
    left = _residual(observed, U, V)
    sizes, growth = [np.linalg.norm(left)], 2.0
    while sizes[-1] > tol * norm and not progress.over:
        if len(sizes) > _PATIENCE and sizes[-1] > _STALLED * sizes[-1 - _PATIENCE]:
            break
        accuracy = np.clip(sizes[-1] / norm, _ACCURACY[1], _ACCURACY[0])
        # GNMR: X - U V^T - dU V^T - U dV^T in least squares; dU dV^T is left out.
        dU, dV, predicted = _step(observed, U, V, left, penalty, accuracy)
        trial = _balance(U + dU, V + dV)
        trial_left = _residual(observed, *trial)
        size = np.linalg.norm(trial_left)
        if size < sizes[-1]:
            # What the step gained, beside what the linear model had promised.
            gain, hoped = sizes[-1] ** 2 - size**2, sizes[-1] ** 2 - predicted**2
            (U, V), left = trial, trial_left
            penalty *= 0.1 if gain > 0.75 * hoped else 2.0 if gain < 0.25 * hoped else 1.0
            growth = 2.0
        else:
            # Repeated failures shorten the step ever faster (Nielsen 1999).
            penalty *= growth
            growth *= 2
        sizes.append(min(size, sizes[-1]))
        progress.add(sizes[-1] / norm)
    return U, V, float(sizes[-1] / norm) if norm else 0.0


def _step(observed, U, V, left, penalty, accuracy):
    """Return the step that makes `left` least, with a penalty, and what it predicts.

    With dU eliminated, dV solves a system whose part of each column has the Cholesky
    factor C; conjugate gradients take unknowns and residuals in that basis.
    """
    from ..._kernels.exact import backward, forward, projected_product

    T, order = observed.T, observed.order
    L, C = _gram_factors(observed, V, penalty), _gram_factors(T, U, penalty)
    # The right-hand side is that of columns, less what the best dU alone would explain.
    fitted = observed.sampled_product(_row_solutions(observed, left, V, L), V)
    r = T.product((left - fitted)[order], U)
    T.over_rows(forward, C, r)
    p, x = r.copy(), np.zeros_like(V)
    work, dV, product = np.empty_like(U), np.empty_like(V), np.empty_like(left)
    square = first = np.vdot(r, r)
    for _ in range(_MOST_PRODUCTS):
        if square <= accuracy**2 * first:
            break
        T.over_rows(backward, C, p, dV)
        observed.over_rows(projected_product, U, dV, V, L, work, product)
        q = T.product(product[order], U)
        q += penalty * dV
        T.over_rows(forward, C, q)
        length = square / np.vdot(p, q)
        x += length * p
        r -= length * q
        before, square = square, np.vdot(r, r)
        p *= square / before
        p += r
    # Back from the basis, and then dU, the best for this dV.
    T.over_rows(backward, C, x, dV)
    left = left - observed.sampled_product(U, dV)
    dU = _row_solutions(observed, left, V, L)
    return dU, dV, np.linalg.norm(left - observed.sampled_product(dU, V))
