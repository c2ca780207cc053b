"""Kernel ridge regression on landmarks, or on all rows."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import lapack

from ..._sklearn import assert_all_finite
from ..._typing import Array, DTypeLike
from ...operators import Block, Moments, RowMatrix
from ...operators.feature_map import add_gram, features, gram_rows
from ...operators.kernels import KernelSource
from ...operators.rows import add_states
from ...operators.scaling import column_scales
from ...operators.threads import consecutive, one_blas_thread, tile_rows
from ..dense.leave_one_out import (
    LeaveOneOut,
    fold_leave_one_out,
    least_loo_alpha,
)
from ..dense.pcg import PCG, pcg
from ..dense.triangular import inverse_cholesky
from .features import kernel_diagonal, trace_error
from .landmarks import MOST_COMPLETE
from .pivoted_cholesky import PRODUCT_FLOOR

# The choice of solver counts on this many iterations. The preconditioner sees a sample of
# this many rows for each landmark.
_TYPICAL_ITERATIONS = 25
_ROWS_PER_LANDMARK = 4

# Evaluating and using a kernel value takes as long as this many flops of a product.
_FUNCTION_FLOPS = 400

# Features of rows with up to so many entries are kept where they are needed twice.
_KEPT_ENTRIES = 2**27

# The Gram matrix of a factor is summed over this many rows at a time.
_GRAM_ROWS = 8192


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
    alphas : ndarray of shape (n_targets,)
        The penalties.
    solver : {"direct", "cg"}
        The one used.
    search : PCG
        How the iteration ended: without one, after a step that was exact.
    n_landmarks : int
        Those of the features: of the model, or of the preconditioner.
    error_estimate : float
        Relative trace error of these features.
    """

    points: object
    indices: np.ndarray | None
    columns: object
    dual: np.ndarray
    intercept: np.ndarray
    alphas: np.ndarray
    solver: str
    search: PCG
    n_landmarks: int
    error_estimate: float


class Penalties(NamedTuple):
    """The penalties asked for.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,) or (n_targets,)
        Penalties to choose from, or those of the targets.
    choose : bool
        Whether one of them is to be chosen for all targets.
    """

    alphas: np.ndarray
    choose: bool


class NormalEquations(NamedTuple):
    """Normal equations of features F, about their mean where there is an intercept.

    Attributes
    ----------
    gram : ndarray of shape (rank, rank)
        ``F^T W F``.
    products : ndarray of shape (rank, n_targets)
        ``F^T W Y``.
    mean : ndarray of shape (rank,)
        The weighted mean of the features; zero without an intercept.
    share : float
        What a row of weight one has of the mean; zero without an intercept.
    captured : float
        Trace of ``F^T W F``, not about the mean.
    """

    gram: np.ndarray
    products: np.ndarray
    mean: np.ndarray
    share: float
    captured: float


class _Targets(NamedTuple):
    """Targets of unit scale.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_targets)
        In float64; about the mean where there is an intercept.
    mean : ndarray of shape (n_targets,)
        In the unit of `scale`.
    scale : ndarray of shape (n_targets,)
        Powers of two, so that nothing is rounded.
    """

    values: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @property
    def shares(self) -> Array:
        """The values as shares of the largest scale, which sums over targets need."""
        return self.values * (self.scale / self.scale.max(initial=np.finfo(float).tiny))


