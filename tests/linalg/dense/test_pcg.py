import numpy as np
import pytest

from sklearn_rnla.linalg.dense.pcg import pcg
from tests.matrices import with_spectrum


def definite(values, seed=0):
    root = with_spectrum(np.sqrt(values), len(values), len(values), seed)
    return root.T @ root


def right_sides(n, n_targets, seed=0):
    return np.random.default_rng(seed + 100).standard_normal((n, n_targets))


def residuals(A, X, B):
    return np.linalg.norm(B - A @ X, axis=0) / np.linalg.norm(B, axis=0)


def solve(A, B, precondition=np.copy, **params):
    params = {"tol": 1e-8, "max_iter": 1000} | params
    return pcg(lambda P: A @ P, B, precondition, **params)


@pytest.mark.parametrize("condition", [1, 10, 1e4])
@pytest.mark.parametrize("n_targets", [1, 4])
def test_the_tolerance_is_met_as_soon_as_theory_says(condition, n_targets, seed):
    A = definite(np.geomspace(1, 1 / condition, 80), seed)
    B = right_sides(80, n_targets, seed)
    result = solve(A, B, tol=1e-6)
    # What is recurred differs from the residual by rounding.
    assert result.converged
    assert result.residual <= 1e-6
    assert residuals(A, result.X, B).max() <= 1.01e-6
    # Norms of residuals fall at least as 2 sqrt(condition) rate^j.
    rate = (np.sqrt(condition) - 1) / (np.sqrt(condition) + 1)
    most = np.log(1e-6 / (2 * np.sqrt(condition))) / np.log(max(rate, 1e-3))
    assert result.n_iter <= int(np.ceil(most))


@pytest.mark.parametrize("n_distinct", [1, 2, 5])
def test_an_iteration_for_each_distinct_eigenvalue_is_enough(n_distinct, seed):
    A = definite(np.resize(np.linspace(1, 3, n_distinct), 60), seed)
    assert solve(A, right_sides(60, 3, seed), tol=1e-10).n_iter <= n_distinct


def test_no_more_iterations_than_unknowns(seed):
    A = definite(np.linspace(1, 2, 7), seed)
    result = solve(A, right_sides(7, 2, seed), tol=1e-12)
    assert result.converged
    assert result.n_iter <= 7


def test_an_exact_preconditioner_needs_one_iteration(seed):
    A = definite(np.geomspace(1, 1e-6, 50), seed)
    B = right_sides(50, 3, seed)
    result = solve(A, B, lambda R: np.linalg.solve(A, R))
    assert result.n_iter == 1
    assert residuals(A, result.X, B).max() <= 1e-8


def test_a_better_preconditioner_needs_fewer_iterations(seed):
    A = definite(np.geomspace(1, 1e-4, 100), seed)
    B = right_sides(100, 2, seed)
    counts = [
        solve(A, B, lambda R, s=shift: np.linalg.solve(A + s * np.eye(100), R)).n_iter
        for shift in (1, 1e-2, 1e-4)
    ]
    assert counts[0] > counts[1] > counts[2]


def test_columns_of_different_difficulty_each_have_their_own_solution(seed):
    A = definite(np.geomspace(1, 1e-4, 60), seed)
    easy = 1e20 * np.linalg.eigh(A)[1][:, :1]
    B = np.hstack([easy, right_sides(60, 2, seed), np.zeros((60, 1))])
    together = solve(A, B)
    assert residuals(A, together.X[:, :3], B[:, :3]).max() <= 1.01e-8
    assert not together.X[:, 3].any()
    alone = [solve(A, B[:, [j]]) for j in range(4)]
    assert alone[0].n_iter <= 2
    # As many as the hardest alone, but for rounding.
    assert abs(together.n_iter - max(one.n_iter for one in alone)) <= 5
    for j, one in enumerate(alone):
        error = np.linalg.norm(A @ (together.X[:, [j]] - one.X))
        assert error <= 2.02e-8 * np.linalg.norm(B[:, j])


def test_nothing_is_done_for_zero():
    result = solve(np.eye(5), np.zeros((5, 2)))
    assert not result.X.any()
    assert (result.n_iter, result.residual, result.converged) == (0, 0.0, True)


def test_what_was_reached_is_reported_at_the_limit(seed):
    A = definite(np.geomspace(1, 1e-4, 60), seed)
    B = right_sides(60, 2, seed)
    result = solve(A, B, max_iter=5)
    assert result.n_iter == 5
    assert not result.converged
    assert result.residual == pytest.approx(residuals(A, result.X, B).max())


def test_the_residual_never_rises(seed):
    A = definite(np.geomspace(1, 1e-4, 60), seed)
    B = right_sides(60, 2, seed)
    reached = [solve(A, B, max_iter=j).residual for j in range(1, 40)]
    assert np.all(np.diff(reached) <= 0)


def test_a_report_can_stop_it():
    asked = []

    def report():
        asked.append(True)
        return len(asked) == 3

    result = solve(definite(np.geomspace(1, 1e-4, 60)), right_sides(60, 2), report=report)
    assert len(asked) == result.n_iter == 3
    assert not result.converged


def test_the_right_sides_are_left_as_they_were():
    A, B = definite(np.linspace(1, 2, 20)), right_sides(20, 2)
    before = B.copy()
    solve(A, B)
    np.testing.assert_array_equal(B, before)
