"""Kernel ridge regression on landmarks, or on all rows."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from ..._refusals import refuse_not_finite
from ...operators import Moments
from ...operators.feature_map import add_gram, features, gram_rows
from ...operators.lanes import one_blas_thread
from ...operators.rows import add_states
from ...operators.tiles import consecutive, tile_rows
from ..dense.pcg import PCG, pcg
from ..dense.rank import rounding_of
from ..dense.ritz import descending_eigh
from ..dense.triangular import inverse_cholesky

# The choice of solver counts on this many iterations. The preconditioner sees a sample of
# this many rows for each landmark.
_TYPICAL_ITERATIONS = 25
_ROWS_PER_LANDMARK = 4

# Evaluating and using a kernel value takes as long as this many flops of a product.
_FUNCTION_FLOPS = 400

# The Gram matrix of a factor is summed over this many rows at a time.
_GRAM_ROWS = 8192


class KernelRidgeSolution(NamedTuple):
    """Coefficients of a kernel ridge regression, and how they were found.

    Attributes
    ----------
    dual : ndarray of shape (m, n_targets)
        Of the kernel at the centres. The targets may include the ones of an intercept.
    sums : ndarray of shape (n_targets,)
        Weighted sums over the rows of the targets less the predictions.
    alpha : float
        The penalty, chosen where several were given.
    search : PCG
        How the iteration ended: without one, after a step that was exact.
    """

    dual: np.ndarray
    sums: np.ndarray
    alpha: float
    search: PCG


class KernelRidgeModel(NamedTuple):
    """A kernel ridge regression, as a combination of the kernel at its centres.

    Attributes
    ----------
    points : ndarray or csr_array of shape (m, n_features)
        The centres.
    indices : ndarray of shape (m,) or None
        Which rows they are.
    columns : callable
        ``columns(B, dtype)`` is ``k(B, points)``.
    dual : ndarray of shape (m, n_targets)
        Predictions are ``k(B, points) dual + intercept``.
    intercept : ndarray of shape (n_targets,)
        Zero where none was asked for.
    solver : {"direct", "cg"}
        The one used.
    solution : KernelRidgeSolution
        What it returned.
    """

    points: object
    indices: np.ndarray | None
    columns: object
    dual: np.ndarray
    intercept: np.ndarray
    solver: str
    solution: KernelRidgeSolution


def kernel_ridge(
    rows,
    kernel,
    nystroem,
    Y,
    alphas,
    *,
    centers,
    solver,
    fit_intercept,
    tol,
    max_iter,
    n_jobs,
    rng,
    report=None,
):
    """Solve a kernel ridge regression.

    Minimises ``||Y - K c - b||^2 + alpha c^T K_cc c``, weighted as the rows are, with K
    the kernel between all rows and the centres, and K_cc that between centres.

    Parameters
    ----------
    rows : RowMatrix
        The data and their weights.
    kernel : KernelSource
        The kernel.
    nystroem : NystroemFeatures
        Features of the rows: those of the model, or of the preconditioner.
    Y : ndarray of shape (n_rows, n_targets)
        In float64.
    alphas : ndarray of shape (n_alphas,)
        Penalties; of several, the one of least generalised cross-validation error.
    centers : {"landmarks", "all"}
        Which rows are centres.
    solver : {"auto", "direct", "cg"}
        On landmarks: "auto" is the cheaper one. On all rows, it is "cg" always.
    fit_intercept : bool
        Whether to add a constant that is not penalised.
    tol : float
        Relative residual at which conjugate gradients stop.
    max_iter : int
        Most iterations.
    n_jobs : int or None
        Threads over tiles.
    rng : Generator
        Draws the sample that preconditions.
    report : callable, default=None
        Called after each iteration; a true answer asks to stop.

    Returns
    -------
    KernelRidgeModel

    Raises
    ------
    ValueError
        Where the data are not finite.
    """
    if fit_intercept:
        Y = np.column_stack([Y, np.ones(len(Y))])
    iterate = partial(pcg, tol=tol, max_iter=max_iter, report=report)
    if centers == "all":
        # Landmarks precondition only.
        points, indices, solver = rows.in_memory(), np.arange(rows.shape[0]), "cg"
        columns, A = kernel.at(points), kernel.matrix(points, n_jobs)
        F = features_of_rows(rows, nystroem)
        normal = gram_of_features(F, Y, rows.weight) if len(alphas) > 1 else None
        alpha = choose_alpha(rows, normal, Y, alphas, intercept=fit_intercept)
        solution = solve_all_rows(A, F, Y, alpha, rows.weight, iterate)
    else:
        points, indices = nystroem.points, nystroem.indices
        columns = nystroem.feature_map.columns
        if solver == "auto":
            solver = cheaper_solver(rows, nystroem, Y.shape[1], alphas)
        if solver == "direct":
            solution = solve_direct(rows, nystroem, Y, alphas, intercept=fit_intercept)
        else:
            solution = solve_cg(rows, nystroem, Y, float(alphas[0]), iterate, rng)
    dual, intercept = solution.dual, np.zeros(Y.shape[1])
    refuse_not_finite(dual)
    if fit_intercept:
        dual, intercept = with_intercept(dual, solution.sums)
    return KernelRidgeModel(
        points=points,
        indices=indices,
        columns=columns,
        dual=dual,
        intercept=intercept,
        solver=solver,
        solution=solution,
    )


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
    # If the kernel reproduces the constant itself, nothing is left for an intercept.
    intercept = sums[:-1] / sums[-1] if sums[-1] > 0 else np.zeros(len(sums) - 1)
    return dual[:, :-1] - np.outer(dual[:, -1], intercept), intercept


def cheaper_solver(rows, nystroem, n_targets, alphas):
    """Return "direct" or "cg", by a count of flops.

    Conjugate gradients solve for one penalty, and without any converge too slowly.
    """
    if len(alphas) > 1 or alphas[0] == 0:
        return "direct"
    rank, m = nystroem.feature_map.shape
    n, n_features = rows.shape
    a_row = n_features if not rows.sparse else max(1, rows.nnz // max(1, n))
    products = 1 if nystroem.cholesky is not None else 2
    direct = products * n * rank**2
    sampled = min(n, _ROWS_PER_LANDMARK * m)
    one = n * m * (2 * a_row + 4 * n_targets + _FUNCTION_FLOPS)
    return "cg" if 2 * sampled * rank**2 + _TYPICAL_ITERATIONS * one < direct else "direct"


def features_of_rows(rows, nystroem):
    """Return the features of all rows: those that the choice of landmarks left behind."""
    if nystroem.cholesky is not None:
        return nystroem.cholesky.factor
    feature_map = nystroem.feature_map
    return rows.map(features, feature_map, rows.dtype, n_columns=feature_map.shape[0])


def normal_equations(rows, nystroem, Y):
    """Return ``[F^T W F, F^T W Y, diag(Y^T W Y)]`` of the features F of all rows.

    In one pass, or from the factor that the choice of landmarks left behind. Sums are in
    float64, and the basis is that of the features: in single precision the equations of
    the kernel columns themselves would break down.
    """
    if nystroem.cholesky is not None:
        return gram_of_features(nystroem.cholesky.factor, Y, rows.weight)
    return rows.fold(fold_feature_gram, nystroem.feature_map, Y, rows.dtype)


def gram_of_features(F, Y, weight):
    """Return ``[F^T W F, F^T W Y, diag(Y^T W Y)]``, summed in float64."""
    state = None
    for part in consecutive(len(F), _GRAM_ROWS):
        state = add_gram(state, F[part], Y[part], None if weight is None else weight[part])
    return state


def fold_feature_gram(state, block, feature_map, Y, dtype):
    """Fold the normal equations of the features F: ``[F^T F, F^T Y, diag(Y^T Y)]``.

    F is made as many rows at a time as pay for adding its Gram matrix, in float64, to
    the sum.
    """
    for part in consecutive(block.values.shape[0], gram_rows(feature_map.shape[0])):
        F = features(block.values[part], feature_map, dtype)
        weight = None if block.weight is None else block.weight[part]
        targets = Y[block.start + part.start : block.start + part.stop]
        state = add_gram(state, F, targets, weight)
    return state


def fold_normal_product(state, block, columns, n_columns, V, Y, dtype):
    """Fold ``[K^T W (Y - K V)]`` of a block's kernel columns K; Y is None for zero.

    The block is evaluated a tile at a time and not kept. Products are in float64: V is
    large where the kernel is ill-conditioned, and cancels.
    """
    out = np.zeros((n_columns, V.shape[1]))
    for part in consecutive(block.values.shape[0], tile_rows(n_columns, 8)):
        K = columns(block.values[part], dtype).astype(np.float64, copy=False)
        residual = -(K @ V)
        if Y is not None:
            residual += Y[block.start + part.start : block.start + part.stop]
        if block.weight is not None:
            residual *= block.weight[part, np.newaxis]
        out += K.T @ residual
    return add_states(state, [out])


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
    KernelRidgeSolution

    Notes
    -----
    2 n m^2 flops, or n m^2 where the features are there already, and m^3 / 3; with
    several penalties an eigendecomposition, some 10 m^3.
    """
    G, FY, YY = normal_equations(rows, nystroem, Y)
    alpha = choose_alpha(rows, [G, FY, YY], Y, alphas, intercept=intercept)
    coef = solve_shifted(G, FY, alpha)
    return KernelRidgeSolution(
        dual=nystroem.feature_map.W.T @ coef,
        sums=weighted_sums(rows, Y) - FY[:, -1] @ coef,
        alpha=alpha,
        search=PCG(coef, n_iter=1, residual=0.0, converged=True),
    )


