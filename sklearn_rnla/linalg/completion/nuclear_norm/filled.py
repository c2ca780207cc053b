"""Completion by steps on the whole matrix, filled in."""

import numpy as np
import scipy.linalg

from ...dense.orth import product64
from .duality_gap import relative_gap
from .factors import factors_from
from .fit import dot, fit_of, settled, squared_norm, stalled

# Up to this many of the fewer of rows and columns, where at least this share of the
# entries is observed, or where the matrix is as small as this, it is filled in.
_NARROW, _SHARE, _SMALL = 160, 0.15, 2**14

# Below this penalty, relative to the largest singular value, squaring loses too much.
_GRAM_LIMIT = 1e-5

# Filled in, the gap is evaluated after every so many steps.
_GAP_STEPS = 4


def filled_in_pays(observed):
    """Return whether steps on the whole matrix are the faster ones."""
    m, n = observed.shape
    if observed.nnz == m * n or m * n <= _SMALL:
        return True
    return min(m, n) <= _NARROW and observed.nnz >= _SHARE * m * n


def fill_in(observed, penalty, most, *, tol, max_iter, start=None, report=None):
    """Complete a matrix by steps on all of it, filled in with what they predict.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    penalty : float
        By which singular values shrink.
    most : int
        How many are kept.
    tol : float
        Duality gap at which to stop; without a penalty as in `iterative_svd`.
    max_iter : int
    start : LowRankFit, default=None
    report : callable, default=None

    Returns
    -------
    LowRankFit
    """
    # The steps need right singular vectors: the fewer columns, the faster.
    side = observed if observed.shape[0] >= observed.shape[1] else observed.T
    m, n = side.shape
    x, places = side.values, side.rows.astype(np.int64) * n + side.indices
    whole = observed.nnz == m * n
    left, right = factors_from(start, most, observed)
    if side is not observed:
        left, right = right, left
    M = left @ right.T
    before, momentum, gap, converged = M, 1.0, np.inf, False
    residual = x - M.ravel()[places]
    total = np.einsum("ij,ij->", left, left, dtype=np.float64)
    history = [0.5 * squared_norm(residual) + penalty * total]
    scale, rounding = np.sqrt(squared_norm(x)), np.finfo(x.dtype).eps
    while len(history) <= max_iter and not converged:
        # Nesterov's extrapolation, then a proximal step: known entries take their values,
        # the others those of the model, and singular values shrink.
        after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        Y = M + x.dtype.type((momentum - 1) / after) * (M - before)
        Z = Y.copy()
        Z.ravel()[places] = x
        # S_penalty(P(X) + P_perp(Y)) of Soft-Impute; of Hard-Impute with penalty 0.
        values, V = _right_vectors(Z, penalty, whole)
        new = values - penalty
        kept = min(most, np.count_nonzero(new > 0))
        new, V = new[:kept], V[:, :kept]
        shrunk = Z @ (V * (new / values[:kept])).astype(x.dtype)
        moved = shrunk @ V.T.astype(x.dtype)
        rest = x - moved.ravel()[places]
        square = squared_norm(rest)
        objective = 0.5 * square + penalty * new.sum()
        # After a step that the extrapolation led astray, the next is from M itself.
        if momentum > 1 and objective > history[-1] * (1 + rounding):
            momentum, before = 1.0, M
            continue
        # Where the step turns against the last one, too, which rounding hides less
        # (O'Donoghue & Candes 2015).
        Y -= moved
        turns = np.vdot(Y, moved - M) > 0
        before, M, momentum = M, moved, 1.0 if turns else after
        left, right = shrunk, V.astype(x.dtype)
        history.append(objective)
        asked = report is not None and report()
        last = asked or len(history) > max_iter or stalled(history, x.dtype)
        if penalty == 0 or np.count_nonzero(values > penalty) > most:
            # Of a limited rank, or without a penalty, there is no certificate.
            converged = whole or settled(history, scale, tol)
        elif last or whole or len(history) % _GAP_STEPS == 2:
            R = np.zeros((m, n), x.dtype)
            R.ravel()[places] = rest
            through = dot(rest, x) - square
            gap = relative_gap(penalty, _norm(R), square, new.sum(), through)
            converged = gap <= tol
        if last:
            break
    if side is not observed:
        left, right = right, left
    return fit_of(left, right, gap, history, converged)


def _norm(R):
    """Return the spectral norm of a matrix of few columns."""
    return np.sqrt(np.linalg.eigvalsh(product64(R.T, R.T))[-1].clip(0))


def _right_vectors(Z, penalty, exact):
    """Return singular values and right singular vectors, the largest first.

    By the Gram matrix, unless `exact`, or values near a very small penalty matter.
    """
    if not exact:
        squares, V = np.linalg.eigh(product64(Z.T, Z.T))
        values = np.sqrt(np.maximum(squares[::-1], 0))
        if penalty == 0 or penalty > _GRAM_LIMIT * values[0]:
            return values, V[:, ::-1]
    _, values, Vt = scipy.linalg.svd(Z, full_matrices=False, check_finite=False)
    return values.astype(np.float64), Vt.T.astype(np.float64)