def kernel_ridge(
    rows: RowMatrix,
    kernel: KernelSource,
    nystroem: Any,
    Y: Array,
    penalties: Penalties,
    *,
    exact: bool,
    solver: str,
    fit_intercept: bool,
    tol: float,
    max_iter: int,
    n_jobs: Any,
    rng: np.random.Generator,
    report: Callable[[], bool] | None = None,
) -> KernelRidgeModel:
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
    penalties : Penalties
        Of several to choose from, the one of least leave-one-out error is taken.
    exact : bool
        Whether all rows are centres, and not only the landmarks.
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
    targets = _of_unit_scale(rows, Y, centered=fit_intercept)
    iterate = partial(pcg, tol=tol, max_iter=max_iter, report=report)
    if exact:
        # Landmarks precondition only.
        points, indices, solver = rows.in_memory(), np.arange(rows.shape[0]), "cg"
        columns, A = kernel.at(points), kernel.matrix(points, n_jobs)
    else:
        points, indices = nystroem.points, nystroem.indices
        columns = nystroem.feature_map.columns
        if solver == "auto":
            solver = cheaper_solver(rows, nystroem, Y.shape[1], penalties)
    is_small = rows.shape[0] * nystroem.feature_map.shape[0] <= _KEPT_ENTRIES
    # Penalties are compared by a second look at the features.
    is_kept = exact or (penalties.choose and is_small and not rows.lazy)
    F = features_of_rows(rows, nystroem) if is_kept else None
    normal = None
    if solver == "direct" or penalties.choose:
        normal = normal_equations(rows, nystroem, targets, fit_intercept, penalties, F)
    alphas = _penalties_of_targets(rows, nystroem, targets, normal, penalties, F)
    if solver == "direct":
        dual, intercept, search = solve_direct(nystroem, normal, alphas)
    else:
        # The intercept follows from a target of ones, one for each of the penalties.
        distinct, of_ones = np.unique(alphas, return_inverse=True)
        both = np.concatenate([alphas, distinct]) if fit_intercept else alphas
        ones = np.ones((len(Y), len(both) - len(alphas)))
        V = np.column_stack([targets.values, ones])
        if exact:
            dual, sums, search = solve_all_rows(A, F, V, both, rows.weight, iterate)
        else:
            dual, sums, search = solve_cg(rows, nystroem, V, both, iterate, rng)
        rounding = max(search.residual, np.finfo(rows.dtype).eps)
        rounding *= float(weighted_sums(rows, np.ones(len(Y))))
        dual, intercept = _with_intercept(dual, sums, len(alphas), of_ones, rounding)
    if not np.isfinite(dual).all():
        raise ValueError("Input X contains NaN, infinity or a value too large.")
    return KernelRidgeModel(
        points=points,
        indices=indices,
        columns=columns,
        dual=dual * targets.scale,
        intercept=(intercept + targets.mean) * targets.scale,
        alphas=alphas,
        solver=solver,
        search=search,
        n_landmarks=nystroem.points.shape[0],
        error_estimate=_trace_error(rows, kernel, nystroem, normal, rng),
    )


def _trace_error(rows, kernel, nystroem, normal, rng):
    """Return the relative trace error of the features, whose squares may be summed."""
    if nystroem.error_estimate is not None:
        return nystroem.error_estimate
    if normal is None:
        return trace_error(rows, kernel, nystroem.feature_map, rng)
    total = float(weighted_sums(rows, kernel_diagonal(rows, kernel)))
    return max(0.0, 1.0 - normal.captured / total) if total > 0 else 0.0


def kernel_ridge_at_once(
    rows: RowMatrix, kernel: Any, Y: Array, alphas: Array, *, fit_intercept: bool
) -> Any:
    """Solve a kernel ridge regression whose landmarks are all rows, without features.

    Parameters
    ----------
    rows : RowMatrix
    kernel : KernelSource
    Y : ndarray of shape (n_rows, n_targets)
    alphas : ndarray of shape (n_targets,) or (1,)
    fit_intercept : bool

    Returns
    -------
    KernelRidgeModel or None
        None where the rows are too many, or `alphas` too small to keep ``K + alpha W^-1``
        definite in the precision of the predictions.

    Notes
    -----
    One Cholesky factorisation for each of the distinct penalties: ``n^3 / 3`` flops.
    """
    n = rows.shape[0]
    if n > MOST_COMPLETE or kernel.indefinite:
        return None
    indices = np.arange(n) if rows.weight is None else np.flatnonzero(rows.weight)
    points = rows.in_memory()[indices]
    assert_all_finite(points, input_name="X")
    K = kernel(points, points)
    inverse_weight = 1.0
    if rows.weight is not None:
        inverse_weight = 1 / rows.weight[indices].astype(np.float64)
    rounding = PRODUCT_FLOOR * np.finfo(rows.dtype).eps * np.trace(K)
    if not np.min(alphas) * np.min(inverse_weight) > rounding:
        return None
    targets = _of_unit_scale(rows, Y, centered=fit_intercept)
    alphas = np.broadcast_to(alphas, (Y.shape[1],)).astype(np.float64)
    distinct, of_ones = np.unique(alphas, return_inverse=True)
    both = np.concatenate([alphas, distinct]) if fit_intercept else alphas
    ones = np.ones((len(indices), len(both) - len(alphas)))
    dual = np.column_stack([targets.values[indices], ones])
    for alpha in distinct:
        shifted = K.copy()
        shifted.flat[:: len(K) + 1] += alpha * inverse_weight
        mine = both == alpha
        _, dual[:, mine], failed = lapack.dposv(shifted.T, dual[:, mine], lower=True)
        if failed:
            return None
    # What is left of the targets, weighted, is alpha times the coefficients.
    sums = both * dual.sum(axis=0)
    rounding = np.finfo(np.float64).eps * float(weighted_sums(rows, np.ones(n)))
    dual, intercept = _with_intercept(dual, sums, len(alphas), of_ones, rounding)
    return KernelRidgeModel(
        points=points,
        indices=indices,
        columns=kernel.at(points),
        dual=dual * targets.scale,
        intercept=(intercept + targets.mean) * targets.scale,
        alphas=alphas,
        solver="direct",
        search=PCG(dual, n_iter=1, residual=0.0, converged=True),
        n_landmarks=len(indices),
        error_estimate=0.0,
    )


