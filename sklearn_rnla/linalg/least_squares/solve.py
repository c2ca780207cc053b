"""Penalised least squares: the solvers, and the choice between them."""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from ..._random import stream
from ...operators.scaling import in_unit, unit_of
from ...operators.threads import consecutive
from ...sketching import SparseSign
from ..dense.leave_one_out import LeaveOneOut, least_loo_alpha
from .preconditioner import (
    Preconditioner,
    factored_gram,
    refined,
    spectrum_of_gram,
    spectrum_of_sketch,
)
from .problem import RidgeProblem
from .refinement import iterate

_EPS = np.finfo(np.float64).eps

# Rows of the sketch for each feature: as many as possible up to the first number, while
# the sketch has no more entries than the last; at least the second. More rows would save
# passes, and lose the time again in sketches of blocks that are longer than the blocks.
_MOST_ROWS, _LEAST_ROWS, _SKETCH_ENTRIES = 8, 4, 2**23
_SKETCH_NNZ = 4

# Entries up to which a matrix is decomposed in memory: dense, and sparse or wide.
_DENSE_ENTRIES, _FEW_ENTRIES = 2**26, 2**22

# Features up to which n_features x n_features matrices are decomposed.
_MANY_FEATURES = 5000

# Costs of a row, in multiply-adds of a Gram matrix: a pass reads each stored entry, and
# uses it once for each target; the sketch adds each to a few rows.
_READ_COST, _TARGET_COST, _SPARSE_COST, _SKETCH_COST = 40, 2, 2, 250

# Condition numbers up to which a Gram matrix is expected to hold all singular values.
_GRAM_CONDITION = 3e6

# Products to expect of an iteration without a preconditioner.
_UNPRECONDITIONED_ITERATIONS = 5000
_ITERATIONS = 200


class PenalisedSolution(NamedTuple):
    """Coefficients that minimise ``||W^(1/2) (Y - A X)||^2 + alpha ||X||^2``.

    Attributes
    ----------
    coef : ndarray of shape (n_features, n_targets)
    n_iter : int
        Products with the data: of iterations, and to verify the solution.
    solver : str
        The one used.
    rank : int or None
        Directions of the row space that are not lost in rounding.
    condition : float or None
        Condition number of A stacked on ``sqrt(alpha) I``, to the distortion of a sketch.
    error_estimate : float
    converged : bool
    max_iter : int
        Most products allowed.
    alphas : ndarray of shape (n_targets,)
        The penalties.
    singular_values : ndarray of shape (min(A.shape),) or None
        Of A; None where no decomposition has told them.
    """

    coef: np.ndarray
    n_iter: int
    solver: str
    rank: int | None
    condition: float | None
    error_estimate: float
    converged: bool
    max_iter: int
    alphas: np.ndarray | None = None
    singular_values: np.ndarray | None = None


