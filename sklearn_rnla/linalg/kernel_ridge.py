"""Kernel ridge regression on landmarks, or on all rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..operators import kernel_passes
from ..operators._rows import one_blas_thread
from .numerical_rank import rounding_of
from .pcg import pcg
from .ritz import descending_eigh
from .triangular import inverse_cholesky

# Iterations that the choice of solver counts on, and rows of the preconditioner's sample
# for each landmark.
_TYPICAL_ITERATIONS = 25
_ROWS_PER_LANDMARK = 4

# Flops at the peak of a product that evaluating and using a kernel value costs as much as.
_FUNCTION_FLOPS = 400

# Rows of a factor whose Gram matrix is added to the sum at a time.
_GRAM_ROWS = 8192


class RidgeSolution(NamedTuple):
    """Coefficients of a kernel ridge regression.

    Attributes
    ----------
    dual : ndarray of shape (m, n_targets)
        Predictions are ``k(B, Z) dual``.
    alpha : float
        The penalty, chosen where several were given.
    n_iter : int
        Iterations, or 1.
    residual : float
        Relative residual of the iteration; 0 without one.
    converged : bool
    sums : ndarray of shape (n_targets,)
        Weighted sums over the samples of the targets less the predictions.
    """

    dual: np.ndarray
    alpha: float
    n_iter: int
    residual: float
    converged: bool
    sums: np.ndarray


def with_intercept(dual, sums):
    """Return coefficients and intercepts that minimise over a constant, too.

    Parameters
    ----------
    dual : ndarray of shape (m, n_targets + 1)
        Coefficients of the targets and, last, of a target of ones.
    sums : ndarray of shape (n_targets + 1,)
        Weighted sums of what they leave: the constant b brings those of the targets less
        b times the ones' to zero.

    Returns
    -------
    dual : ndarray of shape (m, n_targets)
    intercept : ndarray of shape (n_targets,)
    """
    # Where the kernel itself holds the constant, nothing is left for an intercept.
    intercept = sums[:-1] / sums[-1] if sums[-1] > 0 else np.zeros(len(sums) - 1)
    return dual[:, :-1] - np.outer(dual[:, -1], intercept), intercept


def cheaper_solver(rows, nystroem, n_targets):
    """Return "direct" or "cg", by a count of flops."""
    rank, m = nystroem.feature_map.shape
    n, n_features = rows.shape
    a_row = n_features if not rows.sparse else max(1, rows.nnz // max(1, n))
    products = 1 if nystroem.cholesky is not None else 2
    direct = products * n * rank**2
    sampled = min(n, _ROWS_PER_LANDMARK * m)
    one = n * m * (2 * a_row + 4 * n_targets + _FUNCTION_FLOPS)
    return "cg" if 2 * sampled * rank**2 + _TYPICAL_ITERATIONS * one < direct else "direct"


def normal_equations(rows, nystroem, Y):
    """Return ``[F^T W F, F^T W Y, diag(Y^T W Y)]`` of the features F of all rows.

    In one pass, or from the factor that the choice of landmarks left behind. Sums are in
    float64, and the basis is that of the features: in single precision the equations of
    the kernel columns themselves would break down.
    """
    if nystroem.cholesky is not None:
        return gram_of_features(nystroem.cholesky.factor, Y, rows.weight)
    return rows.fold(kernel_passes.fold_feature_gram, nystroem.feature_map, Y, rows.dtype)


def gram_of_features(F, Y, weight):
    """Return ``[F^T W F, F^T W Y, diag(Y^T W Y)]``, summed in float64."""
    state = None
    for start in range(0, len(F), _GRAM_ROWS):
        part = slice(start, start + _GRAM_ROWS)
        part_weight = None if weight is None else weight[part]
        state = kernel_passes.add_gram(state, F[part], Y[part], part_weight)
    return state


def solve_direct(rows, nystroem, Y, alphas, *, intercept=False):
    """Solve by the normal equations.

    Parameters
    ----------
    rows : RowMatrix
    nystroem : NystroemFeatures
    Y : ndarray of shape (n_rows, n_targets)
        In float64.
    alphas : ndarray
        Penalties; of several, the one of least generalised cross-validation error.
    intercept : bool
        Whether the last column of Y is the ones of an intercept.

    Returns
    -------
    RidgeSolution

    Notes
    -----
    2 n m^2 flops, or n m^2 where the features are there already, and m^3 / 3; with
    several penalties an eigendecomposition, some 10 m^3.
    """
    G, FY, YY = normal_equations(rows, nystroem, Y)
    if len(alphas) == 1:
        alpha, coef = float(alphas[0]), _solve(G, FY, alphas[0])
    else:
        if intercept:
            normal = centered_targets(G, FY, YY, weighted_sums(rows, Y))
        else:
            normal = G, FY, YY
        alpha = choose_alpha(*normal, rows.n_samples - intercept, alphas)
        coef = _solve(G, FY, alpha)
    sums = weighted_sums(rows, Y) - FY[:, -1] @ coef
    return RidgeSolution(nystroem.feature_map.W.T @ coef, alpha, 1, 0.0, True, sums)


def centered_targets(G, FY, YY, sums):
    """Return the normal equations about the means; drop the target of ones."""
    mean = sums[:-1] / sums[-1]
    F1, FY = FY[:, -1], FY[:, :-1]
    centered = G - np.outer(F1, F1) / sums[-1]
    return centered, FY - np.outer(F1, mean), YY[:-1] - sums[-1] * mean**2


def weighted_sums(rows, Y):
    """Return the sums of the targets, weighted as the rows."""
    return Y.sum(axis=0) if rows.weight is None else rows.weight.astype(np.float64) @ Y


def _solve(G, B, alpha):
    """Solve ``(G + alpha I) X = B``; least squares where that is singular."""
    shifted = G.copy()
    shifted.flat[:: len(G) + 1] += alpha
    try:
        inverse = inverse_cholesky(shifted)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(shifted, B, rcond=None)[0]
    return inverse.T @ (inverse @ B)


def choose_alpha(G, FY, YY, n, alphas):
    """Choose the penalty of least generalised cross-validation error.

    Golub, Heath & Wahba (1979): ``n ||y - H y||^2 / (n - tr H)^2``, summed over targets,
    for all penalties from one eigendecomposition.

    Parameters
    ----------
    G, FY, YY
        The normal equations; about the means where there is an intercept.
    n : int
        Degrees of freedom of the data.
    alphas : ndarray

    Returns
    -------
    float
    """
    values, U = descending_eigh(G)
    rounding = rounding_of(G.shape)
    values = np.where(values > rounding * values[0], values, 0.0)
    squared = (U @ FY) ** 2
    # What no direction explains is the same for all.
    safe = np.where(values > 0, values, 1.0)[:, np.newaxis]
    explained = np.where(values[:, np.newaxis] > 0, squared / safe, 0.0)
    rest = np.maximum(YY.sum() - explained.sum(), 0.0)
    errors = []
    for alpha in alphas:
        shrunk = alpha / (values + alpha) if alpha > 0 else (values == 0).astype(float)
        residual = rest + float((shrunk[:, np.newaxis] ** 2 * explained).sum())
        freedom = n - float((1 - shrunk).sum())
        # Where nothing is left to judge by, zero over zero is no recommendation.
        errors.append(residual / freedom**2 if freedom > rounding * n else np.inf)
    return float(alphas[int(np.argmin(errors))])


def solve_cg(rows, nystroem, Y, alpha, *, tol, max_iter, rng, report=None):
    """Solve the normal equations by conjugate gradients, a pass over the rows each.

    Rudi, Carratino & Rosasco (2017), in the basis of the features, where the penalty is
    the identity, and with the Gram matrix of a sample of the rows in the place of
    that of the landmarks: landmarks here are not a uniform sample.

    Parameters
    ----------
    rows : RowMatrix
    nystroem : NystroemFeatures
    Y : ndarray of shape (n_rows, n_targets)
    alpha : float
    tol : float
        Relative residual of the normal equations at which to stop.
    max_iter : int
    rng : Generator
        Draws the sample.
    report : callable, default=None

    Returns
    -------
    RidgeSolution

    Notes
    -----
    A pass evaluates n m kernel values, a tile at a time, and keeps none of them.
    """
    feature_map = nystroem.feature_map
    W, columns = feature_map.W, feature_map.columns
    m = feature_map.shape[1]

    def fold(V, targets):
        (out,) = rows.fold(
            kernel_passes.fold_normal_product, columns, m, W.T @ V, targets, rows.dtype
        )
        return W @ out

    def product(V):
        return alpha * V - fold(V, None)

    Gs = _sampled_gram(rows, nystroem, rng)
    shift = max(alpha, np.finfo(rows.dtype).eps * np.trace(Gs))
    Gs.flat[:: len(Gs) + 1] += shift if shift > 0 else 1.0
    inverse = inverse_cholesky(Gs)
    FY = fold(np.zeros((len(W), Y.shape[1])), Y)
    with one_blas_thread(getattr(rows, "n_jobs", 1)):
        result = pcg(
            product,
            FY,
            lambda R: inverse.T @ (inverse @ R),
            tol=tol,
            max_iter=max_iter,
            report=report,
        )
    sums = weighted_sums(rows, Y) - FY[:, -1] @ result.X
    return RidgeSolution(
        dual=W.T @ result.X,
        alpha=alpha,
        n_iter=result.n_iter,
        residual=result.residual,
        converged=result.converged,
        sums=sums,
    )


def _sampled_gram(rows, nystroem, rng):
    """Estimate ``F^T W F`` from the landmarks and a sample of the other rows.

    Landmarks lie where few other rows do: a sample of all rows would miss those
    directions. The others are drawn in proportion to their weights.
    """
    n = rows.shape[0]
    weight = np.ones(n) if rows.weight is None else rows.weight.astype(np.float64)
    strata = []
    if nystroem.indices is not None:
        landmarks = np.unique(nystroem.indices)
        strata.append((landmarks, weight[landmarks]))
        weight[landmarks] = 0.0
    cumulative = np.cumsum(weight)
    if cumulative[-1] > 0:
        size = _ROWS_PER_LANDMARK * nystroem.feature_map.shape[1]
        drawn = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
        chosen, counts = np.unique(drawn.clip(max=n - 1), return_counts=True)
        strata.append((chosen, counts * (cumulative[-1] / size)))
    return sum(
        rows.take(chosen)
        .with_weight(chosen_weight)
        .fold(
            kernel_passes.fold_feature_gram,
            nystroem.feature_map,
            np.zeros((n, 0)),
            rows.dtype,
        )[0]
        for chosen, chosen_weight in strata
    )


def solve_all(A, F, Y, alpha, weight, *, tol, max_iter, report=None):
    """Solve ``(K + alpha W^-1) C = Y`` with all rows as centres.

    Diaz, Epperly, Frangella, Tropp & Webber (2023): conjugate gradients, preconditioned
    by the partial Cholesky factor of randomly chosen pivots.

    Parameters
    ----------
    A : KernelMatrix
        K.
    F : ndarray of shape (n, rank)
        A factor of most of it.
    Y : ndarray of shape (n, n_targets)
    alpha : float
    weight : ndarray of shape (n,) or None
    tol : float
    max_iter : int
    report : callable, default=None

    Returns
    -------
    RidgeSolution

    Notes
    -----
    A product evaluates half of the n^2 kernel values; memory is that of F.
    """
    root = np.ones((len(Y), 1)) if weight is None else np.sqrt(weight)[:, np.newaxis]
    F = np.asarray(F, dtype=np.float64) * root
    inner = F.T @ F
    inner.flat[:: len(inner) + 1] += alpha
    half = inverse_cholesky(inner) @ F.T

    def precondition(R):
        return (R - half.T @ (half @ R)) / alpha

    with one_blas_thread(A.n_jobs):
        result = pcg(
            lambda V: root * A.matmat(root * V) + alpha * V,
            root * Y,
            precondition,
            tol=tol,
            max_iter=max_iter,
            report=report,
        )
    dual = root * result.X
    # What is left of the targets, weighted, is alpha times the coefficients.
    return RidgeSolution(
        dual=dual,
        alpha=alpha,
        n_iter=result.n_iter,
        residual=result.residual,
        converged=result.converged,
        sums=alpha * dual.sum(axis=0),
    )
