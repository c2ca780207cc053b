"""Least squares against LAPACK, and against a reference in higher precision."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from sklearn.base import clone

from sklearn_rnla import SketchedRidge
from sklearn_rnla.linalg import lstsq
from sklearn_rnla.linalg.least_squares.preconditioner import spectrum_of_gram
from sklearn_rnla.linalg.least_squares.problem import RidgeProblem
from sklearn_rnla.linalg.least_squares.solve import _first_choice, sketch_rows
from sklearn_rnla.operators import as_row_matrix
from tests.invariants import assert_close_to_scale
from tests.matrices import deep, with_spectrum

SOLVERS = ["auto", "direct", "iterative", "svd"]
EACH_SOLVER = pytest.mark.parametrize("solver", SOLVERS)
EPS = np.finfo(float).eps


def hard_problem(digits, noise, n=3000, p=25, seed=0):
    """Return A of condition ``10**digits``, b, and the norm of its residual."""
    A, _ = deep(n, p, digits, seed)
    rng = np.random.default_rng(seed + 1)
    Q = np.linalg.qr(A)[0]
    fitted = A @ rng.standard_normal(p)
    r = rng.standard_normal(n)
    r -= Q @ (Q.T @ r)
    r *= noise * np.linalg.norm(fitted) / np.linalg.norm(r)
    return A, fitted + r


def reference(A, b):
    """Return the solution to more digits than float64 has: iterative refinement."""
    wide, target = A.astype(np.longdouble), b.astype(np.longdouble)
    R = np.linalg.qr(A, mode="r")
    x = np.zeros(A.shape[1], np.longdouble)
    for _ in range(12):
        gradient = (wide.T @ (target - wide @ x)).astype(float)
        step = scipy.linalg.solve_triangular(R, gradient, trans="T")
        x += scipy.linalg.solve_triangular(R, step)
    return x


needs_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="long double is no longer than double"
)


@needs_long_double
@EACH_SOLVER
@pytest.mark.parametrize("digits", [2, 6, 8])
@pytest.mark.parametrize("noise", [0, 1e-3, 1])
def test_it_is_as_accurate_as_gelsd(solver, digits, noise, seed):
    A, b = hard_problem(digits, noise, seed=seed)
    x = reference(A, b)
    ours = lstsq(A, b, solver=solver, random_state=seed)
    theirs = scipy.linalg.lstsq(A, b)[0]
    assert ours.converged
    assert ours.rank == 25
    assert 0.4 < ours.condition / 10.0**digits < 2.5

    def error(y):
        return float(np.linalg.norm(y - x) / np.linalg.norm(x))

    # One number may be lucky: no less than what a rounding of A alone would do.
    rounding = EPS * 10.0**digits * (1 + 0.01 * noise * 10.0**digits)
    assert error(ours.x) <= 10 * max(error(theirs), rounding)

    # The estimate covers the truth, and does not cry wolf.
    fitted = A.astype(np.longdouble) @ (ours.x - x)
    truth = float(np.linalg.norm(fitted) / np.linalg.norm(b))
    assert truth <= ours.error_estimate
    assert ours.error_estimate <= 100 * EPS * (1 + noise * 10.0**digits)


@needs_long_double
def test_the_normal_equations_alone_would_not_do():
    A, b = hard_problem(8, 1e-3)
    x = reference(A, b)
    error = [
        float(np.linalg.norm(y - x) / np.linalg.norm(x))
        for y in (np.linalg.solve(A.T @ A, A.T @ b), lstsq(A, b, solver="direct").x)
    ]
    assert error[1] < 1e-3 * error[0]
    assert spectrum_of_gram(A.T @ A, 0.0).distortion == 1


@EACH_SOLVER
@pytest.mark.parametrize("alpha", [0, 1e-6, 1, 1e3])
def test_a_penalty_is_rows_below(solver, alpha):
    A = np.random.default_rng(0).standard_normal((2000, 12)) * np.logspace(0, -3, 12)
    B = np.random.default_rng(1).standard_normal((2000, 3))
    ours = lstsq(A, B, alpha=alpha, solver=solver, random_state=0)
    stacked = np.vstack([A, np.sqrt(alpha) * np.eye(12)])
    below = np.vstack([B, np.zeros((12, 3))])
    assert_close_to_scale(
        ours.x, np.linalg.lstsq(stacked, below, rcond=None)[0], float, 1e5
    )
    gradient = A.T @ (B - A @ ours.x) - alpha * ours.x
    assert np.abs(gradient).max() <= 1e3 * EPS * np.linalg.norm(B) * np.linalg.norm(A)
    s = np.linalg.svd(stacked, compute_uv=False)
    assert 0.4 < ours.condition * s[-1] / s[0] < 2.5


@EACH_SOLVER
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.csc_array])
def test_of_many_solutions_it_is_the_least(solver, make, seed):
    A = with_spectrum(np.logspace(0, -3, 7), 1500, 15, seed)
    A[:, 3] = A[:, 11]
    A[:, 5] = 0
    b = np.random.default_rng(seed).standard_normal(1500)
    ours = lstsq(make(A), b, solver=solver, random_state=seed)
    x, _, rank, _ = scipy.linalg.lstsq(A, b, cond=1e-11)
    assert_close_to_scale(ours.x, x, float, 1e6)
    assert ours.rank == rank < 15
    assert ours.converged


@EACH_SOLVER
@pytest.mark.parametrize("shape", [(5, 40), (40, 40), (45, 40), (1, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("alpha", [0, 0.1])
def test_matrices_that_are_not_tall_have_a_solution(solver, shape, alpha):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal(shape), rng.standard_normal(shape[0])
    stacked = np.vstack([A, np.sqrt(alpha) * np.eye(shape[1])])
    below = np.concatenate([b, np.zeros(shape[1])])
    x = np.linalg.lstsq(stacked, below, rcond=None)[0]
    ours = lstsq(A, b, alpha=alpha, solver=solver)
    assert_close_to_scale(ours.x, x, float, 1e7)


@EACH_SOLVER
def test_zero_has_a_solution(solver):
    A, b = np.random.default_rng(0).standard_normal((800, 5)), np.zeros(800)
    ours = lstsq(A, b, solver=solver)
    assert not ours.x.any()
    assert ours.error_estimate == 0
    for alpha in (0, 1):
        ours = lstsq(np.zeros((800, 5)), b + 1, alpha=alpha, solver=solver)
        assert not ours.x.any()
        assert alpha or ours.rank == 0
        assert ours.error_estimate < 1e-12


@pytest.mark.parametrize("solver", ["direct", "iterative"])
def test_columns_of_all_sizes_do_no_harm(solver):
    rng = np.random.default_rng(0)
    scale = np.logspace(-4, 4, 9)
    A, x = rng.standard_normal((3000, 9)) * scale, rng.standard_normal(9) / scale
    ours = lstsq(A, A @ x, solver=solver, random_state=0)
    np.testing.assert_allclose(ours.x * scale, x * scale, rtol=1e-6)


def test_iterations_are_as_many_however_ill_conditioned():
    counts = [
        lstsq(*hard_problem(digits, 1), solver="iterative", random_state=0).n_iter
        for digits in (1, 4, 8)
    ]
    assert max(counts) <= 30


def test_too_few_iterations_are_told():
    ours = lstsq(*hard_problem(2, 1), solver="iterative", max_iter=2, random_state=0)
    assert not ours.converged
    assert ours.n_iter <= 3  # and one to verify
    A, b = hard_problem(2, 1)
    truth = np.linalg.norm(
        A @ (ours.x - np.linalg.lstsq(A, b, rcond=None)[0])
    ) / np.linalg.norm(b)
    assert 1e-9 < truth < ours.error_estimate < 10 * truth


def test_a_looser_tolerance_is_kept_and_cheaper():
    A, b = hard_problem(3, 1)
    x = np.linalg.lstsq(A, b, rcond=None)[0]
    tight = lstsq(A, b, solver="iterative", random_state=0)
    loose = lstsq(A, b, solver="iterative", tol=1e-4, random_state=0)
    assert np.linalg.norm(A @ (loose.x - x)) <= 1e-4 * np.linalg.norm(b)
    assert loose.n_iter < tight.n_iter / 2


@pytest.mark.parametrize("fraction", [0.0, 1e-3])
def test_a_few_heavy_rows_are_not_missed(fraction, seed):
    rng = np.random.default_rng(seed)
    A = 1e-4 * rng.standard_normal((5000, 10)) * fraction
    A[rng.choice(5000, 10, replace=False), np.arange(10)] = 1.0
    b = rng.standard_normal(5000)
    ours = lstsq(A, b, solver="iterative", random_state=seed)
    assert_close_to_scale(ours.x, np.linalg.lstsq(A, b, rcond=None)[0], float, 1e4)


def test_shapes_follow_the_right_hand_side():
    A, B = np.eye(6, 3), np.ones((6, 2))
    assert lstsq(A, B).x.shape == (3, 2)
    assert lstsq(A, B[:, :1]).x.shape == (3, 1)
    assert lstsq(A, B[:, 0]).x.shape == (3,)


def test_a_sketch_is_taken_where_it_is_shorter():
    assert sketch_rows((10_000, 100)) == 800
    assert sketch_rows((2000, 100)) == 500
    assert sketch_rows((700, 100)) is None
    assert sketch_rows((10**6, 10**5)) is None


@pytest.mark.parametrize(
    ("shape", "sparse", "choice"),
    [
        ((1000, 20), False, "direct"),
        ((30, 20), False, "svd"),
        ((10**5, 50), False, "direct"),
        ((10**5, 50), True, "auto"),
        ((20_000, 300), False, "auto"),
        ((20_000, 300), True, "auto"),
        ((2500, 2000), False, "direct"),
        ((2000, 2500), False, "svd"),
    ],
)
def test_shape_and_sparsity_decide(shape, sparse, choice):
    A = np.random.default_rng(0).standard_normal(shape)
    rows = as_row_matrix(sp.csr_array(A) if sparse else A)
    problem = RidgeProblem(rows, np.ones((shape[0], 1)), np.zeros(1), center=True)
    assert _first_choice(problem) == choice


def test_huge_sparse_matrices_are_iterated_on():
    rows = as_row_matrix(sp.csr_array((10**6, 10**5)))
    problem = RidgeProblem(rows, np.ones((10**6, 1)), np.ones(1), center=False)
    assert _first_choice(problem) == "iterative"


@pytest.mark.parametrize("digits", [2, 5, 8])
@pytest.mark.parametrize("misled", [False, True])
def test_auto_is_right_whatever_the_first_rows_say(digits, misled):
    A, b = hard_problem(digits, 1, n=60_000, p=80)
    if misled:
        A[:400, 40:] = 0.0
        A[400:, :3] += 2.0
    x = scipy.linalg.lstsq(A, b)[0]
    ours = lstsq(A, b, random_state=0)
    assert ours.converged
    difference = np.linalg.norm(A @ (ours.x - x)) / np.linalg.norm(b)
    assert difference <= ours.error_estimate <= 1e-6


@pytest.mark.parametrize(("shift", "center"), [(0.0, False), (2.0, True), (1e6, True)])
@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1.0])
def test_a_factor_is_as_good_as_a_decomposition(alpha, shift, center):
    A = np.random.default_rng(0).standard_normal((2000, 60)) * np.logspace(0, -3, 60)
    A[:, 7] += shift
    B = np.random.default_rng(1).standard_normal((2000, 2))
    model = SketchedRidge(alpha, fit_intercept=center, random_state=0).fit(A, B)
    theirs = clone(model).set_params(solver="svd").fit(A, B)
    size = np.linalg.norm(B)
    apart = (A - center * A.mean(axis=0)) @ (model.coef_ - theirs.coef_).T
    assert np.linalg.norm(apart) <= 1e-13 * size
    assert 0.4 < model.condition_ / theirs.condition_ < 2.5
    assert model.rank_ == 60


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((np.eye(3), np.ones(4)), {}, r"b of shape \(4,\) must have n_rows=3"),
        ((np.eye(3), np.ones((3, 1, 1))), {}, "dim|two dimensions"),
        ((np.eye(3), [1, np.nan, 1]), {}, "Input b contains NaN"),
        ((np.full((3, 3), np.inf), np.ones(3)), {}, "Input A contains infinity"),
        ((np.eye(3), np.ones(3)), {"alpha": -1}, "'alpha' parameter"),
        ((np.eye(3), np.ones(3)), {"solver": "qr"}, "'solver' parameter"),
        ((np.eye(3), np.ones(3)), {"tol": -1}, "'tol' parameter"),
        ((np.eye(3), np.ones(3)), {"max_iter": 0}, "'max_iter' parameter"),
    ],
)
def test_bad_input_is_refused_with_the_reason(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        lstsq(*args, **kwargs)