def sketch_rows(shape):
    """Return the rows of the sketch; None where the matrix is not tall enough for one."""
    n, p = shape
    rows = max(_LEAST_ROWS * p, min(_MOST_ROWS * p, n // 4, _SKETCH_ENTRIES // max(1, p)))
    return rows if 2 * rows <= n and p <= _MANY_FEATURES else None


def solve_least_squares(
    rows, Y, alphas, *, choose=False, center, solver, tol, max_iter, seed, report=None
):
    """Solve a least squares problem.

    Parameters
    ----------
    rows : RowMatrix
        With their weights.
    Y : ndarray of shape (n_rows, n_targets)
        In float64.
    alphas : ndarray of shape (n_targets,), or (n_alphas,) with `choose`
    choose : bool
        Whether to take the one of least leave-one-out error for all targets.
    center : bool
        Whether to minimise over a constant, too.
    solver : {"auto", "direct", "iterative", "svd"}
    tol : float
        Relative error of the fitted values to stop at.
    max_iter : int or None
        Most products with the data.
    seed : int
        Of the sketch.
    report : callable, default=None

    Returns
    -------
    solution : PenalisedSolution
    intercept : ndarray of shape (n_targets,)
    """
    rows, unit = in_unit(rows, alphas.max(initial=0.0))
    units = np.array([unit_of(y, 1) for y in Y.T])
    Y = Y / units if np.any(units != 1) else Y
    of_targets = np.full(Y.shape[1], alphas.min()) if choose else alphas
    problem = RidgeProblem(rows, Y, of_targets / unit / unit, center=center)
    if solver == "auto":
        solver = _first_choice(problem)
        if choose and solver != "svd":
            # Leave-one-out errors need a factorisation.
            solver = "direct"
    l = sketch_rows(problem.shape)
    W = spectrum = None
    if solver in ("auto", "iterative") and l is not None:
        spectrum, X = _sketched(problem, l, seed)
        if solver == "auto":
            cheaper = _iteration_is_cheaper(problem, spectrum, tol)
            solver = "iterative" if cheaper else "direct"
    if solver == "iterative" and spectrum is None:
        W, X = _unpreconditioned(problem)
    elif solver == "svd":
        spectrum, X = _decomposed(problem)
    elif solver == "direct":
        W, spectrum, X = _by_gram(problem, spectrum, choose=choose)
    if choose:
        W, X, of_targets = _chosen(problem, spectrum, X, alphas, unit, units)
    elif W is None:
        W = spectrum.preconditioner(problem.alphas)
    solution = _refine(problem, W, X, solver, tol, max_iter, report)
    coef = solution.coef
    coef[problem.constant] = 0.0
    intercept = (problem.Y_mean - problem.mean @ coef) * units
    values = None
    if spectrum is not None and solver != "iterative":
        # Where the rank is lower, the others are zero.
        values = np.zeros(min(problem.shape))
        values[: len(spectrum.s)] = spectrum.s[: len(values)] * unit
    solution = solution._replace(coef=coef / unit * units, alphas=of_targets)
    return solution._replace(singular_values=values), intercept


def _first_choice(problem):
    """Return the solver that shape and sparsity decide, or "auto": sketch, and see."""
    n, p = problem.shape
    if n * p <= _FEW_ENTRIES and min(n, p) <= 200:
        return "direct" if n >= 2 * p else "svd"
    if sketch_rows(problem.shape) is not None:
        # A Gram matrix that costs no more than a sketch tells as much.
        return "direct" if p <= _SKETCH_COST and not problem.rows.sparse else "auto"
    if problem.rows.sparse or n * p > _DENSE_ENTRIES:
        return "iterative"
    return "direct" if n >= p else "svd"


def _iteration_is_cheaper(problem, spectrum, tol):
    """Whether iterating from the sketch costs less than a Gram matrix."""
    rows, p, n_targets = problem.rows, problem.shape[1], problem.Y.shape[1]
    entries = rows.nnz / max(1, rows.shape[0])
    one = entries * (_READ_COST + _TARGET_COST * n_targets)
    one *= _SPARSE_COST if rows.sparse else 1
    condition = spectrum.penalised_condition(problem.alphas.min())
    digits = np.log(max(tol, _EPS * condition)) / np.log(spectrum.distortion)
    gram, its = p * p, 3
    if not _gram_is_enough(spectrum, problem.alphas.min()):
        gram, its = 3 * p * p, 2
    return (digits + 2) * one < gram + its * one


def _gram_is_enough(spectrum, alpha):
    """Whether the Gram matrix still holds the smallest singular value."""
    return spectrum.penalised_condition(alpha) < _GRAM_CONDITION


def _sketched(problem, l, seed):
    """Return the spectrum of a sketch, and its solution: sketch and solve."""
    n, p = problem.shape
    S = SparseSign(l, n, _SKETCH_NNZ).sample(stream(seed))
    return _spectrum_and_solution(problem, *problem.sketch(S), np.sqrt(p / l))


def _decomposed(problem):
    """Return the spectrum of the matrix itself, and the solution."""
    return _spectrum_and_solution(problem, *problem.dense(), 0.0)


def _spectrum_and_solution(problem, A, Y, distortion):
    """Return the spectrum of A, and the solution for A and Y."""
    n, p = problem.shape
    if len(A) > p:
        # A triangular factor first: it is as small as the singular vectors wanted.
        # Of some rows after the others, which takes no copy of A.
        R = np.empty((0, p + Y.shape[1]))
        for part in consecutive(len(A), 2 * R.shape[1]):
            stacked = np.empty((len(R) + len(A[part]), R.shape[1]), order="F")
            stacked[: len(R)] = R
            stacked[len(R) :, :p], stacked[len(R) :, p:] = A[part], Y[part]
            # LAPACK takes it as it is, and overwrites it.
            R = scipy.linalg.qr(stacked, overwrite_a=True, mode="raw", check_finite=False)[
                1
            ]
        A, Y = R[:p, :p], R[:p, p:]
    spectrum, U = spectrum_of_sketch(A, n, distortion)
    return spectrum, _solution(problem, spectrum, U.T @ Y)


def _solution(problem, spectrum, UY):
    # Of S A = U s V^T: X = V s (s^2 + alpha)^-1 U^T S Y, sketch and solve. It is only a
    # start: its error is that of the sketch, whatever the precision.
    W = spectrum.preconditioner(problem.alphas)
    return W.apply(W.scale * (spectrum.s[:, np.newaxis] * UY))


def _by_gram(problem, sketched, *, choose):
    """Return what a Gram matrix tells, and the solution of the normal equations.

    Of the data as they are, where that has not lost the smallest singular value; else of
    the data in the basis that a sketch or the lost Gram matrix gives them.

    Parameters
    ----------
    problem : RidgeProblem
    sketched : Spectrum or None
        Of a sketch, where there is one.
    choose : bool
        Whether the spectrum is needed.

    Returns
    -------
    W : Preconditioner
    spectrum : Spectrum or None
        Where it is known.
    X : ndarray of shape (n_features, n_targets)
    """
    spectrum = sketched
    if spectrum is None or _gram_is_enough(spectrum, problem.alphas.min()):
        G, AY = problem.gram()
        W = None if choose else factored_gram(G, problem.alphas)
        if W is not None:
            return W, None, W.apply(W.adjoint(AY))
        spectrum = spectrum_of_gram(G, problem.alphas.min())
        if spectrum.distortion < 1:
            return _normal_solution(problem, spectrum, AY)
    G, FY = problem.gram(spectrum.V / spectrum.s)
    exact = refined(spectrum, G, problem.shape[0])
    # A^T Y but for what is lost in rounding.
    AY = spectrum.V @ (spectrum.s[:, np.newaxis] * FY)
    return _normal_solution(problem, exact, AY)


def _chosen(problem, spectrum, X, alphas, unit, units):
    """Choose a penalty for all targets; return its solution, and the penalties.

    Parameters
    ----------
    problem : RidgeProblem
        With the least penalty, that of X. It is given the one that is chosen.
    spectrum : Spectrum
        Of a factorisation.
    X : ndarray of shape (n_features, n_targets)
        Its solution.
    alphas : ndarray of shape (n_alphas,)
        Penalties, in the units of the data.
    unit : float
        That of the rows.
    units : ndarray of shape (n_targets,)
        Those of the targets, whose errors are summed in one unit.

    Returns
    -------
    W : Preconditioner
    X : ndarray of shape (n_features, n_targets)
    alphas : ndarray of shape (n_targets,)
    """
    V = np.where(problem.constant[:, np.newaxis], 0.0, spectrum.V)
    values = spectrum.s[:, np.newaxis] ** 2
    products = (V.T @ X) * (values + problem.alphas)
    shares, weight = units / units.max(), problem.rows.weight
    total = problem.shape[0] if weight is None else weight.sum(dtype=np.float64)

    def regressions(alphas):
        return LeaveOneOut(
            mean=problem.mean,
            rotation=V.T,
            shrinkage=1 / (values + alphas / unit / unit),
            products=products * shares,
            share=1 / total if problem.center else 0.0,
            floor=max(problem.shape) * _EPS,
        )

    Y = problem.Y * shares
    alpha = least_loo_alpha(alphas, regressions, lambda loo: problem.left_out(loo, Y))
    problem.alphas = np.full(len(units), alpha / unit / unit)
    X = V @ (products / (values + problem.alphas))
    return spectrum.preconditioner(problem.alphas), X, np.full(len(units), alpha)


def _normal_solution(problem, spectrum, AY):
    W = spectrum.preconditioner(problem.alphas)
    return W, spectrum, W.apply(W.adjoint(AY))


def _unpreconditioned(problem):
    """Return a start without a preconditioner, where n_features is too large for one."""
    size = problem.find_mean()
    # A bound on the largest singular value; of the least, the iteration will tell.
    largest = np.sqrt(size**2 + problem.alphas)[np.newaxis]
    W = Preconditioner(None, 1 / np.where(largest > 0, largest, 1.0), size)
    return W, np.zeros((problem.shape[1], problem.Y.shape[1]))


def _refine(problem, W, X, solver, tol, max_iter, report):
    """Iterate from X to the tolerance, and say how far the solution is."""
    known = W.V is not None
    # A decomposition knows more than the gradient, which is only to verify it.
    limit = max_iter or (_ITERATIONS if known else _UNPRECONDITIONED_ITERATIONS)
    limit = 1 if known and W.distortion == 0 else limit
    X, n_iter, error, converged = iterate(
        problem, W, X, tol=tol, max_iter=limit, report=report
    )
    return PenalisedSolution(
        coef=X,
        n_iter=n_iter,
        solver=solver,
        rank=W.rank,
        condition=W.condition if known else None,
        error_estimate=error,
        converged=converged,
        max_iter=limit,
    )