def _of_unit_scale(rows, Y, *, centered):
    """Return targets whose squares neither overflow nor vanish, column by column."""
    scale = column_scales(Y)
    Y, mean = Y / scale, np.zeros(Y.shape[1])
    if centered:
        mean = weighted_sums(rows, Y) / weighted_sums(rows, np.ones((len(Y), 1)))
        Y = Y - mean
        more = column_scales(Y)
        Y, mean, scale = Y / more, mean / more, scale * more
    return _Targets(Y, mean, scale)


def _penalties_of_targets(rows, nystroem, targets, normal, penalties, F):
    """Return the penalty of each target, chosen where that is asked for."""
    n_targets = targets.values.shape[1]
    alphas = penalties.alphas
    if penalties.choose:
        Y = targets.shares
        weight = None if rows.weight is None else rows.weight.astype(np.float64)
        F = nystroem.cholesky.factor if nystroem.cholesky is not None else F

        def squares_of(loo):
            if F is None:
                fold = rows.fold
                return fold(fold_leave_one_out, nystroem.feature_map, loo, Y, rows.dtype)[0]
            return sum(
                loo.squares(F[part], Y[part], None if weight is None else weight[part])
                for part in consecutive(len(F), _GRAM_ROWS)
            )

        regressions = partial(
            LeaveOneOut.of_normal_equations,
            normal.gram,
            normal.products * (targets.scale / targets.scale.max()),
            normal.mean,
            normal.share,
        )
        alphas = least_loo_alpha(alphas, regressions, squares_of)
    return np.broadcast_to(alphas, (n_targets,)).astype(np.float64)


def _with_intercept(dual, sums, n_targets, of_ones, rounding):
    """Return coefficients and intercepts that minimise over a constant, too.

    Parameters
    ----------
    dual : ndarray of shape (m, n_targets + n_penalties)
        Coefficients of the targets and, after them, of targets of ones.
    sums : ndarray of shape (n_targets + n_penalties,)
        Weighted sums of what they leave: the constant b brings those of the targets less
        b times the ones' to zero.
    n_targets : int
    of_ones : ndarray of int of shape (n_targets,)
        Which of the ones has the penalty of a target.
    rounding : float
        What is left of the ones is an error of the solution up to here.

    Returns
    -------
    dual : ndarray of shape (m, n_targets)
    intercept : ndarray of shape (n_targets,)
    """
    if dual.shape[1] == n_targets:
        return dual, np.zeros(n_targets)
    left = sums[n_targets:][of_ones]
    # If the kernel reproduces the constant itself, nothing is left for an intercept.
    known = left > rounding
    intercept = np.where(known, sums[:n_targets] / np.where(known, left, 1.0), 0.0)
    return dual[:, :n_targets] - dual[:, n_targets:][:, of_ones] * intercept, intercept