def choose_alpha(rows, normal, Y, alphas, *, intercept):
    """Choose among the penalties, by normal equations that only several of them need."""
    if len(alphas) == 1:
        return float(alphas[0])
    if intercept:
        normal = centered_targets(*normal, weighted_sums(rows, Y))
    return least_gcv_alpha(*normal, rows.n_samples - intercept, alphas)


def centered_targets(G, FY, YY, sums):
    """Return the normal equations about the means; drop the target of ones."""
    mean = sums[:-1] / sums[-1]
    F1, FY = FY[:, -1], FY[:, :-1]
    centered = Moments(sums[-1], F1, G).about_mean().squares
    return centered, FY - np.outer(F1, mean), YY[:-1] - sums[-1] * mean**2


def weighted_sums(rows, Y):
    """Return the sums of the targets, weighted as the rows."""
    return Y.sum(axis=0) if rows.weight is None else rows.weight.astype(np.float64) @ Y


def solve_shifted(G, B, alpha):
    """Solve ``(G + alpha I) X = B``; least squares where that is singular."""
    shifted = G.copy()
    shifted.flat[:: len(G) + 1] += alpha
    try:
        inverse = inverse_cholesky(shifted)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(shifted, B, rcond=None)[0]
    return inverse.T @ (inverse @ B)


