"""Minimisation within bounds."""

import numpy as np
import pytest

from sklearn_rnla.linalg.dense.bfgs import curvature, minimize

FREE = np.tile([-np.inf, np.inf], (2, 1))


def rosenbrock(x):
    a, b = 1 - x[0], x[1] - x[0] ** 2
    return a**2 + 100 * b**2, np.array([-2 * a - 400 * x[0] * b, 200 * b])


def quadratic(H, center):
    return lambda x: ((x - center) @ H @ (x - center) / 2, H @ (x - center))


def counted(function):
    def counting(x):
        counting.calls += 1
        return function(x)

    counting.calls = 0
    return counting


def test_a_curved_valley_is_followed_to_its_end():
    found = minimize(rosenbrock, np.array([-1.2, 1.0]), FREE, tol=1e-14)
    np.testing.assert_allclose(found.x, 1, atol=1e-5)
    assert found.value < 1e-10


def test_bounds_hold_and_are_left_again():
    H = np.array([[2.0, 1.5], [1.5, 2.0]])
    bounds = np.array([[-1.0, 0.5], [-5.0, 5.0]])
    found = minimize(
        quadratic(H, np.array([2.0, 1.0])), np.array([-1.0, -4.0]), bounds, tol=0
    )
    # With the first variable at its bound, the second minimises what is left.
    np.testing.assert_allclose(found.x, [0.5, 1 + 1.5 * 1.5 / 2], atol=1e-6)


def test_with_the_true_curvature_a_quadratic_takes_two_evaluations(seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((6, 6))
    H, center = A @ A.T + 0.1 * np.eye(6), 0.5 * rng.random(6)
    function = counted(quadratic(H, center))
    bounds = np.tile([-10.0, 10.0], (6, 1))
    found = minimize(function, np.zeros(6), bounds, tol=1e-12, hessian=H)
    np.testing.assert_allclose(found.x, center, atol=1e-8)
    assert function.calls == 2


def test_differences_of_gradients_give_the_curvature(seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((4, 4))
    H = A @ A.T + 0.5 * np.eye(4)
    function = quadratic(H, rng.random(4))
    bounds = np.tile([0.0, 1.0], (4, 1))
    found = minimize(function, rng.random(4), bounds, tol=1e-3)
    measured = curvature(function, found, bounds)
    np.testing.assert_allclose(measured, H, atol=1e-8 * np.abs(H).max())


def test_a_saddle_gives_a_positive_definite_curvature():
    function = quadratic(np.diag([1.0, -2.0, 0.0]), np.zeros(3))
    bounds = np.tile([-1.0, 1.0], (3, 1))
    at_saddle = minimize(function, np.zeros(3), bounds, tol=1.0)
    values = np.linalg.eigvalsh(curvature(function, at_saddle, bounds))
    assert values[0] > 0
    np.testing.assert_allclose(values[1:], [1, 2])


@pytest.mark.parametrize("edge", [0.3, 3.0])
def test_where_the_function_is_infinite_steps_are_shortened(edge):
    def function(x):
        if x[0] > edge:
            return np.inf, np.zeros(1)
        return (x[0] - edge + 0.01) ** 2, 2 * (x - edge + 0.01)

    bounds = np.array([[-10.0, 10.0]])
    found = minimize(function, np.array([-4.0]), bounds, tol=1e-12)
    assert found.value < 1e-6


def test_nowhere_finite_returns_the_start():
    found = minimize(lambda x: (np.inf, np.zeros(2)), np.ones(2), FREE, tol=1e-3)
    np.testing.assert_array_equal(found.x, 1)
    assert found.value == np.inf


def test_it_stops_when_told():
    function = counted(rosenbrock)
    minimize(function, np.array([-1.2, 1.0]), FREE, tol=0, stop=lambda: True)
    few = function.calls
    minimize(function, np.array([-1.2, 1.0]), FREE, tol=0)
    assert function.calls - few > few
