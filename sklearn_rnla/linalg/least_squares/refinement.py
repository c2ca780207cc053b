"""Conjugate gradients on normal equations, restarted with the true residual."""

import numpy as np

from ...operators import passes
from ..dense.pcg import pcg

_EPS = np.finfo(np.float64).eps

# Rounding errors have random signs: their sum is about this part of the bound on it.
_RANDOM_SIGNS = 0.01

# Errors relative to the targets of which nobody is to be warned, and of which everybody
# is, be they rounding or not.
_NEGLIGIBLE, _NOTICEABLE = 1e-11, 1e-6

# A preconditioner so near to the inverse that a step with it alone is worth taking.
_NEARLY_EXACT = 0.1

# Restarts with the true residual, and a gain of a restart that is none.
_MAX_STAGES, _STAGNATION = 6, 0.5


def iterate(problem, W, X, *, tol, max_iter, report):
    """Conjugate gradients on the preconditioned normal equations, restarted.

    Epperly, Meier & Nakatsukasa (2025), SPIR: sketch-and-precondition with iterative
    refinement is backward stable, where one run of an iteration is not. Deviations:
    restarts until rounding allows no more, and a plain step in the place of an iteration
    where the preconditioner is nearly exact: the last step is not verified where its
    distortion says that this would be in vain. Without a preconditioner, a
    multiple of the identity stands for it: from each run on, by the least singular value
    that the run has seen, without which neither the error nor rounding can be told.

    Parameters
    ----------
    problem : RidgeProblem
    W : Preconditioner
    X : ndarray of shape (n_features, n_targets)
        Where to start.
    tol : float
    max_iter : int
    report : callable or None

    Returns
    -------
    X : ndarray of shape (n_features, n_targets)
    n_iter : int
    error_estimate : float
        ``sqrt(||A (X - X*)||^2 + alpha ||X - X*||^2) / ||Y||``, the largest over targets.
    converged : bool
    """
    condition, size, distortion = W.condition, W.size, W.distortion
    # The penalty bounds the least singular value.
    with np.errstate(divide="ignore"):
        most = 1 / np.sqrt(problem.alphas)
    known = np.where(problem.scale > 0, problem.scale, 1.0)
    n_iter, last, best, stopped = 0, np.inf, None, False

    def asked_to_stop():
        nonlocal stopped
        stopped = report is not None and report()
        return stopped

    for stage in range(_MAX_STAGES):
        G, squares = problem.gradient(X)
        passes.check_finite(squares.sum(), np.float64)
        n_iter += 1
        # The unknowns are Z of X = W Z: their normal equations have the condition of A W.
        H = W.adjoint(G)
        energy = np.linalg.norm(H, axis=0)
        # The gradient is known to the rounding errors of its two products.
        rounding = _EPS * (size * np.linalg.norm(X, axis=0) + condition * np.sqrt(squares))
        target = np.maximum(tol * problem.scale, _RANDOM_SIGNS * rounding)
        excess = float((energy / np.where(target > 0, target, 1.0)).max(initial=0.0))
        # What is minimised is that of the solution plus the square of the error.
        bound = np.sqrt(squares + problem.alphas * np.einsum("ij,ij->j", X, X))
        step = W.apply(H) if 0 < distortion <= _NEARLY_EXACT else None
        if step is not None and distortion * excess <= 1:
            # It costs nothing more, and leaves of the error what the distortion is.
            left = np.minimum(distortion * energy, bound) + rounding
            return X + step, n_iter, float((left / known).max(initial=0.0)), True
        # The identity does not tell errors of the residual from those of its product.
        level = 10 * rounding
        if W.V is None:
            lengths = size * np.linalg.norm(X, axis=0) + np.sqrt(squares)
            lengths = np.minimum(_EPS * condition * lengths, _NOTICEABLE * known)
            level = np.maximum(level, lengths)
        enough = bool(np.all(energy <= np.maximum(level, max(tol, _NEGLIGIBLE) * known)))
        error = np.minimum(energy / (1 - distortion), bound) + rounding
        if W.V is None and not enough:
            # Singular values that no run has come across may hide any part of it.
            error = bound + rounding
        error = float((error / known).max(initial=0.0))
        if best is None or excess < best[0]:
            best = excess, X, error, enough
        gain, last = excess / last, excess
        if excess <= 1 or gain > _STAGNATION or n_iter >= max_iter or stopped:
            break
        if step is not None and (not stage or gain < _NEARLY_EXACT):
            X = X + step
            continue
        # Within a run the gradient drifts from the true one by rounding errors.
        stage_tol = max(0.5 / excess, 10 * _EPS * condition)
        result = pcg(
            lambda Z, W=W: W.adjoint(problem.product(W.apply(Z))),
            H,
            np.copy,
            tol=min(stage_tol, 0.5),
            max_iter=max_iter - n_iter,
            report=asked_to_stop,
        )
        n_iter += result.n_iter
        X = X + W.apply(result.X)
        if W.V is None:
            seen = np.clip(result.least_ritz_values(), _EPS, 1.0)
            scale = np.minimum(W.scale / np.sqrt(seen), most)
            growth, W = float((scale / W.scale).max()), W._replace(scale=scale)
            condition, last = condition * growth, last * growth
            best = best[0] * growth, *best[1:]
    _, X, error, converged = best
    return X, n_iter, error, converged