def cheaper_solver(rows: Any, nystroem: Any, n_targets: int, penalties: Penalties) -> str:
    """Return "direct" or "cg", by a count of flops.

    Conjugate gradients do not choose a penalty, and without any converge too slowly.
    """
    if penalties.choose or not np.all(penalties.alphas > 0):
        return "direct"
    rank, m = nystroem.feature_map.shape
    n, n_features = rows.shape
    a_row = n_features if not rows.sparse else max(1, rows.nnz // max(1, n))
    products = 1 if nystroem.cholesky is not None else 2
    direct = products * n * rank**2
    sampled = min(n, _ROWS_PER_LANDMARK * m)
    one = n * m * (2 * a_row + 4 * n_targets + _FUNCTION_FLOPS)
    return "cg" if 2 * sampled * rank**2 + _TYPICAL_ITERATIONS * one < direct else "direct"


def features_of_rows(rows: Any, nystroem: Any) -> Any:
    """Return the features of all rows: those that the choice of landmarks left behind."""
    if nystroem.cholesky is not None:
        return nystroem.cholesky.factor
    feature_map = nystroem.feature_map
    return rows.map(features, feature_map, rows.dtype, n_columns=feature_map.shape[0])


def normal_equations(
    rows: RowMatrix,
    nystroem: Any,
    targets: _Targets,
    fit_intercept: bool,
    penalties: Penalties,
    F: Array | None = None,
) -> NormalEquations:
    """Return the normal equations of the features of all rows.

    In one pass, or from features that are there already. Sums are in float64, and the
    basis is that of the features: in single precision the equations of the kernel columns
    themselves would break down. Where a penalty is chosen, products are in float64, too,
    because small ones are compared by what rounding in single precision would bury.

    Parameters
    ----------
    rows : RowMatrix
    nystroem : NystroemFeatures
    targets : _Targets
    fit_intercept : bool
        Whether to take the features about their mean.
    penalties : Penalties
    F : ndarray of shape (n_rows, rank), default=None
        The features, where they are there; those of the choice of landmarks otherwise.

    Returns
    -------
    NormalEquations
    """
    Y = np.column_stack([targets.values, np.ones(len(targets.values))])
    dtype = np.float64 if penalties.choose else rows.dtype
    F = nystroem.cholesky.factor if nystroem.cholesky is not None else F
    if F is not None:
        gram, products, squares = gram_of_features(F, Y, rows.weight, dtype)
    else:
        gram, products, squares = rows.fold(
            fold_feature_gram, nystroem.feature_map, Y, rows.dtype, dtype
        )
    products, total, sums = products[:, :-1], squares[-1], products[:, -1]
    captured = float(np.trace(gram))
    if not fit_intercept:
        return NormalEquations(gram, products, np.zeros(len(gram)), 0.0, captured)
    moments = Moments(total, sums, gram).about_mean()
    return NormalEquations(moments.squares, products, moments.mean, 1 / total, captured)


def gram_of_features(
    F: Array, Y: Array, weight: Array | None, dtype: DTypeLike
) -> list[Array]:
    """Return ``[F^T W F, F^T W Y, diag(Y^T W Y)]``, in products of a dtype."""
    state = None
    for part in consecutive(len(F), _GRAM_ROWS):
        of_part = None if weight is None else weight[part]
        state = add_gram(state, F[part].astype(dtype, copy=False), Y[part], of_part)
    return state


def fold_feature_gram(
    state: Any,
    block: Block,
    feature_map: Any,
    Y: Array,
    dtype: DTypeLike,
    of_products: DTypeLike,
) -> list[Array]:
    """Fold the normal equations of the features F: ``[F^T F, F^T Y, diag(Y^T Y)]``.

    F is made as many rows at a time as pay for adding its Gram matrix, in float64, to
    the sum. The products are of the dtype `of_products`.
    """
    for part in consecutive(block.values.shape[0], gram_rows(feature_map.shape[0])):
        F = features(block.values[part], feature_map, dtype)
        F = F.astype(of_products, copy=False)
        weight = None if block.weight is None else block.weight[part]
        targets = Y[block.start + part.start : block.start + part.stop]
        state = add_gram(state, F, targets, weight)
    return state


def fold_normal_product(
    state: Any,
    block: Block,
    columns: Any,
    n_columns: int,
    V: Array,
    Y: Array | None,
    dtype: DTypeLike,
) -> list[Array]:
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


def solve_direct(
    nystroem: Any, normal: NormalEquations, alphas: Array
) -> tuple[Array, Array, PCG]:
    """Solve by the normal equations.

    Parameters
    ----------
    nystroem : NystroemFeatures
    normal : NormalEquations
    alphas : ndarray of shape (n_targets,)

    Returns
    -------
    dual : ndarray of shape (m, n_targets)
        Coefficients of the kernel at the landmarks.
    intercept : ndarray of shape (n_targets,)
    search : PCG

    Notes
    -----
    2 n m^2 flops for the equations, or n m^2 where the features are there already, and
    m^3 / 3 for each penalty. Where one is chosen, an eigendecomposition of some 10 m^3 and
    n m^2 more for the errors of the rows.
    """
    coef = np.empty_like(normal.products)
    for alpha in np.unique(alphas):
        mine = alphas == alpha
        coef[:, mine] = solve_shifted(normal.gram, normal.products[:, mine], alpha)
    search = PCG(coef, n_iter=1, residual=0.0, converged=True)
    return nystroem.feature_map.W.T @ coef, -normal.mean @ coef, search


def weighted_sums(rows: Any, Y: Array) -> Array | float:
    """Return the sums of the targets, weighted as the rows."""
    return Y.sum(axis=0) if rows.weight is None else rows.weight.astype(np.float64) @ Y


def solve_shifted(G: Array, B: Array, alpha: float) -> Array:
    """Solve ``(G + alpha I) X = B``; least squares where that is singular."""
    shifted = G.copy()
    shifted.flat[:: len(G) + 1] += alpha
    try:
        inverse = inverse_cholesky(shifted)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(shifted, B, rcond=None)[0]
    return inverse.T @ (inverse @ B)


def shifted_solver(H: Array, alphas: Array) -> Callable[..., Any]:
    """Return the function that solves ``(H + alphas_j I) X_j = R_j``, column by column."""
    distinct, places = np.unique(alphas, return_inverse=True)
    inverses = []
    for alpha in distinct:
        shifted = H.copy()
        shifted.flat[:: len(H) + 1] += alpha
        inverses.append(inverse_cholesky(shifted))

    def solve(R):
        X = np.empty_like(R)
        for j, inverse in enumerate(inverses):
            X[:, places == j] = inverse.T @ (inverse @ R[:, places == j])
        return X

    return solve


def solve_cg(
    rows: RowMatrix,
    nystroem: Any,
    Y: Array,
    alphas: Array,
    iterate: Callable[..., Any],
    rng: np.random.Generator,
) -> tuple[Array, Array, PCG]:
    """Solve the normal equations by conjugate gradients, a pass over the rows each.

    Rudi, Carratino & Rosasco (2017), in the basis of the features, where the penalty is
    the identity, and with the Gram matrix of a sample of the rows in the place of
    that of the landmarks: landmarks here are not a uniform sample.

    Parameters
    ----------
    rows : RowMatrix
    nystroem : NystroemFeatures
    Y : ndarray of shape (n_rows, n_targets)
    alphas : ndarray of shape (n_targets,)
    iterate : callable
        `pcg`, with what stops it.
    rng : Generator
        Draws the sample.

    Returns
    -------
    dual : ndarray of shape (m, n_targets)
        Coefficients of the kernel at the landmarks.
    sums : ndarray of shape (n_targets,)
        Weighted sums over the rows of the targets less the predictions, if the last
        target is of ones.
    search : PCG

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

    # (F^T W F + alpha I) V, and F = K W^T is never formed: one evaluation of K serves both.
    def product(V):
        return alphas * V - fold(V, None)

    Gs = _sampled_gram(rows, nystroem, rng)
    # Without a penalty to speak of, rounding must not make the preconditioner indefinite.
    rounding = np.finfo(rows.dtype).eps * np.trace(Gs)
    precondition = shifted_solver(Gs, np.maximum(alphas, rounding if rounding else 1.0))
    FY = fold(np.zeros((len(W), Y.shape[1])), Y)
    with one_blas_thread(getattr(rows, "n_jobs", 1)):
        search = iterate(product, FY, precondition)
    return W.T @ search.X, weighted_sums(rows, Y) - FY[:, -1] @ search.X, search


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
            rows.dtype,
        )[0]
        for chosen, chosen_weight in strata
    )


def solve_all_rows(
    A: Any,
    F: Any,
    Y: Array,
    alphas: Array,
    weight: Array | None,
    iterate: Callable[..., Any],
) -> tuple[Array, Array, PCG]:
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
    alphas : ndarray of shape (n_targets,)
    weight : ndarray of shape (n,) or None
    iterate : callable
        `pcg`, with what stops it.

    Returns
    -------
    dual : ndarray of shape (n, n_targets)
        Coefficients of the kernel at the rows.
    sums : ndarray of shape (n_targets,)
        Weighted sums over the rows of the targets less the predictions.
    search : PCG

    Notes
    -----
    A product evaluates half of the n^2 kernel values; memory is that of F.
    """
    # Multiplied by the root of W from both sides, the matrix is symmetric.
    root = np.ones((len(Y), 1)) if weight is None else np.sqrt(weight)[:, np.newaxis]
    F = np.asarray(F, dtype=np.float64) * root
    inner = shifted_solver(F.T @ F, alphas)

    # The inverse of F F^T + alpha I, by the identity of Woodbury.
    def precondition(R):
        return (R - F @ inner(F.T @ R)) / alphas

    with one_blas_thread(A.n_jobs):
        search = iterate(
            lambda V: root * A.matmat(root * V) + alphas * V, root * Y, precondition
        )
    dual = root * search.X
    # What is left of the targets, weighted, is alpha times the coefficients.
    return dual, alphas * dual.sum(axis=0), search
