"""Factors of observed entries by alternating least squares."""

from typing import NamedTuple

import numpy as np

# Sweeps without a gain after which held-out entries end it.
_PATIENCE = 2

# An estimated penalty is so much of the one that noise alone would not pass.
_THRESHOLD = 0.65

# About so many rows and columns tell the degrees of freedom.
_SAMPLED = 2000

# Of the start, relative to its size: a factor that is zero would remain so.
_JITTER = 0.1

# It has settled when an update changes it by less than this.
_SETTLED = 0.05


class ALS(NamedTuple):
    """Factors with ``U V^T`` close to the observed entries.

    Attributes
    ----------
    U : ndarray of shape (m, k)
        0 where a row has no entry; the solution of `fit_rows` for V.
    V : ndarray of shape (n, k)
    n_iter : int
        Sweeps.
    converged : bool
        Whether the tolerance was reached.
    history : list of float
        Of each sweep: the root mean square error of the held-out entries, or without
        them, the objective.
    penalty : float
        Given or estimated.
    """

    U: np.ndarray
    V: np.ndarray
    n_iter: int
    converged: bool
    history: list
    penalty: float


def als(
    observed,
    rank,
    *,
    penalty=None,
    reg_power=1.0,
    max_iter=50,
    tol=1e-4,
    n_cg=3,
    start=None,
    rng,
    held_out=None,
    report=None,
):
    """Minimise ``sum (x_ij - u_i^T v_j)^2`` and penalties by alternating ridge regressions.

    Zhou, Wilkinson, Schreiber & Pan (2008), with the half steps of Takacs, Pilaszy & Tikk
    (2011): a few steps of conjugate gradients for each row, from where it was. The last
    half step is accurate. A sweep takes about ``8 (n_cg + 1) nnz k`` flops.

    Parameters
    ----------
    observed : Observed
        Less the biases, as these are not penalised as factors are.
    rank : int
    penalty : float, default=None
        A row or column with c entries has ``penalty * c**reg_power``. None estimates it,
        in the first sweeps.
    reg_power : float, default=1.0
    max_iter : int, default=50
        Most sweeps.
    tol : float, default=1e-4
        Gain of a sweep, relative to what was reached, at which to stop: of the root mean
        square error of held-out entries, else of the objective.
    n_cg : int, default=3
        Steps of conjugate gradients.
    start : ndarray of shape (n, k), default=None
        V to start from; None is leading singular vectors, from a sketch.
    rng : Generator
    held_out : Observed, default=None
        Other entries. When their error has not fallen for two sweeps, V is that of the
        sweep where it was least.
    report : callable, default=None
        Called after each sweep; a true answer asks to stop.

    Returns
    -------
    ALS

    Notes
    -----
    A penalty above the largest singular value of the residuals, scaled by
    ``(n_i m_j)**(-reg_power / 2)`` for n_i entries in the row and m_j in the column, leaves
    no factor. For noise, that value is about ``noise * (sqrt(n) + sqrt(m)) *
    (n m)**(-reg_power / 2)`` at n and m entries: the penalty is a part of this. The noise
    is what the fit leaves, for as many degrees of freedom as are left to it, which a random
    sign for each entry tells (Hutchinson 1990).
    """
    from ..._kernels.als import half_step

    # Side 0 is rows, side 1 columns; a half step updates one of them, as rows of its view.
    sides = observed, observed.T
    V = _leading(observed, rank, rng) if start is None else np.array(start, observed.dtype)
    estimated = penalty is None
    if estimated:
        samples = [_random_signs(side, rng) for side in sides]
        energy = float(np.square(observed.values, dtype=np.float64).sum())
        noise = np.sqrt(energy / max(observed.nnz, 1))
        penalty = noise * _threshold(observed, reg_power)
    ridges = [_ridge(side, penalty, reg_power) for side in sides]
    if start is None:
        U = _from_zero(observed, V, ridges[0], n_cg, 0.0)
    else:
        U = fit_rows(observed, V, penalty=penalty, reg_power=reg_power)
    factors = U, V
    objectives = np.empty(len(U)), np.empty(len(V))
    best, best_V, idle, history, converged = np.inf, V, 0, [], False
    while len(history) < max_iter and not converged:
        # Columns first, as rows are fitted to them already. Each is a ridge regression with
        # penalty * c^reg_power: with 1, the weighted lambda of Zhou et al.
        for s in (1, 0):
            sides[s].over_rows(
                half_step,
                sides[s].values,
                factors[1 - s],
                ridges[s],
                n_cg,
                0.0,
                factors[s],
                objectives[s],
            )
        if held_out is None:
            norms = np.einsum("ij,ij->i", V, V, dtype=np.float64)
            reached = float(objectives[0].sum() + ridges[1] @ norms)
        else:
            left = held_out.values - held_out.sampled_product(U, V)
            reached = float(np.sqrt(np.square(left, dtype=np.float64).mean()))
        history.append(reached)
        idle = 0 if reached < best * (1 - tol) else idle + 1
        if reached < best:
            best = reached
            if held_out is not None:
                best_V = V.copy()
        if report is not None and report():
            break
        # Better factors leave less noise: the penalty moves with them until it has settled.
        if estimated:
            noise = _noise(observed, samples, factors, ridges)
            before, penalty = penalty, noise * _threshold(observed, reg_power)
            ridges = [_ridge(side, penalty, reg_power) for side in sides]
            estimated = abs(penalty - before) > _SETTLED * before
            if held_out is None:
                # The objective is another one now: what was best does not compare.
                best = np.inf
            continue
        converged = idle >= (1 if held_out is None else _PATIENCE)
    if held_out is not None:
        V = best_V
    U = fit_rows(observed, V, penalty=penalty, reg_power=reg_power)
    return ALS(
        U=U,
        V=V,
        n_iter=len(history),
        converged=converged,
        history=history,
        penalty=penalty,
    )