def least_gcv_alpha(G, FY, YY, n, alphas):
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
    # The residual that no feature explains is the same for all penalties.
    safe = np.where(values > 0, values, 1.0)[:, np.newaxis]
    explained = np.where(values[:, np.newaxis] > 0, squared / safe, 0.0)
    rest = np.maximum(YY.sum() - explained.sum(), 0.0)
    errors = []
    for alpha in alphas:
        shrunk = alpha / (values + alpha) if alpha > 0 else (values == 0).astype(float)
        residual = rest + float((shrunk[:, np.newaxis] ** 2 * explained).sum())
        freedom = n - float((1 - shrunk).sum())
        # Without degrees of freedom left, zero over zero must not recommend a penalty.
        errors.append(residual / freedom**2 if freedom > rounding * n else np.inf)
    return float(alphas[int(np.argmin(errors))])


def solve_cg(rows, nystroem, Y, alpha, iterate, rng):
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
    iterate : callable
        `pcg`, with what stops it.
    rng : Generator
        Draws the sample.

    Returns
    -------
    KernelRidgeSolution

    Notes
    -----
    A pass evaluates n m kernel values, a tile at a time, and keeps none of them.
    """
    feature_map = nystroem.feature_map
    W, columns = feature_map.W, feature_map.columns
    m = feature_map.shape[1]

    def fold(V, targets):
        (out,) = rows.fold(fold_normal_product, columns, m, W.T @ V, targets, rows.dtype)
        return W @ out

    def product(V):
        return alpha * V - fold(V, None)

    Gs = _sampled_gram(rows, nystroem, rng)
    # Without a penalty to speak of, rounding must not make the preconditioner indefinite.
    shift = max(alpha, np.finfo(rows.dtype).eps * np.trace(Gs))
    Gs.flat[:: len(Gs) + 1] += shift if shift > 0 else 1.0
    inverse = inverse_cholesky(Gs)
    FY = fold(np.zeros((len(W), Y.shape[1])), Y)
    with one_blas_thread(getattr(rows, "n_jobs", 1)):
        result = iterate(product, FY, lambda R: inverse.T @ (inverse @ R))
    dual, sums = W.T @ result.X, weighted_sums(rows, Y) - FY[:, -1] @ result.X
    return KernelRidgeSolution(dual=dual, sums=sums, alpha=alpha, search=result)


def _sampled_gram(rows, nystroem, rng):
    """Estimate ``F^T W F`` from the landmarks and a sample of the other rows.

    Landmarks lie where few other rows do, in directions that a sample of all rows would
    miss. The other rows are drawn in proportion to their weights.
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
            fold_feature_gram,
            nystroem.feature_map,
            np.zeros((n, 0)),
            rows.dtype,
        )[0]
        for chosen, chosen_weight in strata
    )


def solve_all_rows(A, F, Y, alpha, weight, iterate):
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
    iterate : callable
        `pcg`, with what stops it.

    Returns
    -------
    KernelRidgeSolution

    Notes
    -----
    A product evaluates half of the n^2 kernel values; memory is that of F.
    """
    # Multiplied by the root of W from both sides, the matrix is symmetric.
    root = np.ones((len(Y), 1)) if weight is None else np.sqrt(weight)[:, np.newaxis]
    F = np.asarray(F, dtype=np.float64) * root
    inner = F.T @ F
    inner.flat[:: len(inner) + 1] += alpha
    half = inverse_cholesky(inner) @ F.T

    # The inverse of F F^T + alpha I, by the identity of Woodbury.
    def precondition(R):
        return (R - half.T @ (half @ R)) / alpha

    with one_blas_thread(A.n_jobs):
        result = iterate(
            lambda V: root * A.matmat(root * V) + alpha * V, root * Y, precondition
        )
    dual = root * result.X
    # What is left of the targets, weighted, is alpha times the coefficients.
    sums = alpha * dual.sum(axis=0)
    return KernelRidgeSolution(dual=dual, sums=sums, alpha=alpha, search=result)