def fit_rows(observed, V, *, penalty, reg_power=1.0):
    """Return the factors of rows, given those of columns.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    V : ndarray of shape (n, k)
        Of its dtype.
    penalty, reg_power : float
        As for `als`.

    Returns
    -------
    ndarray of shape (m, k)
    """
    # More steps than k, for rounding.
    tol = 10 * float(np.finfo(V.dtype).eps)
    ridge = _ridge(observed, penalty, reg_power)
    return _from_zero(observed, V, ridge, 2 * V.shape[1] + 10, tol)


def _from_zero(observed, V, ridge, max_cg, tol):
    """Return factors of rows by conjugate gradients from zero."""
    from ..._kernels.als import half_step

    U = np.zeros((observed.shape[0], V.shape[1]), V.dtype)
    objective = np.empty(len(U))
    observed.over_rows(half_step, observed.values, V, ridge, max_cg, tol, U, objective)
    return U


def _ridge(observed, penalty, reg_power):
    """Return the penalty of each row."""
    ridge = penalty * observed.counts.astype(np.float64) ** reg_power
    return ridge.astype(observed.dtype)


def _threshold(observed, reg_power):
    """Return the penalty for unit noise."""
    some = [np.count_nonzero(side.counts) for side in (observed, observed.T)]
    n, m = (max(1.0, observed.nnz / max(one, 1)) for one in some)
    return float(_THRESHOLD * (np.sqrt(n) + np.sqrt(m)) * (n * m) ** (-reg_power / 2))


def _random_signs(side, rng):
    """Return some rows, from the lightest to the heaviest, and signs for their entries."""
    step = max(1, side.shape[0] // _SAMPLED)
    rows = np.argsort(side.counts, kind="stable")[step // 2 :: step]
    part = side.take(rows)
    return rows, part.with_values(rng.choice(np.array([-1.0, 1.0], side.dtype), part.nnz))


def _noise(observed, samples, factors, ridges):
    """Return the standard deviation of what the fit leaves."""
    U, V = factors
    left = observed.values - observed.sampled_product(U, V)
    # The trace of the map from entries to their fit, rows and columns each for themselves.
    dof = 0.0
    for (rows, signs), other, ridge in zip(samples, (V, U), ridges, strict=True):
        own = _from_zero(signs, other, ridge[rows], 5, 0.0)
        trace = float(signs.values @ signs.sampled_product(own, other))
        dof += max(trace, 0.0) * len(ridge) / len(rows)
    # However many factors, something is noise.
    remain = max(observed.nnz - dof, 0.1 * observed.nnz, np.finfo(float).tiny)
    return float(np.sqrt(np.square(left, dtype=np.float64).sum() / remain))


def _leading(observed, rank, rng):
    """Return V from singular vectors of the residuals, scaled by numbers of entries.

    Two steps of subspace iteration on ``x_ij / sqrt(n_i m_j)``: unscaled, the leading
    vectors would be those of the rows with most entries.
    """
    m, n = observed.shape
    T, dtype = observed.T, observed.dtype
    left, right = (1 / np.sqrt(np.maximum(side.counts, 1)) for side in (observed, T))
    scaled = observed.values * (left[observed.rows] * right[observed.indices]).astype(dtype)
    by_column = scaled[observed.order]
    V = rng.standard_normal((n, min(rank, m, n)), dtype)
    for _ in range(2):
        V = T.product(by_column, _scaled_basis(observed.product(scaled, V), 0.5))
    # Half of the singular values go to either side.
    V = _scaled_basis(V, 0.25) * (np.sqrt(observed.nnz) * right[:, None])
    # No direction is left at zero, where it would remain.
    start = rng.standard_normal((n, rank), dtype)
    start *= _JITTER * np.sqrt(np.square(V).mean())
    start[:, : V.shape[1]] += V
    return start.astype(dtype)


def _scaled_basis(V, power):
    """Return ``Q S**(1 - 2 power)``, where ``Q S W`` is V but for rounding."""
    # By the Gram matrix: what that loses is noise.
    squares, W = np.linalg.eigh((V.T @ V).astype(np.float64))
    limits = np.finfo(V.dtype)
    least = max(squares[-1] * float(limits.eps), float(limits.tiny))
    return V @ (W / np.maximum(squares, least) ** power).astype(V.dtype)
